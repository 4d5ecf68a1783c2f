//! Being told of changes, by pub/sub. Nothing rests on a message: whoever waits looks anyway, and more rarely while it listens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::store::Notice;

use crate::wire::Dialer;

/// A connection that listens.
pub(crate) struct Ears {
    _dialer: Arc<Dialer>,
}

impl Ears {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { _dialer: dialer }
    }

    pub(crate) async fn wait(&self, _channel: Bytes, within: Duration) -> Notice {
        Notice::poll(within).await
    }
}

//! Being told of changes, by pub/sub on one connection.
//!
//! Whatever ends a run says so on a channel named as the record is, from within its script, and the server passes it on to
//! those who subscribed. Nothing rests on a message: any may be lost, late, forged or sent for nothing, and whoever waits looks
//! for itself, now and then. Where a subscription is refused, or there is no connection, there is only that.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::Address;
use sentinel_core::store::Notice;
use tokio::sync::mpsc;

use crate::store::RedisStore;
use crate::wire::Dialer;
use ears::Ears;

mod ears;
mod task;

/// What the store and the task of its listening connection share.
struct Shared {
    dialer: Arc<Dialer>,
    /// What the names of the connection's own channels begin with.
    own: String,
    ears: Ears,
}

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct Listening {
    shared: Arc<Shared>,
    /// Tells the task to look at what is waited for.
    way: Mutex<Option<mpsc::Sender<()>>>,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("own", &self.shared.own).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Where the changes of a record are told. For tests.
    #[doc(hidden)]
    pub fn channel_name(&self, address: &Address) -> String {
        String::from_utf8_lossy(&self.channel(address)).into_owned()
    }

    /// Whether this store would hear of a change. For tests.
    #[doc(hidden)]
    pub fn is_listening(&self, address: &Address) -> bool {
        self.listening().shared.ears.is_told(&self.channel(address))
    }
}

impl Listening {
    pub(crate) fn new(dialer: Arc<Dialer>, prefix: &str) -> Self {
        let shared = Shared { dialer, own: format!("{prefix}:listening:"), ears: Ears::default() };
        Self { shared: Arc::new(shared), way: Mutex::default() }
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, channel: Bytes, within: Duration) -> Notice {
        let Some(mut place) = self.shared.ears.wait(channel) else {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        };
        let mut told = std::pin::pin!(place.told.notified());
        told.as_mut().enable();
        let mut listening = *place.confirmed.borrow_and_update();
        self.look();
        let mut over = std::pin::pin!(tokio::time::sleep(within));
        loop {
            tokio::select! {
                biased;
                () = &mut told => return Notice::Changed,
                Ok(()) = place.confirmed.changed() => match *place.confirmed.borrow_and_update() {
                    // What changed before that was not told: it is time to look.
                    true => return Notice::Listening,
                    false => listening = false,
                },
                () = &mut over => return if listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }

    /// Has the task look, which is started if there is none, or if it ended with its runtime.
    fn look(&self) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        match way.as_ref().filter(|open| !open.is_closed()) {
            // If there is no room, it will look anyway.
            Some(open) => drop(open.try_send(())),
            None => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(task::run(self.shared.clone(), receiver));
                *way = Some(sender);
            }
        }
    }
}

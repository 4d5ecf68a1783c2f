//! The state that a store and the task of its listening connection share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sentinel_store_kit::Waiters;
use tokio::sync::{oneshot, watch};

use super::message::AddressHash;
use super::wanted::Wanted;
use crate::connection::connector::Connector;

/// The messages that the listening connection has to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    Wanted(AddressHash),
    Changed(AddressHash, oneshot::Sender<()>),
}

/// The state that a store and the task of its listening connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connector: Arc<Connector>,
    pub(super) channel: String,
    /// Waiters of this process.
    pub(super) waiters: Waiters<AddressHash>,
    /// The keys that other processes wait for.
    pub(super) wanted: Wanted,
    /// Whether a task was started.
    pub(super) started: AtomicBool,
    /// Whether a connection of the task is listening.
    pub(super) listening: watch::Sender<bool>,
}

impl Shared {
    /// A record has changed: waiters of this process are notified. Returns whether another process waits for it.
    pub(super) fn changed(&self, hash: AddressHash) -> bool {
        self.waiters.notify(&hash);
        self.wanted.changed(hash)
    }

    /// Another process reports a change, to all processes: waiters of this one are notified.
    pub(super) fn change_received(&self, hash: AddressHash) {
        self.waiters.notify(&hash);
        self.wanted.remove(hash);
    }
}

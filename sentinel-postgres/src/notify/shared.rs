//! What a store and the task of its listening connection share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{oneshot, watch};

use super::message::AddressHash;
use super::waiters::Waiters;
use crate::connection::connector::Connector;

/// What the listening connection is to send.
#[derive(Debug)]
pub(super) enum Outgoing {
    Wanted(AddressHash),
    Changed(AddressHash, oneshot::Sender<()>),
}

/// What the store and the task of its listening connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connector: Arc<Connector>,
    pub(super) channel: String,
    pub(super) waiters: Waiters,
    /// Whether a task was started.
    pub(super) started: AtomicBool,
    /// Which of the task's connections is listening.
    pub(super) connected: watch::Sender<Option<u64>>,
}

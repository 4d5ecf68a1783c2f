//! The state that the store and the task of its listening connection share.

use std::sync::Arc;

use super::subscriptions::Subscriptions;
use crate::connection::Connector;

/// The state that the store and the task of its listening connection share.
pub(super) struct Shared {
    pub(super) connector: Arc<Connector>,
    /// The prefix of the names of the connection's own channels.
    pub(super) own: String,
    pub(super) subscriptions: Subscriptions,
}

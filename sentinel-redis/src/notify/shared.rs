//! What the store and the task of its listening connection share.

use std::sync::Arc;

use super::subscriptions::Subscriptions;
use crate::connection::Connector;

/// What the store and the task of its listening connection share.
pub(super) struct Shared {
    pub(super) connector: Arc<Connector>,
    /// What the names of the connection's own channels begin with.
    pub(super) own: String,
    pub(super) subscriptions: Subscriptions,
}

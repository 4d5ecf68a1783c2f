//! The state that the clones of a client share.

use std::sync::Arc;

use sentinel_core::StoreError;
use sentinel_core::store::CoordinationStore;

use crate::keeper::Keeper;
use crate::open_work::OpenWork;
use crate::queue::Watchers;

/// The part that clones share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Arc<dyn CoordinationStore>,
    pub(crate) keeper: Keeper,
    pub(crate) watchers: Watchers,
    pub(crate) open_work: Arc<OpenWork>,
    pub(crate) show_keys: bool,
}

/// The error about a store whose reply violates the contract.
pub(crate) fn store_broke(what: &str) -> StoreError {
    StoreError::ambiguous(sentinel_core::ErrorKind::BrokenStore, what.to_owned())
}

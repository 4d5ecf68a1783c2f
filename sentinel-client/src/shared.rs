//! The state that the clones of a client share.

use std::sync::Arc;

use sentinel_core::StoreError;
use sentinel_core::store::CoordinationStore;

use crate::keeper::Keeper;
use crate::open_work::OpenWork;
use crate::queue::Watchers;
use crate::signals::events::Unsound;
use crate::signals::meters::Meters;

/// The part that clones share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Arc<dyn CoordinationStore>,
    pub(crate) keeper: Keeper,
    pub(crate) watchers: Watchers,
    pub(crate) open_work: Arc<OpenWork>,
    pub(crate) show_keys: bool,
    pub(crate) meters: Arc<Meters>,
    pub(crate) unsound: Unsound,
}

impl Core {
    pub(crate) fn new(store: Arc<dyn CoordinationStore>, show_keys: bool, store_name: &str) -> Self {
        let meters = Arc::new(Meters::new(store_name));
        Self {
            keeper: Keeper::new(store.clone(), meters.clone(), show_keys),
            watchers: Watchers::default(),
            open_work: Arc::default(),
            store,
            show_keys,
            meters,
            unsound: Unsound::default(),
        }
    }
}

/// The error about a store whose reply violates the contract.
pub(crate) fn store_broke(what: &str) -> StoreError {
    StoreError::ambiguous(sentinel_core::ErrorKind::BrokenStore, what.to_owned())
}

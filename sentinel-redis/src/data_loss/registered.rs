//! The state of a store whose servers were checked.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sentinel_core::Namespace;
use tokio::time::Instant;

use super::metadata::StoreMetadata;
use super::witness_file::Known;
use crate::script::Scripts;

/// A store whose servers are registered and were checked.
pub(crate) struct Registered {
    pub(crate) metadata: StoreMetadata,
    pub(crate) scripts: Scripts,
    /// The store is in doubt: nothing is trusted, and its scripts cannot write.
    pub(crate) read_only: bool,
    pub(super) servers: Vec<String>,
    pub(super) namespaces: Mutex<HashSet<Namespace>>,
    /// Of those, the ones that are known to be in the set of namespaces with causes.
    pub(super) caused: Mutex<HashSet<Namespace>>,
    /// When the newest check that succeeded began.
    pub(super) checked: Mutex<Instant>,
}

impl Registered {
    pub(super) fn known(&self) -> Known {
        let StoreMetadata { store, registered_at, .. } = &self.metadata;
        Known { store: store.clone(), registered_at: *registered_at, servers: self.servers.clone() }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

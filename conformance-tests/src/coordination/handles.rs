//! The handles of a store under test: one, or two that share nothing but the store. A law uses them as if they were one
//! store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sentinel_core::CoordinationStore;

/// Which of two handles a request goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Each request that may change something uses the other handle than the one before, and each read uses the other
    /// handle than the last change.
    Alternate,
    /// By the Thue-Morse sequence: now the same handle, now the other. It has no period that a law could follow.
    Mix,
}

/// The handles that a law uses.
#[derive(Debug)]
pub(crate) struct Handles {
    open: RwLock<Vec<Arc<dyn CoordinationStore>>>,
    turn: Turn,
    asked: AtomicUsize,
}

impl Handles {
    pub(crate) fn new(open: Vec<Arc<dyn CoordinationStore>>, turn: Turn) -> Self {
        Self { open: RwLock::new(open), turn, asked: AtomicUsize::new(0) }
    }

    /// Drops the handles, and uses others from now on.
    pub(crate) fn replace(&self, open: Vec<Arc<dyn CoordinationStore>>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// All handles.
    pub(crate) fn all(&self) -> Vec<Arc<dyn CoordinationStore>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn nth(&self, n: usize) -> Arc<dyn CoordinationStore> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let turn = match self.turn {
            Turn::Alternate => n,
            Turn::Mix => n.count_ones() as usize,
        };
        let handle = open.get(turn % open.len().max(1)).cloned();
        handle.expect("no law sends a request between closing a store and opening it again")
    }

    /// For a request that may change something.
    fn change(&self) -> Arc<dyn CoordinationStore> {
        self.nth(self.asked.fetch_add(1, Ordering::Relaxed))
    }

    /// For a read.
    fn read(&self) -> Arc<dyn CoordinationStore> {
        self.nth(self.asked.load(Ordering::Relaxed))
    }
}

sentinel_core::__passes_on! { [] Handles; handles, changes: handles.change(), reads: handles.read() }

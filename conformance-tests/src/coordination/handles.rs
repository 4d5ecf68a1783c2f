//! The handles of a store under test: one, or two that share nothing but the store. A law asks through them as if they
//! were one store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{Address, CoordinationStore, Event, StoreError};

/// Which of two handles a request goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Each request that may change something goes through the other handle than the one before, and each read through
    /// the other handle than the last change.
    Alternate,
    /// By the Thue-Morse sequence: now the same handle, now the other. It has no period that a law could follow.
    Mix,
}

/// The handles through which a law asks.
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
        handle.expect("no law asks between closing a store and opening it again")
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

macro_rules! handles {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl CoordinationStore for Handles {
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                self.change().$method(address, op).await
            })*

            fn describe(&self) -> Description {
                self.read().describe()
            }

            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                self.change().heartbeat(beats).await
            }

            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                self.change().purge(purge).await
            }

            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                self.read().inspect(address).await
            }

            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                self.read().list(list).await
            }

            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                self.read().history(address, limit).await
            }

            async fn changed(&self, address: &Address, within: Duration) -> Notice {
                self.read().changed(address, within).await
            }

            async fn health(&self) -> Result<Health, StoreError> {
                self.read().health().await
            }
        }
    };
}

handles! {
    claim, Claim, ClaimReply;
    begin, Begin, BeginReply;
    complete, Complete, CompleteReply;
    cancel, Cancel, CancelReply;
    release, Release, ReleaseReply;
    abandon, Abandon, AbandonReply;
    reconcile, Reconcile, ReconcileReply;
    force_complete, ForceComplete, ForceCompleteReply;
    reset_to_claimed, ResetToClaimed, ResetReply;
    evict, Evict, EvictReply;
}

//! The suite on the in-memory store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::{Clock, CoordinationStore, ManualClock, StoreTime, Survey, SystemClock};
use sentinel_memory::MemoryStore;

/// The in-memory store on a clock that only the laws move.
struct MemoryHarness {
    store: MemoryStore,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self { store: MemoryStore::with_clock(clock.clone()), clock }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Some(Arc::new(self.store.clone()))
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Some(Arc::new(self.store.clone()))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.clock.set(StoreTime::from_micros(self.clock.now().as_micros() - by.as_micros() as u64));
        true
    }
}

// The 20,000 sequences over this store are in `tests/layers`, where their coverage is measured.
sentinel_conformance::suite!(MemoryHarness, sequences = 1_000, histories = 2_000);

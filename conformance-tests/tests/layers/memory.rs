use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::{Clock as _, CoordinationStore, ManualClock, StoreTime, Survey};
use sentinel_memory::MemoryStore;

/// The in-memory store on a clock that only the test moves: deadlines are met to the microsecond.
pub(crate) struct Memory {
    clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
}

#[async_trait]
impl Harness for Memory {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
        Self { store: Arc::new(MemoryStore::with_clock(clock.clone())), clock }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.store.clone()
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Some(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        let now = self.clock.now().as_micros();
        self.clock.set(StoreTime::from_micros(now - by.as_micros() as u64));
        true
    }
}

//! The suite on a cache of replays before the in-memory store, and the requests to which the cache must and must not
//! reply by itself.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod agreement;
mod bounds;
mod harness;
mod replays;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::ReplayCache;
use sentinel_conformance::Harness;
use sentinel_core::{Clock, CoordinationStore, ManualClock, StoreTime, SystemClock};
use sentinel_memory::MemoryStore;

/// Store and cache on clocks that only the laws move. The cache's is never set back, as no monotonic one is.
struct Cached {
    store: Arc<ReplayCache<MemoryStore>>,
    theirs: Arc<ManualClock>,
    ours: Arc<ManualClock>,
}

#[async_trait]
impl Harness for Cached {
    async fn open() -> Self {
        let theirs = Arc::new(ManualClock::new(SystemClock.now()));
        let ours = Arc::new(ManualClock::new(StoreTime::ZERO));
        let store = ReplayCache::new(MemoryStore::with_clock(theirs.clone())).with_clock(ours.clone());
        Self { store: Arc::new(store), theirs, ours }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.store.clone()
    }

    async fn advance(&self, by: Duration) {
        self.theirs.advance(by);
        self.ours.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.theirs.set(StoreTime::from_micros(self.theirs.now().as_micros() - by.as_micros() as u64));
        true
    }
}

sentinel_conformance::suite!(Cached, sequences = 2_000, histories = 1_000);

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use my_store::MyStore;
use sentinel_conformance::{Harness, dropped_at_any_poll};
use sentinel_core::{Clock as _, CoordinationStore, ManualClock, StoreTime, SystemClock};

struct Mine {
    store: MyStore,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Harness for Mine {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        Self { store: MyStore::new(clock.clone()), clock }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    // From here on each method is optional. A law that needs one which is missing is skipped, and named at the end.

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        // A connection of its own, as another process has. In memory a clone is all that there is.
        Some(Arc::new(self.store.clone()))
    }

    async fn reopen(&self) -> bool {
        // Close the store and open it again, here. A store in memory has nothing to open.
        true
    }

    async fn set_back(&self, by: Duration) -> bool {
        let micros = self.clock.now().as_micros() - by.as_micros() as u64;
        self.clock.set(StoreTime::from_micros(micros));
        true
    }
}

// One `#[test]` for each law.
sentinel_conformance::suite!(Mine);

// The laws of `matrix::dropped` again, on a store that is inspected afterwards: are its connections as they were?
#[tokio::test]
async fn callers_who_go_away_leave_nothing_behind() {
    let mine = Arc::new(Mine::open().await);
    dropped_at_any_poll(mine.clone()).await;
    assert_eq!(Arc::strong_count(&mine), 1, "a request that was dropped still runs");
}

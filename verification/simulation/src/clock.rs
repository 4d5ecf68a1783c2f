//! The store's clock: simulated time, which can be set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sentinel_core::{Clock, StoreTime};
use tokio::time::Instant;

/// Some day.
const START: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

#[derive(Debug)]
pub(crate) struct StoreClock {
    since: Instant,
    /// Microseconds by which it was set.
    set_by: AtomicI64,
}

impl StoreClock {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), set_by: AtomicI64::new(0) }
    }

    /// Sets it forward.
    pub(crate) fn forward(&self, by: Duration) {
        self.set_by.fetch_add(by.as_micros() as i64, Ordering::Relaxed);
    }

    /// Sets it back.
    pub(crate) fn back(&self, by: Duration) {
        self.set_by.fetch_sub(by.as_micros() as i64, Ordering::Relaxed);
    }
}

impl Clock for StoreClock {
    fn now(&self) -> StoreTime {
        let even = START.plus(self.since.elapsed()).as_micros();
        StoreTime::from_micros(even.saturating_add_signed(self.set_by.load(Ordering::Relaxed)))
    }
}

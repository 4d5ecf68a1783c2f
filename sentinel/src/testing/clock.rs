//! The store's clock of a world. It follows the clock of the process that runs, and is moved explicitly between
//! processes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Clock, StoreTime};

/// The time at which every world starts.
pub(super) const START: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

#[derive(Debug)]
pub(super) struct WorldClock(Mutex<Reading>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: StoreTime,
    /// When the process started, by its own clock.
    since: Option<Instant>,
}

impl Reading {
    fn now(self) -> StoreTime {
        self.at.plus(self.since.map(|since| since.elapsed()).unwrap_or_default())
    }
}

impl WorldClock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Reading { at: START, since: None }))
    }

    /// From now on follows the clock of the runtime in which this is called.
    pub(super) fn follow(&self) {
        self.reading().since = Some(Instant::now());
    }

    /// Stops following. Must be called in the runtime that it followed.
    pub(super) fn stop(&self) {
        let mut reading = self.reading();
        *reading = Reading { at: reading.now(), since: None };
    }

    /// Moves it while it follows no runtime.
    pub(super) fn advance(&self, by: Duration) {
        let mut reading = self.reading();
        reading.at = reading.at.plus(by);
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for WorldClock {
    fn now(&self) -> StoreTime {
        self.reading().now()
    }
}

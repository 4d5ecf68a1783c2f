//! The age of an answer: counted from before its request was sent, and never underestimated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sentinel_core::{Clock, StoreTime, SystemClock};

use crate::clock::{LocalClock, LocalTime};

/// Two readings, because neither alone is enough: the monotonic clock may stop while the host sleeps, and the wall
/// clock may be set back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    monotonic: LocalTime,
    wall: Duration,
}

impl Moment {
    /// The time since `earlier`, by the clock that shows more, in whole microseconds, rounded up.
    pub(super) fn age_of(&self, earlier: &Self) -> Duration {
        let age = self.monotonic.since(earlier.monotonic).max(self.wall.saturating_sub(earlier.wall));
        let micros = age.as_secs().saturating_mul(1_000_000);
        Duration::from_micros(micros.saturating_add(u64::from(age.subsec_nanos().div_ceil(1_000))))
    }
}

/// The source of the readings.
#[derive(Debug)]
pub(super) enum Timer {
    /// For a store in the caller's process, which follows the caller's clock only.
    InProcess(LocalClock),
    /// For a store elsewhere, whose own clock continues while this host sleeps.
    Elsewhere(LocalClock),
    /// A given clock and its highest reading: setting it back extends no entry.
    Given(Arc<dyn Clock>, AtomicU64),
}

impl Timer {
    pub(super) fn new(in_process: bool) -> Self {
        let clock = LocalClock::new(in_process);
        if in_process { Self::InProcess(clock) } else { Self::Elsewhere(clock) }
    }

    pub(super) fn given(clock: Arc<dyn Clock>) -> Self {
        Self::Given(clock, AtomicU64::new(0))
    }

    /// The current reading.
    pub(super) fn now(&self) -> Moment {
        let wall = match self {
            Self::Elsewhere(_) => SystemClock.now().since(StoreTime::ZERO),
            Self::InProcess(_) | Self::Given(..) => Duration::ZERO,
        };
        Moment { wall, ..self.glance() }
    }

    /// The current reading of one clock only, which costs half. For results that are kept without limit: their age is
    /// reported, but does not end them.
    pub(super) fn glance(&self) -> Moment {
        match self {
            Self::InProcess(clock) | Self::Elsewhere(clock) => {
                Moment { monotonic: clock.now(), wall: Duration::ZERO }
            }
            Self::Given(clock, furthest) => {
                let now = clock.now().as_micros();
                let now = now.max(furthest.fetch_max(now, Ordering::Relaxed));
                Moment { monotonic: LocalTime(Duration::from_micros(now)), wall: Duration::ZERO }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentinel_core::ManualClock;

    fn moment(monotonic: u64, wall: u64) -> Moment {
        Moment { monotonic: LocalTime(Duration::from_nanos(monotonic)), wall: Duration::from_nanos(wall) }
    }

    #[test]
    fn the_clock_that_shows_more_time_counts() {
        let then = moment(5_000, 900_000);
        assert_eq!(moment(8_000, 901_000).age_of(&then), Duration::from_micros(3));
        // The host slept, and its monotonic clock stopped.
        assert_eq!(moment(6_000, 990_000).age_of(&then), Duration::from_micros(90));
        // The wall clock was set back.
        assert_eq!(moment(9_000, 0).age_of(&then), Duration::from_micros(4));
    }

    #[test]
    fn an_age_is_rounded_up() {
        assert_eq!(moment(1, 0).age_of(&moment(0, 0)), Duration::from_micros(1));
        assert_eq!(moment(2_000, 0).age_of(&moment(0, 0)), Duration::from_micros(2));
        assert_eq!(moment(3_000_000_001, 0).age_of(&moment(0, 0)), Duration::from_micros(3_000_001));
    }

    #[test]
    fn a_given_clock_that_is_set_back_does_not_move() {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(100)));
        let timer = Timer::given(clock.clone());
        let then = timer.now();
        clock.advance(Duration::from_micros(50));
        assert_eq!(timer.now().age_of(&then), Duration::from_micros(50));
        clock.set(StoreTime::from_micros(10));
        assert_eq!(timer.now().age_of(&then), Duration::from_micros(50));
    }

    #[test]
    fn age_in_a_store_elsewhere_is_measured_by_both_clocks() {
        let now = Timer::new(false).now();
        assert!(now.wall > Duration::ZERO);
    }
}

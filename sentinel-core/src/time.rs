//! The store's time: whole microseconds, compared only with other readings of the same store.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A reading of a store's clock, in microseconds since 1970 (UTC). It is never compared with a worker's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreTime(u64);

impl StoreTime {
    /// The start of 1970 (UTC).
    pub const ZERO: Self = Self(0);

    /// Creates a time from microseconds since 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This time plus `by`. The result is capped at the maximum instead of wrapping.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// The time between `earlier` and this; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Date and time of day, UTC, to the microsecond: `2025-11-21 01:23:45.678901 UTC`.
impl fmt::Display for StoreTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} UTC")
    }
}

/// Year, month and day of a number of days since 1970. Here by hand, since the contract of a store should not bring a
/// library of calendars into each program. Years are counted from March, so that the day of a leap year comes last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// A duration that was measured, as text: in milliseconds, from a second on in seconds.
pub fn measured(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{:.2} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// A duration in whole microseconds; a finer part is dropped, since no store keeps it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A duration as every store can keep it: in whole microseconds, capped at the largest signed 64-bit number of them.
pub fn whole(duration: Duration) -> Duration {
    Duration::from_micros(micros(duration).min(i64::MAX as u64))
}

/// The clock of a store that has no server clock. The store reads it once per operation, under the record's lock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> StoreTime;
}

/// The clock of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock of stores that live on one host")]
    fn now(&self) -> StoreTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        StoreTime::from_micros(micros(since.unwrap_or_default()))
    }
}

/// A clock that changes only when it is moved: for tests and models.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: StoreTime) -> Self {
        Self(AtomicU64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, to: StoreTime) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> StoreTime {
        StoreTime(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_as_a_date() {
        let at = |seconds: u64| StoreTime::from_micros(seconds * 1_000_000).to_string();
        assert_eq!(
            StoreTime::from_micros(1_763_688_225_678_901).to_string(),
            "2025-11-21 01:23:45.678901 UTC"
        );
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_709_164_800, "2024-02-29 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (1_735_689_600, "2025-01-01 00:00:00"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(at(seconds), format!("{expected}.000000 UTC"));
        }
        assert!(StoreTime::from_micros(u64::MAX).to_string().ends_with(" UTC"));
    }

    #[test]
    fn a_measured_duration_has_one_of_two_units() {
        let of = |micros| measured(Duration::from_micros(micros));
        assert_eq!([of(0), of(5), of(440), of(7_000)], ["0.00 ms", "0.01 ms", "0.44 ms", "7.00 ms"]);
        assert_eq!([of(999_990), of(1_000_000), of(60_000_001)], ["999.99 ms", "1.0 s", "60.0 s"]);
    }
}

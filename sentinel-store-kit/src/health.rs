//! Findings of `sentinel doctor` that do not depend on the store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sentinel_core::internal::measured;
use sentinel_core::store::Check;
use tokio::time::Instant;

/// A clock that is further off than this is reported, although nothing depends on it.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// What a check found.
pub fn check(name: &'static str, ok: bool, found: impl Into<String>) -> Check {
    Check { name, ok, found: found.into() }
}

/// A request for a server's time, from when it is sent.
#[derive(Debug)]
pub struct TimeRequest {
    host_micros: i64,
    sent: Instant,
}

impl TimeRequest {
    /// Starts to measure: the request is sent next.
    pub fn start() -> Self {
        Self { host_micros: host_micros(), sent: Instant::now() }
    }

    /// The reply has arrived.
    pub fn replied(self) -> RoundTrip {
        RoundTrip { host_micros: self.host_micros, took: self.sent.elapsed() }
    }
}

/// How long a request for a server's time took, and when it was sent by this host's clock.
#[derive(Debug)]
pub struct RoundTrip {
    host_micros: i64,
    took: Duration,
}

impl RoundTrip {
    /// The finding `round trip`: how long it took.
    pub fn check(&self) -> Check {
        check("round trip", true, measured(self.took))
    }

    /// The finding `clock`: how far the server's clock is from this host's. The server is taken to have read its clock,
    /// in microseconds since 1970, halfway.
    pub fn clock(&self, server_micros: i64) -> Check {
        let half = self.took / 2;
        let here = self.host_micros.saturating_add(i64::try_from(half.as_micros()).unwrap_or(i64::MAX));
        let drift = Duration::from_micros(server_micros.abs_diff(here));
        let side = if server_micros < here { "behind" } else { "ahead of" };
        check(
            "clock",
            drift <= MAX_DRIFT,
            format!("{} {side} this host's, give or take {}", measured(drift), measured(half)),
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how far two clocks are apart is printed for people, and decides nothing"
)]
fn host_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn assert_check(check: &Check, ok: bool, found: &str) {
        assert_eq!((check.name, check.ok), ("clock", ok), "{check:?}");
        assert!(check.found.starts_with(found), "{check:?} does not begin with {found:?}");
    }

    #[test]
    fn a_clock_that_is_a_minute_off_is_reported_with_its_direction() {
        let at = |server| RoundTrip { host_micros: 100 * MINUTE, took: Duration::ZERO }.clock(server);
        assert_check(&at(101 * MINUTE), true, "60.0 s ahead of");
        assert_check(&at(99 * MINUTE), true, "60.0 s behind");
        assert_check(&at(101 * MINUTE + 1), false, "60.0 s ahead of");
        assert_check(&at(99 * MINUTE - 1), false, "60.0 s behind");
    }

    #[test]
    fn the_server_is_taken_to_have_read_its_clock_halfway() {
        let round_trip = RoundTrip { host_micros: MINUTE, took: Duration::from_micros(10) };
        assert_check(
            &round_trip.clock(MINUTE + 5),
            true,
            "0.00 ms ahead of this host's, give or take 0.01 ms",
        );
        assert_eq!(round_trip.check().found, "0.01 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_trip_begins_with_the_request() {
        let request = TimeRequest::start();
        tokio::time::advance(Duration::from_millis(7)).await;
        assert_eq!(request.replied().check().found, "7.00 ms");
    }
}

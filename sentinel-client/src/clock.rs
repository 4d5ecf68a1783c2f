//! The worker's monotonic clock. It measures what remains of a lease; no store uses it to decide.

use std::time::Duration;

/// A reading: the time since the client was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LocalTime(pub(crate) Duration);

impl LocalTime {
    pub(crate) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The source of the readings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LocalClock {
    /// tokio's clock, which a test may pause: for a store in the caller's process.
    Callers(tokio::time::Instant),
    /// The system's monotonic clock: for heartbeats on a thread of their own.
    System(std::time::Instant),
}

impl LocalClock {
    #[expect(clippy::disallowed_methods, reason = "the keeper's thread must not follow a paused test clock")]
    pub(crate) fn new(in_process: bool) -> Self {
        match in_process {
            true => Self::Callers(tokio::time::Instant::now()),
            false => Self::System(std::time::Instant::now()),
        }
    }

    pub(crate) fn now(&self) -> LocalTime {
        LocalTime(match self {
            Self::Callers(start) => start.elapsed(),
            Self::System(start) => start.elapsed(),
        })
    }
}

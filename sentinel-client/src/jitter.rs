//! Pauses of random length.

use std::time::Duration;

/// A random duration between half and all of `duration`, so that clients that fail together do not retry together.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(sentinel_core::internal::half_to_whole())
}

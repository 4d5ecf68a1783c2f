//! Waiting, and how long it took: the only readings of the host's clock that decide nothing but a wait.

use std::thread;
use std::time::Duration;

#[expect(
    clippy::disallowed_methods,
    reason = "another process holds the file, and there is no notice when it lets go"
)]
pub(crate) fn pause_for(duration: Duration) {
    thread::sleep(duration);
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long this thread has waited decides only how long it still waits"
)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

//! The guard: a small process beside a running command, which ends the command's process group when `sentinel` cannot.
//!
//! The parent-death signal reaches the command's first process only, and a `sentinel` that is stopped (SIGSTOP, a debugger,
//! a frozen machine) ends nothing at the hard deadline, although others may run from then on. The guard does both.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::time::{ClockId, clock_gettime};

use crate::exit::Exit;

/// The hidden command: `sentinel __guard GROUP DEADLINE`, the deadline in microseconds of the clock since boot.
pub(super) const NAME: &str = "__guard";
const DONE: u8 = b'd';

/// A running guard. Dropping it without [`done`](Self::done) ends the group.
#[derive(Debug)]
pub(super) struct Guard {
    socket: UnixStream,
}

impl Guard {
    /// Starts a guard of a process group: until `remaining` is over, at the longest.
    pub(super) fn start(group: Pid, remaining: Duration) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let deadline = since_boot().saturating_add(remaining);
        Command::new(super::spawn::this_program()?)
            .arg0("sentinel")
            .arg(NAME)
            .arg(group.to_string())
            .arg(deadline.as_micros().to_string())
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is sent to our group is not for the guard.
            .process_group(0)
            .spawn()?;
        Ok(Self { socket: ours })
    }

    /// The command has ended: nothing is left to guard.
    pub(super) fn done(mut self) {
        // A guard that is gone has nothing to be told.
        let _ = self.socket.write_all(&[DONE]);
    }
}

/// Waits for the end of the run, of the parent, or of the time.
pub(super) fn main(arguments: &[OsString]) -> Exit {
    let numbers: Option<Vec<u64>> =
        arguments.iter().map(|argument| argument.to_str()?.parse().ok()).collect();
    let Some([group, deadline]) = numbers.as_deref() else { return Exit::USAGE };
    let Some(group) = i32::try_from(*group).ok().and_then(Pid::from_raw) else { return Exit::USAGE };
    if !is_released(Duration::from_micros(*deadline)) {
        // Nobody to tell: whoever could listen is stopped or gone.
        let _ = kill_process_group(group, Signal::KILL);
    }
    Exit::OK
}

/// Whether the parent said that it is done, before it vanished and before the deadline.
fn is_released(deadline: Duration) -> bool {
    loop {
        let now = since_boot();
        if now >= deadline {
            return false;
        }
        // The timer stands still while the machine sleeps, the clock does not: look now and then.
        let pause = (deadline - now).min(Duration::from_secs(1));
        let timeout =
            Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        let stdin = io::stdin();
        match poll(&mut [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let mut byte = [0];
                return matches!(stdin.lock().read(&mut byte), Ok(1)) && byte == [DONE];
            }
            Err(_) => return false,
        }
    }
}

/// Time since boot, the time that the machine slept included: what other machines see passing.
fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

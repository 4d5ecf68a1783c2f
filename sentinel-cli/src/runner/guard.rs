//! The guard: a small process beside a running command, which ends the command's process group when `sentinel` cannot.
//!
//! The parent-death signal reaches the command's first process only, and a `sentinel` that is stopped (SIGSTOP, a
//! debugger, a frozen machine) ends nothing at the hard deadline, although another caller may run from then on. The
//! guard covers both.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpgid, getpgrp, getppid, kill_process_group};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::process;
use crate::exit::Exit;
use crate::output::note;

/// The hidden command: `sentinel __guard`. What to guard comes through the socket on its standard input.
pub(super) const NAME: &str = "__guard";
const READY: u8 = b'r';
const DONE: u8 = b'd';
/// Between two attempts to replace a guard.
const RETRY: Duration = Duration::from_secs(1);

/// What a guard is started for: a process group, and the deadline by the clock since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    group: Pid,
    deadline: Duration,
}

impl Orders {
    /// A process group that a child of this process leads, until `remaining` is over at the longest.
    pub(super) fn new(group: Pid, remaining: Duration) -> Self {
        Self { group, deadline: since_boot().saturating_add(remaining) }
    }

    fn to_bytes(self) -> [u8; 12] {
        let micros = u64::try_from(self.deadline.as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.group.as_raw_nonzero().get().to_be_bytes());
        bytes[4..].copy_from_slice(&micros.to_be_bytes());
        bytes
    }

    /// `None`: the group is none, or not one that a child of `parent` leads.
    fn from_bytes(bytes: [u8; 12], parent: Option<Pid>) -> Option<Self> {
        let (group, micros) = bytes.split_first_chunk::<4>()?;
        // Numbers up to 1 are no group of a command: to the system they mean the caller's group, or all processes.
        let group = Pid::from_raw(Some(i32::from_be_bytes(*group)).filter(|group| *group > 1)?)?;
        let deadline = Duration::from_micros(u64::from_be_bytes(micros.try_into().ok()?));
        is_led_by_child_of(parent?, group).then_some(Self { group, deadline })
    }
}

/// Whether a child of `parent` leads this process group.
fn is_led_by_child_of(parent: Pid, group: Pid) -> bool {
    if group == parent || group == getpgrp() || getpgid(Some(group)) != Ok(group) {
        return false;
    }
    !process::numbers_agree()
        || process::entry(group).is_some_and(|leader| leader.parent == parent.as_raw_nonzero().get())
}

/// A running guard. Dropping it without [`done`](Self::done) ends the group.
#[derive(Debug)]
pub(super) struct Guard {
    socket: UnixStream,
    process: Child,
}

impl Guard {
    /// Starts a guard, and waits until it has accepted its orders.
    pub(super) fn start(orders: Orders) -> io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let process = Command::new(process::this_program()?)
            .arg0("sentinel")
            .arg(NAME)
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Signals to this program's group do not reach the guard.
            .process_group(0)
            .spawn()?;
        ours.write_all(&orders.to_bytes())?;
        let mut answer = [0];
        match ours.read(&mut answer)? {
            1 if answer == [READY] => Ok(Self { socket: ours, process }),
            _ => Err(io::Error::other("the guard process of the command could not start")),
        }
    }

    /// Starts the guard from a thread on which every signal is blocked, so they are blocked in the guard too: a
    /// supervisor may send SIGTERM to all processes of a service, and the guard must survive that.
    async fn start_apart(orders: Orders) -> io::Result<Self> {
        let (send, started) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("guard".to_owned()).spawn(move || {
            super::inherited::mask_all();
            // If the receiver is gone, the run has ended, and the guard may end as well.
            let _ = send.send(Self::start(orders));
        })?;
        started.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
    }
}

/// Keeps a guard beside a group: a guard that ended is replaced.
#[derive(Debug)]
pub(super) struct GuardKeeper {
    orders: Orders,
    guard: Option<(tokio::net::UnixStream, Child)>,
    /// After a failed attempt to replace it: when to try again.
    retry_at: Instant,
    reported: bool,
}

impl GuardKeeper {
    /// Called within the runtime.
    pub(super) fn new(guard: Guard, orders: Orders) -> io::Result<Self> {
        Ok(Self { orders, guard: Some(watched(guard)?), retry_at: Instant::now(), reported: false })
    }

    /// Waits until a guard has to be started. Nothing is lost if this is dropped while it waits.
    pub(super) async fn is_missing(&self) {
        match &self.guard {
            Some((socket, _)) => is_closed(socket).await,
            None if since_boot() < self.orders.deadline => tokio::time::sleep_until(self.retry_at).await,
            // The guard has done its work.
            None => std::future::pending().await,
        }
    }

    /// Starts another guard.
    pub(super) async fn replace(&mut self) {
        if let Some((_, mut process)) = self.guard.take() {
            let _ = process.wait();
        }
        if since_boot() >= self.orders.deadline {
            return;
        }
        self.retry_at = Instant::now() + RETRY;
        match Guard::start_apart(self.orders).await.and_then(watched) {
            Ok(guard) => self.guard = Some(guard),
            Err(error) if !self.reported => {
                self.reported = true;
                note(&format!(
                    "the guard process of the command ended, and another one cannot be started yet: \
                    {error}; if this process is killed in the meantime, processes of the command may keep \
                    running"
                ));
            }
            Err(_) => {}
        }
    }

    /// The group has ended, or may stay: nothing is left to guard.
    pub(super) fn done(self) {
        if let Some((Ok(mut socket), _)) = self.guard.map(|(socket, process)| (socket.into_std(), process)) {
            // A guard that has ended needs no message. One byte always fits.
            let _ = socket.write_all(&[DONE]);
        }
    }
}

fn watched(guard: Guard) -> io::Result<(tokio::net::UnixStream, Child)> {
    guard.socket.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(guard.socket)?, guard.process))
}

/// A guard writes nothing after it has started, so that only its end can be read.
async fn is_closed(socket: &tokio::net::UnixStream) {
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Waits for the end of the run, of the parent, or of the time. `None`: the orders are not acceptable.
pub(super) fn main(mut socket: UnixStream, arguments: &[OsString]) -> Option<Exit> {
    let mut bytes = [0; 12];
    socket.read_exact(&mut bytes).ok()?;
    let orders = Orders::from_bytes(bytes, getppid()).filter(|_| arguments.is_empty())?;
    if socket.write_all(&[READY]).is_err() || !is_released(&mut socket, orders.deadline) {
        // There is no one to report a failure to: the parent is stopped or gone.
        let _ = kill_process_group(orders.group, Signal::KILL);
    }
    Some(Exit::OK)
}

/// Whether the parent reported that it is done, before it ended and before the deadline.
fn is_released(socket: &mut UnixStream, deadline: Duration) -> bool {
    loop {
        let now = since_boot();
        if now >= deadline {
            return false;
        }
        // The timer stops while the machine sleeps, the clock does not: check it now and then.
        let pause = (deadline - now).min(Duration::from_secs(1));
        let timeout =
            Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&*socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let mut byte = [0];
                return matches!(socket.read(&mut byte), Ok(1)) && byte == [DONE];
            }
            Err(_) => return false,
        }
    }
}

/// Time since boot, including the time that the machine slept, because it passes on other machines too.
fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_a_child_of_the_caller_leads_is_accepted() {
        let accepted = |group: i32| {
            let mut bytes = Orders::new(Pid::INIT, Duration::MAX).to_bytes();
            bytes[..4].copy_from_slice(&group.to_be_bytes());
            Orders::from_bytes(bytes, Some(rustix::process::getpid())).is_some()
        };
        let mut own = Command::new("cat").stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut shared = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let number = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        assert!(accepted(number(&own)), "a child that leads its group");
        assert!(!accepted(number(&shared)), "a child that leads none");
        let init = Pid::INIT.as_raw_nonzero().get();
        for group in [0, init, -1, -number(&own), i32::MAX, i32::MIN, getpgrp().as_raw_nonzero().get()] {
            assert!(!accepted(group), "{group}");
        }
        if let Some(parent) = getppid() {
            assert!(!accepted(parent.as_raw_nonzero().get()), "the caller of the caller");
        }
        for child in [&mut own, &mut shared] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert!(!accepted(number(&own)), "it is gone");
    }

    #[test]
    fn orders_survive_the_socket() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).process_group(0).spawn().unwrap();
        let deadline = Duration::from_micros(1_234_567);
        let orders = Orders { group: Pid::from_child(&child), deadline };
        assert_eq!(Orders::from_bytes(orders.to_bytes(), Some(rustix::process::getpid())), Some(orders));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

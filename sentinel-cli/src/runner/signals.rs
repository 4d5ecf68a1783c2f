//! Signals that ask the program to end.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal as Blocked};
#[cfg(target_os = "linux")]
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, Signal};
#[cfg(target_os = "linux")]
use rustix::process::{getpid, kill_process, kill_process_group};
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::inherited;

/// Signals that end a process that does not handle them. SIGALRM comes from a timer that the caller has set
/// (`perl -e 'alarm 5; exec ..'`).
const ENDING_SIGNALS: [Signal; 7] =
    [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP, Signal::ALARM, Signal::USR1, Signal::USR2];

/// Signals that ask a program to end, besides [`Signals`], from which a running command takes them.
#[derive(Debug)]
pub(crate) struct StopRequests(tokio::sync::mpsc::UnboundedReceiver<i32>);

impl StopRequests {
    /// The number of the next one.
    pub(crate) async fn recv(&mut self) -> i32 {
        match self.0.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Listens to INT, TERM and HUP, except those that the caller ignores.
pub(crate) fn stop_requests() -> io::Result<StopRequests> {
    let (requests, received) = tokio::sync::mpsc::unbounded_channel();
    for number in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().filter(|one| !inherited::ignores(*one))
    {
        let kind = SignalKind::from_raw(number.as_raw());
        let (mut stream, requests) = (signal(kind)?, requests.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let _ = requests.send(kind.as_raw_value());
            }
        });
    }
    Ok(StopRequests(received))
}

/// The signals that arrived and were not taken yet. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<VecDeque<i32>>,
    came: Notify,
    /// The group that is stopped when this process is, and by which signal.
    stops: Mutex<Option<(Pid, Signal)>>,
}

struct StopsWith(Arc<Inner>);

impl Drop for StopsWith {
    fn drop(&mut self) {
        *self.0.stops.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(target_os = "linux")]
impl Inner {
    fn stop(&self) {
        let stops = *self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        // A group that is gone needs no signal.
        let _ = stops.map(|(group, by)| kill_process_group(group, by));
        let _ = kill_process(getpid(), Signal::TSTP);
        stop_here();
        let _ = stops.map(|(group, _)| kill_process_group(group, Signal::CONT));
    }
}

/// SIGTTOU would stop this process when it writes from the background. Threads that are started later, and only they,
/// inherit what is blocked.
fn block_stops() {
    let mut mask = SigSet::from(Blocked::SIGTTOU);
    if cfg!(target_os = "linux") {
        mask.add(Blocked::SIGTSTP);
    }
    let _ = mask.thread_block();
}

/// Stops here if this process was sent SIGTSTP, until it goes on. Where no shell could continue it, the system ignores
/// the signal.
pub(super) fn stop_here() {
    let stop = SigSet::from(Blocked::SIGTSTP);
    let _ = stop.thread_unblock();
    if cfg!(target_os = "linux") {
        let _ = stop.thread_block();
    }
}

impl Signals {
    /// Listens from now on to all of `ENDING_SIGNALS` except those that the caller ignores (`nohup`).
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        block_stops();
        signals.listen_for_stops()?;
        let kinds = ENDING_SIGNALS.into_iter().filter(|signal| !inherited::ignores(*signal));
        for kind in kinds.map(|signal| SignalKind::from_raw(signal.as_raw())) {
            let mut stream = signal(kind)?;
            let inner = signals.inner.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let mut queue = inner.queue.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.push_back(kind.as_raw_value());
                    inner.came.notify_waiters();
                }
            });
        }
        Ok(signals)
    }

    /// SIGTSTP, from the keyboard or from a supervisor, stops the command as well: it must not keep running while this
    /// process cannot renew its authority. Both continue together.
    #[cfg(target_os = "linux")]
    fn listen_for_stops(&self) -> io::Result<()> {
        if inherited::ignores(Signal::TSTP) {
            return Ok(());
        }
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let stops = SignalFd::with_flags(&SigSet::from(Blocked::SIGTSTP), flags)?;
        #[expect(deprecated, reason = "the other constructor is unsafe; a SignalFd keeps its descriptor")]
        let stops = AsyncFd::new(stops)?;
        let inner = self.inner.clone();
        tokio::spawn(async move {
            while let Ok(mut ready) = stops.readable().await {
                if matches!(stops.get_ref().read_signal(), Ok(Some(_))) {
                    inner.stop();
                }
                ready.clear_ready();
            }
        });
        Ok(())
    }

    /// Here SIGTSTP stops this process only.
    #[cfg(not(target_os = "linux"))]
    fn listen_for_stops(&self) -> io::Result<()> {
        Ok(())
    }

    /// Until the returned value is dropped, this group gets this signal whenever this process is asked to stop.
    pub(super) fn stop_with(&self, group: Pid, by: Signal) -> impl Drop + use<> {
        *self.inner.stops.lock().unwrap_or_else(PoisonError::into_inner) = Some((group, by));
        StopsWith(self.inner.clone())
    }

    /// The next signal, without taking it.
    pub(crate) fn pending(&self) -> Option<i32> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).front().copied()
    }

    /// Waits until a signal has arrived, without taking it.
    pub(crate) async fn came(&self) -> i32 {
        loop {
            let next = self.inner.came.notified();
            if let Some(number) = self.pending() {
                return number;
            }
            next.await;
        }
    }

    /// Takes the next signal. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn next(&self) -> i32 {
        let number = self.came().await;
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(number)
    }
}

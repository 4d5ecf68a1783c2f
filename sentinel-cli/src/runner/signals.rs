//! Signals that ask the program to end.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The signals that came and were not taken yet. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<VecDeque<i32>>,
    came: Notify,
}

impl Signals {
    /// Listens from now on: SIGINT, SIGTERM, SIGQUIT, and SIGHUP unless the caller had it ignored (`nohup`).
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()];
        if !is_ignored(SignalKind::hangup()) {
            kinds.push(SignalKind::hangup());
        }
        for kind in kinds {
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

    /// A signal that came and was not taken; it is not taken by this.
    pub(crate) fn pending(&self) -> Option<i32> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner).front().copied()
    }

    /// Waits until a signal has come, without taking it.
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

/// Whether a signal is ignored, as far as the system tells.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

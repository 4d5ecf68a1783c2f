//! What happens to the bytes of one direction.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Pass,
    Hold,
    Swallow,
    Delay(Duration),
}

/// One direction of all connections of a proxy. A setting applies to open connections and to later ones, until the
/// next setting.
#[derive(Debug)]
pub struct Direction {
    flow: watch::Sender<Flow>,
    /// How many more bytes pass before the connection that carries them is cut.
    budget: Mutex<Option<u64>>,
    /// How many more turns pass before one is lost; None: none is.
    doomed: Mutex<Option<u64>>,
    /// The longest piece that passes at once; 0: any.
    slice: AtomicUsize,
    taken: AtomicU64,
    passed: AtomicU64,
    swallowed: AtomicU64,
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            flow: watch::Sender::new(Flow::Pass),
            budget: Mutex::default(),
            doomed: Mutex::default(),
            slice: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            swallowed: AtomicU64::new(0),
        }
    }
}

impl Direction {
    /// Bytes pass, those first that were held, and in pieces as they came. An earlier [`cut_after`](Self::cut_after) or
    /// [`swallow_nth`](Self::swallow_nth) is forgotten; a connection that lost bytes stays silent.
    pub fn pass(&self) {
        *self.budget() = None;
        *self.doomed() = None;
        self.slice.store(0, Ordering::SeqCst);
        self.flow.send_replace(Flow::Pass);
    }

    /// Bytes, and the news of an end, are kept in order until [`pass`](Self::pass). A sender that sends much
    /// more than a few hundred kilobytes is blocked.
    pub fn hold(&self) {
        self.flow.send_replace(Flow::Hold);
    }

    /// Bytes are lost, those included that are held. The news of an end is kept, as by [`hold`](Self::hold). A
    /// connection that has lost bytes is of no use afterwards: [`cut`](super::Proxy::cut) it.
    pub fn swallow(&self) {
        self.flow.send_replace(Flow::Swallow);
    }

    /// Each byte arrives this much later than it would, in order, as over a longer line.
    pub fn delay(&self, by: Duration) {
        self.flow.send_replace(Flow::Delay(by));
    }

    /// Of all the bytes of this direction the next `bytes` pass; the connection that carries the last of them is cut
    /// right after it, both ways. That happens once: later connections pass. With 0 it is the connection that sends
    /// next, and nothing of it passes.
    pub fn cut_after(&self, bytes: u64) {
        *self.budget() = Some(bytes);
    }

    /// The nth turn of this direction from now on, counted from 1 over all connections, is lost whole: the nth request,
    /// or the nth reply, where a client waits for its answer before it goes on. A stream with a hole is none, so
    /// nothing that comes after it on its connection arrives either, until that is [`cut`](super::Proxy::cut).
    pub fn swallow_nth(&self, nth: u64) {
        *self.doomed() = nth.checked_sub(1);
    }

    /// Bytes pass in separate pieces of at most this many, as over a network with small packets.
    pub fn slice(&self, bytes: usize) {
        self.slice.store(bytes, Ordering::SeqCst);
    }

    /// How many bytes have passed so far.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// How many bytes were lost so far.
    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::SeqCst)
    }

    /// How many bytes were read from their sender and have neither passed nor been lost. They are held, delayed or not
    /// accepted by the receiver, or were so when their connection ended.
    pub fn waiting(&self) -> u64 {
        // In this order, a byte that moves meanwhile is counted as gone.
        let taken = self.taken.load(Ordering::SeqCst);
        taken.saturating_sub(self.passed() + self.swallowed())
    }

    pub(super) fn flow(&self) -> watch::Receiver<Flow> {
        self.flow.subscribe()
    }

    pub(super) fn count_taken(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub(super) fn count_passed(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub(super) fn count_swallowed(&self, bytes: usize) {
        self.swallowed.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// A turn begins: whether it is the one that is lost.
    pub(super) fn is_doomed(&self) -> bool {
        let mut doomed = self.doomed();
        let left = *doomed;
        *doomed = left.and_then(|left| left.checked_sub(1));
        left == Some(0)
    }

    /// The longest piece that passes at once.
    pub(super) fn piece(&self) -> usize {
        match self.slice.load(Ordering::SeqCst) {
            0 => usize::MAX,
            bytes => bytes,
        }
    }

    /// Takes bytes out of the budget: how many may pass, and whether the connection is cut after them.
    pub(super) fn allow(&self, bytes: usize) -> (usize, bool) {
        let mut budget = self.budget();
        let Some(left) = *budget else { return (bytes, false) };
        match usize::try_from(left) {
            Ok(left) if left <= bytes => {
                *budget = None;
                (left, true)
            }
            _ => {
                *budget = Some(left - bytes as u64);
                (bytes, false)
            }
        }
    }

    fn budget(&self) -> MutexGuard<'_, Option<u64>> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doomed(&self) -> MutexGuard<'_, Option<u64>> {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

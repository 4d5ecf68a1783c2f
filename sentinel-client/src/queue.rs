//! The callers of this process that wait for a key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sentinel_core::{Address, StoreError, TraceId};
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};

use super::waited::Waited;

/// The keys that callers of this process wait for.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watched: Mutex<HashMap<Address, Arc<Queue>>>,
}

/// The callers of this process that wait for a key, in the order in which they came. Only the first of them sends
/// claims.
///
/// It counts the requests to claim again. A `watch` channel is not used because it wakes its receivers in random order,
/// and a simulation must be repeatable.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) count: AtomicU64,
    pub(crate) changed: Notify,
    /// The permit of the first caller. Closed when one answer is valid for all of them: then each claims for itself.
    pub(crate) first: Arc<Semaphore>,
    /// The count when a caller was last granted the key. Changes before that need no new claim.
    pub(crate) granted_at: AtomicU64,
    /// The trace of the run that the callers wait for, if it was read and has one.
    trace: Mutex<Option<TraceId>>,
    /// What the callers of `wait` last read.
    pub(crate) shared: SharedRead,
}

/// A read of the record that the callers of `wait` share: one of them reads, and the others wait for it.
#[derive(Debug, Default)]
pub(crate) struct SharedRead {
    /// Counts the callers. Each draws a number when it begins to wait.
    pub(crate) tickets: AtomicU64,
    /// Held while one caller reads.
    pub(crate) last: AsyncMutex<Option<Read>>,
}

/// A read, and which callers may use it: those that began to wait, and were last woken, before it began.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tickets: u64,
    pub(crate) count: u64,
    pub(crate) found: Result<Waited, StoreError>,
}

/// No caller was granted the key yet.
pub(crate) const NEVER: u64 = u64::MAX;

impl Queue {
    pub(crate) fn new() -> Self {
        let first = Arc::new(Semaphore::new(1));
        let (count, granted_at) = (AtomicU64::new(0), AtomicU64::new(NEVER));
        let (trace, shared) = (Mutex::default(), SharedRead::default());
        Self { count, changed: Notify::new(), first, granted_at, trace, shared }
    }

    /// The trace of the run that the callers wait for.
    pub(crate) fn trace(&self) -> MutexGuard<'_, Option<TraceId>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

impl Watchers {
    pub(crate) fn watched(&self) -> MutexGuard<'_, HashMap<Address, Arc<Queue>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether callers of this process wait for a key.
    pub(crate) fn has_queue(&self, address: &Address) -> bool {
        let watched = self.watched();
        !watched.is_empty() && watched.get(address).is_some_and(|queue| Arc::strong_count(queue) > 1)
    }

    /// Wakes the callers of this process that wait for a key, so that they claim again.
    pub(crate) fn wake(&self, address: &Address) {
        let watched = self.watched();
        if !watched.is_empty()
            && let Some(queue) = watched.get(address)
        {
            queue.wake();
        }
    }

    /// Removes a queue without waiters. Returns whether it is removed.
    pub(crate) fn forget_unwatched(&self, address: &Address, queue: &Weak<Queue>) -> bool {
        let mut watched = self.watched();
        match watched.get(address) {
            Some(now) if !std::ptr::eq(Arc::as_ptr(now), queue.as_ptr()) => true,
            Some(now) if Arc::strong_count(now) > 1 => false,
            _ => {
                watched.remove(address);
                true
            }
        }
    }

    /// Lets all waiting callers claim for themselves, or read again. Later callers wait in a new queue.
    pub(crate) fn dissolve(&self, address: &Address, queue: &Arc<Queue>) {
        let mut watched = self.watched();
        if watched.get(address).is_some_and(|now| Arc::ptr_eq(now, queue)) {
            watched.remove(address);
        }
        drop(watched);
        queue.first.close();
        // The callers of `wait` have no place in the queue: its end must wake them.
        queue.wake();
    }
}

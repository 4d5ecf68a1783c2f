//! Waiting for another call's run: one watcher per key, for any number of callers of this process.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sentinel_core::store::{CoordinationStore, Notice};
use sentinel_core::{Address, Record, State, StoreTime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::Core;
use super::engine::{Entered, Refusal};
use super::retry::jittered;

/// How long a watcher pauses between two polls: it starts with the first pause and doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The same while the store is notified of changes: polling is then only the fallback.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The shortest time between two polls, however many notifications arrive.
const SHORTEST_TURN: Duration = Duration::from_millis(2);

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
struct Queue {
    count: AtomicU64,
    told: Notify,
    /// The permit of the first caller. Closed when one answer is valid for all of them: then each claims for itself.
    first: Arc<Semaphore>,
    /// The count when a caller was last granted the key. Changes before that need no new claim.
    granted_at: AtomicU64,
}

/// No caller was granted the key yet.
const NEVER: u64 = u64::MAX;

impl Queue {
    fn new() -> Self {
        let first = Arc::new(Semaphore::new(1));
        Self { count: AtomicU64::new(0), told: Notify::new(), first, granted_at: AtomicU64::new(NEVER) }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Watchers {
    fn watched(&self) -> MutexGuard<'_, HashMap<Address, Arc<Queue>>> {
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
            queue.count.fetch_add(1, Ordering::SeqCst);
            queue.told.notify_waiters();
        }
    }

    /// Removes a queue without waiters. Returns whether it is removed.
    fn forget_unwatched(&self, address: &Address, queue: &Weak<Queue>) -> bool {
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

    /// Lets all waiting callers claim for themselves. Later callers wait in a new queue.
    fn dissolve(&self, address: &Address, queue: &Arc<Queue>) {
        let mut watched = self.watched();
        if watched.get(address).is_some_and(|now| Arc::ptr_eq(now, queue)) {
            watched.remove(address);
        }
        drop(watched);
        queue.first.close();
    }
}

/// A place in the queue for a key. It is taken *before* claiming, so that no change in between is missed.
#[derive(Debug)]
pub(crate) struct Watch {
    core: Arc<Core>,
    address: Address,
    queue: Arc<Queue>,
    /// The permit of the first caller. None: this caller is not the first.
    place: Option<OwnedSemaphorePermit>,
    seen: u64,
}

impl Core {
    pub(crate) fn watch(self: &Arc<Self>, address: &Address) -> Watch {
        let mut watched = self.watchers.watched();
        let queue = watched.get(address).cloned().unwrap_or_else(|| {
            let queue = Arc::new(Queue::new());
            watched.insert(address.clone(), queue.clone());
            tokio::spawn(look_after(Arc::downgrade(self), address.clone(), Arc::downgrade(&queue)));
            queue
        });
        drop(watched);
        let seen = queue.count();
        Watch { core: self.clone(), address: address.clone(), queue, place: None, seen }
    }
}

impl Watch {
    /// Waits until this caller should claim: it is the first, and something may have changed since its last claim, or
    /// since the caller before it was granted the key.
    pub(crate) async fn turn(&mut self) {
        if self.place.is_some() {
            return self.changed().await;
        }
        match self.queue.first.clone().acquire_owned().await {
            Ok(place) => {
                self.place = Some(place);
                match self.queue.granted_at.load(Ordering::SeqCst) {
                    NEVER => self.seen = self.queue.count(),
                    granted_at => {
                        self.seen = granted_at;
                        self.changed().await;
                    }
                }
            }
            // The queue was dissolved: the next wait of this caller is in another one.
            Err(_) => {
                let again = self.core.watch(&self.address);
                *self = again;
            }
        }
    }

    /// Handles a reply that ends this caller's wait.
    pub(crate) fn answered(&self, answer: &Result<Entered, Refusal>) {
        match answer {
            Ok(_) => self.queue.granted_at.store(self.seen, Ordering::SeqCst),
            // All callers would get the same reply.
            Err(Refusal::Completed(_) | Refusal::Uncertain(_) | Refusal::Reconciling(_)) => {
                self.core.watchers.dissolve(&self.address, &self.queue);
            }
            Err(_) => {}
        }
    }

    /// Waits until it is worth claiming again.
    async fn changed(&mut self) {
        loop {
            let mut told = pin!(self.queue.told.notified());
            // Registered before the count is read, so that no notification in between is missed.
            told.as_mut().enable();
            let count = self.queue.count();
            if count != self.seen {
                self.seen = count;
                return;
            }
            told.await;
        }
    }
}

async fn look_after(core: Weak<Core>, address: Address, queue: Weak<Queue>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let store = match core.upgrade() {
            Some(core) if !core.watchers.forget_unwatched(&address, &queue) => core.store.clone(),
            _ => return,
        };
        let began = Instant::now();
        let wake = || core.upgrade().iter().for_each(|core| core.watchers.wake(&address));
        pause = match turn(&*store, &address, jittered(pause), wake).await {
            Some(Notice::Listening) => LONGEST_REST.min(FIRST_REST.max(pause * 2)),
            Some(Notice::Polling) => LONGEST_PAUSE.min(pause * 2),
            Some(Notice::Changed) | None => pause,
        };
        tokio::time::sleep(SHORTEST_TURN.saturating_sub(began.elapsed())).await;
    }
}

/// Waits for a change, and reads the record once meanwhile. The read finds changes from before the wait began; the
/// store may notify of later ones. Wakes the waiting callers in both cases. None: the wait was cut short, because the
/// record lapses.
async fn turn(
    store: &dyn CoordinationStore,
    address: &Address,
    pause: Duration,
    wake: impl Fn(),
) -> Option<Notice> {
    let mut waiting = pin!(store.changed(address, pause));
    let mut looking = pin!(look(store, address));
    let first = tokio::select! {
        biased;
        notice = &mut waiting => Err(notice),
        seen = &mut looking => Ok(seen),
    };
    let notice = match first {
        Ok(Some(remaining)) => timeout(remaining, waiting).await.ok(),
        Ok(None) => {
            wake();
            Some(waiting.await)
        }
        Err(Notice::Changed) => Some(Notice::Changed),
        Err(notice) => {
            if looking.await.is_none() {
                wake();
            }
            Some(notice)
        }
    };
    if notice == Some(Notice::Changed) {
        wake();
    }
    notice
}

/// How long the record stays in progress if nothing happens. None: it is not in progress, or the store could not
/// answer. In both cases the waiting callers must claim for themselves.
async fn look(store: &dyn CoordinationStore, address: &Address) -> Option<Duration> {
    let seen = store.inspect(address).await.ok()?;
    let record = seen.record.filter(|record| is_in_progress(record, seen.now))?;
    Some(record.lease_until.since(seen.now))
}

fn is_in_progress(record: &Record, now: StoreTime) -> bool {
    matches!(record.state, State::Claimed | State::Executing) && record.is_live(now)
}

//! Waiting for somebody else's run: one watcher for a key, however many callers of this process wait for it.

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

/// How often a watcher looks: the pauses start with the first and double up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The same while the store says that it would be told of a change: looking is the safety net then.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// No store, and no stranger who sends it messages, makes a watcher look or wake more often.
const SHORTEST_TURN: Duration = Duration::from_millis(2);

/// The keys that callers of this process wait for.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watched: Mutex<HashMap<Address, Arc<Queue>>>,
}

/// The callers of this process that wait for a key, in the order in which they came. Only the first of them asks the store.
///
/// It counts the requests to ask again. Not a `watch` channel: that wakes in an order of its own chance, and a
/// simulation has to be repeatable.
#[derive(Debug)]
struct Queue {
    count: AtomicU64,
    told: Notify,
    /// The place of the first. Closed when one answer is for all of them: then each asks for itself.
    first: Arc<Semaphore>,
    /// The count when one of them was last granted the key. What changed before that is known to be over.
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

    /// Tells whoever waits for a key in this process that it is worth asking again.
    pub(crate) fn wake(&self, address: &Address) {
        let watched = self.watched();
        if !watched.is_empty()
            && let Some(queue) = watched.get(address)
        {
            queue.count.fetch_add(1, Ordering::SeqCst);
            queue.told.notify_waiters();
        }
    }

    /// Forgets a queue without waiters; whether it is forgotten.
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

    /// Those who wait ask each for itself. Who comes later waits in a queue of its own.
    fn dissolve(&self, address: &Address, queue: &Arc<Queue>) {
        let mut watched = self.watched();
        if watched.get(address).is_some_and(|now| Arc::ptr_eq(now, queue)) {
            watched.remove(address);
        }
        drop(watched);
        queue.first.close();
    }
}

/// A place among those who wait for a key. Taken *before* asking, so that no change is missed in between.
#[derive(Debug)]
pub(crate) struct Watch {
    core: Arc<Core>,
    address: Address,
    queue: Arc<Queue>,
    /// The place of the first. None: this caller stands behind others.
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
    /// Waits until it is this caller's turn to ask: it is the first, and something may have changed since it last asked,
    /// or since the one before it was granted the key.
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
            // The queue is dissolved: the next time this caller waits, it is in another one.
            Err(_) => {
                let again = self.core.watch(&self.address);
                *self = again;
            }
        }
    }

    /// Takes note of an answer that ends this caller's wait.
    pub(crate) fn answered(&self, answer: &Result<Entered, Refusal>) {
        match answer {
            Ok(_) => self.queue.granted_at.store(self.seen, Ordering::SeqCst),
            // The same for everybody who asks.
            Err(Refusal::Completed(_) | Refusal::Uncertain(_) | Refusal::Reconciling(_)) => {
                self.core.watchers.dissolve(&self.address, &self.queue);
            }
            Err(_) => {}
        }
    }

    /// Waits until it is worth asking again.
    async fn changed(&mut self) {
        loop {
            let mut told = pin!(self.queue.told.notified());
            // Before the count is looked at: what is told in between is not missed.
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

/// Waits for a change, and looks once meanwhile: what changed before the wait began is seen, and what changes after it may
/// be told. Wakes those who wait if either says so. None: the wait was cut short, since the record lapses.
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

/// How long the record stays in progress unless something happens. None: it is settled, or the store has trouble. Either
/// way those who wait ask for themselves.
async fn look(store: &dyn CoordinationStore, address: &Address) -> Option<Duration> {
    let seen = store.inspect(address).await.ok()?;
    let record = seen.record.filter(|record| is_in_progress(record, seen.now))?;
    Some(record.lease_until.since(seen.now))
}

fn is_in_progress(record: &Record, now: StoreTime) -> bool {
    matches!(record.state, State::Claimed | State::Executing) && record.is_live(now)
}

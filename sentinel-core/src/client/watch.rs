//! Waiting for somebody else's run: one watcher for a key, however many callers of this process wait for it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Core;
use super::retry::jittered;
use crate::address::Address;
use crate::record::{Record, State};
use crate::store::{CoordinationStore, Notice};
use crate::time::StoreTime;

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
    watched: Mutex<HashMap<Address, Arc<Turns>>>,
}

/// How often those who wait for a key were told to ask again. Not a `watch` channel: that wakes in an order of its own
/// chance, and a simulation has to be repeatable.
#[derive(Debug, Default)]
struct Turns {
    count: AtomicU64,
    told: Notify,
}

impl Watchers {
    fn watched(&self) -> MutexGuard<'_, HashMap<Address, Arc<Turns>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits for a key in this process that it is worth asking again.
    pub(crate) fn wake(&self, address: &Address) {
        let watched = self.watched();
        if !watched.is_empty()
            && let Some(turns) = watched.get(address)
        {
            turns.count.fetch_add(1, Ordering::SeqCst);
            turns.told.notify_waiters();
        }
    }

    /// Forgets a key that nobody waits for any more; whether it did.
    fn forget_unwatched(&self, address: &Address) -> bool {
        let mut watched = self.watched();
        let unwatched = watched.get(address).is_none_or(|turns| Arc::strong_count(turns) == 1);
        if unwatched {
            watched.remove(address);
        }
        unwatched
    }
}

/// A place among those who wait for a key. Taken *before* asking, so that no change is missed in between.
#[derive(Debug)]
pub(crate) struct Watch {
    turns: Arc<Turns>,
    seen: u64,
}

impl Core {
    pub(crate) fn watch(self: &Arc<Self>, address: &Address) -> Watch {
        let mut watched = self.watchers.watched();
        if let Some(turns) = watched.get(address) {
            return Watch { turns: turns.clone(), seen: turns.count.load(Ordering::SeqCst) };
        }
        let turns = Arc::<Turns>::default();
        watched.insert(address.clone(), turns.clone());
        drop(watched);
        tokio::spawn(look_after(Arc::downgrade(self), address.clone()));
        Watch { turns, seen: 0 }
    }
}

impl Watch {
    /// Waits until it is worth asking again.
    pub(crate) async fn changed(&mut self) {
        loop {
            let mut told = pin!(self.turns.told.notified());
            // Before the count is looked at: what is told in between is not missed.
            told.as_mut().enable();
            let count = self.turns.count.load(Ordering::SeqCst);
            if count != self.seen {
                self.seen = count;
                return;
            }
            told.await;
        }
    }
}

async fn look_after(core: Weak<Core>, address: Address) {
    let mut pause = FIRST_PAUSE;
    loop {
        let store = match core.upgrade() {
            Some(core) if !core.watchers.forget_unwatched(&address) => core.store.clone(),
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

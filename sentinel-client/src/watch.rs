//! Waiting for another call's run: one watcher per key, for any number of callers of this process.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sentinel_core::store::{CoordinationStore, Notice};
use sentinel_core::{Address, Cause, Label, Record, State, StoreError, StoreTime, TraceId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::jitter::jittered;
use super::queue::{NEVER, Queue, Read};
use super::shared::Core;
use super::waited::Waited;

/// How long a watcher pauses between two polls: it starts with the first pause and doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The same while the store is notified of changes: polling is then only the fallback.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The shortest time between two polls, however many notifications arrive.
const SHORTEST_TURN: Duration = Duration::from_millis(2);

/// A place in the queue for a key. It is taken *before* claiming, so that no change in between is missed.
#[derive(Debug)]
pub(crate) struct Watch {
    core: Arc<Core>,
    address: Address,
    queue: Arc<Queue>,
    /// The permit of the first caller. None: this caller is not the first.
    place: Option<OwnedSemaphorePermit>,
    seen: u64,
    /// The number of a caller of `wait` among those of its queue. None: it has not read yet.
    ticket: Option<u64>,
}

impl Core {
    pub(crate) fn watch(self: &Arc<Self>, address: &Address) -> Watch {
        let mut watched = self.watchers.watched();
        let queue = watched.get(address).cloned().unwrap_or_else(|| {
            let queue = Arc::new(Queue::new());
            watched.insert(address.clone(), queue.clone());
            tokio::spawn(watch_record(Arc::downgrade(self), address.clone(), Arc::downgrade(&queue)));
            queue
        });
        drop(watched);
        let seen = queue.count();
        Watch { core: self.clone(), address: address.clone(), queue, place: None, seen, ticket: None }
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

    /// The trace of the run that this caller waits for, if it is known.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        *self.queue.trace()
    }

    /// Records that this caller was granted the key: the next one claims at the next change.
    pub(crate) fn granted(&self) {
        self.queue.granted_at.store(self.seen, Ordering::SeqCst);
    }

    /// Ends the wait of all callers in this queue.
    pub(crate) fn dissolve(&self) {
        self.core.watchers.dissolve(&self.address, &self.queue);
    }

    /// Reads the record, or shares a read that began after this caller joined the queue and after its last wake-up. Of
    /// any number of callers one reads, and the others wait for it.
    pub(crate) async fn read(&mut self, worker: &Label, within: Duration) -> Result<Waited, StoreError> {
        let shared = &self.queue.shared;
        let ticket = *self.ticket.get_or_insert_with(|| shared.tickets.fetch_add(1, Ordering::SeqCst) + 1);
        let mut last = shared.last.lock().await;
        let read = match last.take().filter(|read| read.tickets >= ticket && read.count >= self.seen) {
            Some(read) => read,
            // A caller that goes away here leaves no read behind, and the next one reads.
            None => Read {
                tickets: shared.tickets.load(Ordering::SeqCst),
                count: self.queue.count(),
                found: self.core.snapshot(&self.address, worker, within).await,
            },
        };
        self.seen = read.count;
        last.insert(read).found.clone()
    }

    /// Waits until the record may have changed since the last read. If this queue was dissolved, joins the next one at
    /// once.
    pub(crate) async fn changed_or_moved(&mut self) {
        if self.queue.first.is_closed() {
            *self = self.core.watch(&self.address);
        } else {
            self.changed().await;
        }
    }

    /// Waits until it is worth claiming again.
    async fn changed(&mut self) {
        loop {
            let mut changed = pin!(self.queue.changed.notified());
            // Registered before the count is read, so that no notification in between is missed.
            changed.as_mut().enable();
            let count = self.queue.count();
            if count != self.seen {
                self.seen = count;
                return;
            }
            changed.await;
        }
    }
}

async fn watch_record(core: Weak<Core>, address: Address, queue: Weak<Queue>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let store = match core.upgrade() {
            Some(core) if !core.watchers.forget_unwatched(&address, &queue) => core.store.clone(),
            _ => return,
        };
        let began = Instant::now();
        let wake = || core.upgrade().iter().for_each(|core| core.watchers.wake(&address));
        let seen = |record: &Record| {
            if let Some(queue) = queue.upgrade() {
                *queue.trace() = record.cause.as_ref().and_then(Cause::trace);
            }
        };
        pause = match turn(&*store, &address, jittered(pause), wake, seen).await {
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
    seen: impl Fn(&Record),
) -> Option<Notice> {
    let mut waiting = pin!(store.changed(address, pause));
    let mut reading = pin!(read(store, address, seen));
    let first = tokio::select! {
        biased;
        notice = &mut waiting => Err(notice),
        seen = &mut reading => Ok(seen),
    };
    let notice = match first {
        Ok(Some(remaining)) => timeout(remaining, waiting).await.ok(),
        Ok(None) => {
            wake();
            Some(waiting.await)
        }
        Err(Notice::Changed) => Some(Notice::Changed),
        Err(notice) => {
            if reading.await.is_none() {
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
async fn read(store: &dyn CoordinationStore, address: &Address, seen: impl Fn(&Record)) -> Option<Duration> {
    let found = store.inspect(address).await.ok()?;
    let record = found.record.filter(|record| is_in_progress(record, found.now))?;
    seen(&record);
    Some(record.lease_until.since(found.now))
}

fn is_in_progress(record: &Record, now: StoreTime) -> bool {
    matches!(record.state, State::Claimed | State::Executing) && record.is_live(now)
}

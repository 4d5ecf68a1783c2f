use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::store::{Check, Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{
    Address, Clock, CoordinationStore, Event, Key, Namespace, PURGE_REST, Record, StoreError, StoreTime,
    SystemClock, Token,
};
use tokio::time::Instant;

const SHARDS: usize = 64;

/// A store in this process' memory. Cheap to clone: clones share their records.
///
/// Records and their events stay until they are purged, so a process that lives long calls `purge` now and then.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// No token at or below a namespace's floor is drawn: it holds the tokens of purged records.
    floors: RwLock<HashMap<Namespace, Token>>,
    /// Spares the lock above as long as nothing was ever purged.
    has_floors: AtomicBool,
    clock: Arc<dyn Clock>,
}

type Shard = HashMap<Address, Entry, RandomState>;

struct Entry {
    record: Record,
    events: Vec<Event>,
}

impl MemoryStore {
    /// An empty store on tokio's clock: real time, or the paused time of a test.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(TokioClock::starting_now()))
    }

    /// An empty store on a clock of your own.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let hasher = RandomState::default();
        let shard = || Mutex::new(Shard::with_hasher(hasher.clone()));
        let inner = Inner {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            floors: RwLock::default(),
            has_floors: AtomicBool::new(false),
            clock,
            hasher: hasher.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn transition<O: Operation>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        let mut shard = self.shard(address);
        let now = self.inner.clock.now();
        let at = Reading { kind: address.kind, now, floor: self.floor(&address.namespace) };
        if let Some(entry) = shard.get_mut(address) {
            let outcome = kernel::apply(&mut entry.record, op, at)?;
            entry.events.extend(outcome.event);
            return Ok(outcome.stamped);
        }
        let mut record = Record::absent();
        let outcome = kernel::apply(&mut record, op, at)?;
        if outcome.stamped.stamp.changed {
            let events = outcome.event.into_iter().collect();
            shard.insert(address.clone(), Entry { record, events });
        }
        Ok(outcome.stamped)
    }

    fn shard(&self, address: &Address) -> MutexGuard<'_, Shard> {
        let hash = self.inner.hasher.hash_one(address);
        // The map below uses the low bits of the same hash; the shard is picked by the high ones.
        let shard = &self.inner.shards[(hash >> 58) as usize % SHARDS];
        lock(shard)
    }

    fn floor(&self, namespace: &Namespace) -> Token {
        if !self.inner.has_floors.load(Ordering::Acquire) {
            return Token::NONE;
        }
        let floors = self.inner.floors.read().unwrap_or_else(PoisonError::into_inner);
        floors.get(namespace).copied().unwrap_or_default()
    }

    fn raise_floor(&self, namespace: &Namespace, token: Token) {
        let mut floors = self.inner.floors.write().unwrap_or_else(PoisonError::into_inner);
        let floor = floors.entry(namespace.clone()).or_default();
        *floor = token.max(*floor);
        self.inner.has_floors.store(true, Ordering::Release);
    }

    /// Purges what one shard holds of a namespace, at most `limit` records; whether there is more.
    fn purge_shard(&self, shard: &mut Shard, purge: &Purge, now: StoreTime, limit: u64) -> Purged {
        let mut purged = Purged { records: 0, more: false };
        let mut rested = Vec::new();
        for (address, entry) in shard.iter_mut().filter(|(address, _)| address.namespace == purge.namespace) {
            if entry.record.is_absent() {
                let last = entry.events.last().map(|event| event.at).unwrap_or_default();
                if now.since(last) > PURGE_REST && !purge.dry_run {
                    rested.push(address.clone());
                }
                continue;
            }
            let Some((token, event)) = kernel::purge(&entry.record, now) else { continue };
            if purged.records == limit {
                purged.more = true;
                break;
            }
            purged.records += 1;
            if !purge.dry_run {
                self.raise_floor(&address.namespace, token);
                *entry = Entry { record: Record::absent(), events: vec![event] };
            }
        }
        rested.iter().for_each(|address| drop(shard.remove(address)));
        purged
    }
}

/// A lock that a panicking thread held is still a lock: the kernel guards before it writes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl CoordinationStore for MemoryStore {
    fn describe(&self) -> Description {
        Description { backend: "memory", in_process: true }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        self.transition(address, op)
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.transition(address, op)
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        beats.iter().map(|beat| self.transition(&beat.address, &Heartbeat { grant: beat.grant })).collect()
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        self.transition(address, op)
    }

    async fn cancel(&self, address: &Address, op: &Cancel) -> Result<Stamped<CancelReply>, StoreError> {
        self.transition(address, op)
    }

    async fn release(&self, address: &Address, op: &Release) -> Result<Stamped<ReleaseReply>, StoreError> {
        self.transition(address, op)
    }

    async fn abandon(&self, address: &Address, op: &Abandon) -> Result<Stamped<AbandonReply>, StoreError> {
        self.transition(address, op)
    }

    async fn reconcile(
        &self,
        address: &Address,
        op: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError> {
        self.transition(address, op)
    }

    async fn force_complete(
        &self,
        address: &Address,
        op: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError> {
        self.transition(address, op)
    }

    async fn reset_to_claimed(
        &self,
        address: &Address,
        op: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError> {
        self.transition(address, op)
    }

    async fn evict(&self, address: &Address, op: &Evict) -> Result<Stamped<EvictReply>, StoreError> {
        self.transition(address, op)
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let mut total = Purged { records: 0, more: false };
        for shard in &self.inner.shards {
            let left = u64::from(purge.limit) - total.records;
            let mut shard = lock(shard);
            let now = self.inner.clock.now();
            let purged = self.purge_shard(&mut shard, purge, now, left);
            total.records += purged.records;
            total.more |= purged.more;
        }
        Ok(total)
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let shard = self.shard(address);
        let record = shard.get(address).map(|entry| &entry.record).filter(|record| !record.is_absent());
        let last = record.map(|record| record.last_now).unwrap_or_default();
        Ok(Inspection { record: record.cloned(), now: self.inner.clock.now().max(last) })
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let now = self.inner.clock.now();
        let after = list.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page: BTreeMap<Key, Record> = BTreeMap::new();
        for shard in &self.inner.shards {
            let shard = lock(shard);
            let here = shard.iter().filter(|(a, _)| a.namespace == list.namespace && a.kind == list.kind);
            for (address, Entry { record, .. }) in here {
                if !record.is_absent() && list.wants(record, now.max(record.last_now)) {
                    page.insert(address.key.clone(), without_bytes(record));
                }
            }
        }
        let limit = list.limit.clamp(1, List::MAX) as usize;
        Ok(Listing { records: page.range((after, Bound::Unbounded)).take(limit).map(owned).collect(), now })
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let shard = self.shard(address);
        let events = shard.get(address).map(|entry| entry.events.as_slice()).unwrap_or_default();
        Ok(events[events.len().saturating_sub(limit as usize)..].to_vec())
    }

    async fn changed(&self, _: &Address, within: Duration) -> Notice {
        Notice::poll(within).await
    }

    async fn probe(&self) -> Result<Health, StoreError> {
        let durable =
            Check { name: "durability", ok: true, found: "none: nothing outlives the process".into() };
        Ok(Health {
            deployment: "memory".into(),
            checks: vec![durable],
            guarantees: vec![
                "At most one execution per key within this process, and tokens that increase.".into(),
            ],
            accepted: true,
        })
    }
}

fn owned((key, record): (&Key, &Record)) -> (Key, Record) {
    (key.clone(), record.clone())
}

fn without_bytes(record: &Record) -> Record {
    let mut record = record.clone();
    if let Some(result) = &mut record.result {
        result.payload.bytes = Default::default();
    }
    record
}

/// Wall time at the start, and from then on tokio's monotonic clock, which a test may pause and move.
#[derive(Debug)]
struct TokioClock {
    start: StoreTime,
    since: Instant,
}

impl TokioClock {
    fn starting_now() -> Self {
        Self { start: SystemClock.now(), since: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> StoreTime {
        let passed: Duration = self.since.elapsed();
        self.start.plus(passed)
    }
}

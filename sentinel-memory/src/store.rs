use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use sentinel_core::survey::{CausePage, Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{
    Address, CauseQuery, Clock, CoordinationStore, Event, EventLimit, Key, Namespace, PURGE_REST, Record,
    StoreError, StoreTime, Survey, SystemClock, Token,
};
use tokio::time::Instant;

use crate::shard::{Entry, Shard};

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
    /// False until something is purged: the lock above is not taken before.
    has_floors: AtomicBool,
    clock: Arc<dyn Clock>,
    max_events: EventLimit,
}

impl MemoryStore {
    /// An empty store on tokio's clock: real time, or the paused time of a test.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(TokioClock::starting_now()))
    }

    /// An empty store on a clock of your own.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with_clock_and_max_events(clock, EventLimit::default())
    }

    /// An empty store on a clock of your own that keeps at most this many events of one record. The default is 1,000.
    pub fn with_clock_and_max_events(clock: Arc<dyn Clock>, max_events: EventLimit) -> Self {
        let inner = Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            floors: RwLock::default(),
            has_floors: AtomicBool::new(false),
            clock,
            max_events,
            hasher: RandomState::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn transition<O: Operation>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        let (hash, mut shard) = self.shard(address);
        let now = self.inner.clock.now();
        let at = Reading { kind: address.kind, now, floor: self.floor(&address.namespace) };
        if let Some(entry) = shard.get_mut(hash, address) {
            let outcome = kernel::apply(&mut entry.record, op, at)?;
            entry.events.extend(outcome.event);
            kernel::trim(&mut entry.events, self.inner.max_events);
            return Ok(outcome.stamped);
        }
        let mut entry = Entry::absent(address);
        let outcome = kernel::apply(&mut entry.record, op, at)?;
        if outcome.stamped.stamp.changed {
            entry.events.extend(outcome.event);
            shard.insert(hash, entry);
        }
        Ok(outcome.stamped)
    }

    /// Visits each address that has a record.
    fn for_each_address(&self, mut visit: impl FnMut(&Address)) {
        for shard in &self.inner.shards {
            let shard = lock(shard);
            shard.iter().filter(|entry| !entry.record.is_absent()).for_each(|entry| visit(&entry.address));
        }
    }

    fn shard(&self, address: &Address) -> (u64, MutexGuard<'_, Shard>) {
        let hash = self.inner.hasher.hash_one(address);
        // The table uses the lowest bits of the same hash, and the highest to compare entries of one group: the bits
        // between pick the shard.
        (hash, lock(&self.inner.shards[(hash >> 40) as usize % SHARDS]))
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

    /// Purges the records of a namespace in one shard, at most `limit`; also returns whether there are more.
    fn purge_shard(&self, shard: &mut Shard, purge: &Purge, now: StoreTime, limit: u64) -> Purged {
        let mut purged = Purged { records: 0, more: false };
        shard.retain(|entry| {
            if entry.address.namespace != purge.namespace || purged.more {
                return true;
            }
            if entry.record.is_absent() {
                let last = entry.events.last().map(|event| event.at).unwrap_or_default();
                return purge.dry_run || now.since(last) <= PURGE_REST;
            }
            let Some((token, event)) = kernel::purge(&entry.record, now) else { return true };
            if purged.records == limit {
                purged.more = true;
                return true;
            }
            purged.records += 1;
            if !purge.dry_run {
                self.raise_floor(&entry.address.namespace, token);
                (entry.record, entry.events) = (Record::absent(), vec![event]);
            }
            true
        });
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
        let (hash, shard) = self.shard(address);
        let record = shard.get(hash, address).map(|entry| &entry.record).filter(|record| !record.is_absent());
        let last = record.map(|record| record.last_now).unwrap_or_default();
        Ok(Inspection { record: record.cloned(), now: self.inner.clock.now().max(last) })
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let now = self.inner.clock.now();
        let after = list.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page: BTreeMap<Key, Record> = BTreeMap::new();
        for shard in &self.inner.shards {
            let shard = lock(shard);
            for Entry { address, record, .. } in shard.iter() {
                if address.namespace != list.namespace || address.kind != list.kind {
                    continue;
                }
                if !record.is_absent() && list.wants(record, now.max(record.last_now)) {
                    page.insert(address.key.clone(), without_bytes(record));
                }
            }
        }
        let limit = list.limit.clamp(1, List::MAX) as usize;
        Ok(Listing { records: page.range((after, Bound::Unbounded)).take(limit).map(owned).collect(), now })
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let (hash, shard) = self.shard(address);
        let events = shard.get(hash, address).map(|entry| entry.events.as_slice()).unwrap_or_default();
        Ok(events[events.len().saturating_sub(limit as usize)..].to_vec())
    }

    async fn changed(&self, _: &Address, within: Duration) -> Notice {
        tokio::time::sleep(within).await;
        Notice::Polling
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let durable = Check {
            name: "durability",
            ok: true,
            found: "none: all records are lost when the process \
                ends"
                .into(),
        };
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

#[async_trait]
impl Survey for MemoryStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let mut all = BTreeSet::new();
        self.for_each_address(|address| {
            if after.is_none_or(|after| address.namespace > *after) && !all.contains(&address.namespace) {
                all.insert(address.namespace.clone());
            }
        });
        Ok(all.into_iter().take(limit as usize).collect())
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }

    /// Walks over all records.
    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        let (now, limit) = (self.inner.clock.now(), limit.clamp(1, List::MAX) as usize);
        let mut found: BTreeMap<Address, Record> = BTreeMap::new();
        for shard in &self.inner.shards {
            for Entry { address, record, .. } in lock(shard).iter() {
                let is_wanted = after.is_none_or(|after| address > after);
                if is_wanted && record.cause.as_ref().is_some_and(|cause| query.matches(cause)) {
                    found.insert(address.clone(), without_bytes(record));
                }
            }
        }
        Ok(CausePage { records: found.into_iter().take(limit).collect(), now, incomplete: false })
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

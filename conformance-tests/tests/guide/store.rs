//! A store to read first: the kernel under one lock, in memory. All laws of the suite pass on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{
    Address, Clock, CoordinationStore, Event, EventLimit, Namespace, PURGE_REST, Record, StoreError,
    StoreTime, Token,
};

/// A store in memory. Clones are handles of the same store.
#[derive(Debug, Clone)]
pub struct MyStore {
    clock: Arc<dyn Clock>,
    tables: Arc<Mutex<Tables>>,
}

/// What a store on a disk or a server keeps in three tables.
#[derive(Debug, Default)]
struct Tables {
    records: BTreeMap<Address, Record>,
    events: BTreeMap<Address, Vec<Event>>,
    floors: BTreeMap<Namespace, Token>,
}

impl MyStore {
    /// An empty store on a clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tables: Arc::default() }
    }

    /// The lock of all records; a store for many users has one for each record.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every transition: the lock, one reading of the clock after it, the kernel, and one write of record and event.
    fn transition<O: Operation>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        let mut tables = self.lock();
        let floor = tables.floors.get(&address.namespace).copied().unwrap_or_default();
        let at = Reading { kind: address.kind, now: self.clock.now(), floor };
        let mut record = tables.records.get(address).cloned().unwrap_or(Record::absent());
        let outcome = kernel::apply(&mut record, op, at)?;
        if outcome.stamped.stamp.changed {
            tables.records.insert(address.clone(), record);
            let events = tables.events.entry(address.clone()).or_default();
            events.extend(outcome.event);
            kernel::trim(events, EventLimit::default());
        }
        Ok(outcome.stamped)
    }
}

/// The ten methods that are a transition, and the eight that are not.
macro_rules! store {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl CoordinationStore for MyStore {
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                self.transition(address, op)
            })*

            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                // Each beat for itself, and one reply for each, in the order of the beats.
                beats.iter().map(|b| self.transition(&b.address, &Heartbeat { grant: b.grant })).collect()
            }

            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                Ok(self.lock().purge(purge, self.clock.now()))
            }

            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                let record = self.lock().records.get(address).cloned();
                let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
                // A read is lifted to the record's last reading, as a transition is.
                Ok(Inspection { record, now: self.clock.now().max(last) })
            }

            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                let (tables, now) = (self.lock(), self.clock.now());
                let wanted = tables.records.iter().filter(|(address, record)| {
                    (&address.namespace, address.kind) == (&list.namespace, list.kind)
                        && list.after.as_ref().is_none_or(|after| address.key > *after)
                        && list.wants(record, now.max(record.last_now))
                });
                // The limit counts what is shown, and the bytes of results are left out.
                let page = wanted.take(list.limit.clamp(1, List::MAX) as usize).map(|(address, record)| {
                    let mut record = record.clone();
                    record.result.iter_mut().for_each(|result| result.payload.bytes = Default::default());
                    (address.key.clone(), record)
                });
                Ok(Listing { records: page.collect(), now })
            }

            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                let tables = self.lock();
                let events = tables.events.get(address).map(Vec::as_slice).unwrap_or_default();
                Ok(events[events.len().saturating_sub(limit as usize)..].to_vec())
            }

            async fn changed(&self, _: &Address, within: Duration) -> Notice {
                tokio::time::sleep(within).await;
                Notice::Polling
            }

            async fn health(&self) -> Result<Health, StoreError> {
                let guarantees = vec!["At most one execution per key, within this process.".to_owned()];
                Ok(Health { deployment: "memory".into(), checks: vec![], guarantees, accepted: true })
            }

            fn describe(&self) -> Description {
                Description { backend: "my store", in_process: true }
            }
        }
    };
}

store! {
    claim, Claim, ClaimReply;
    begin, Begin, BeginReply;
    complete, Complete, CompleteReply;
    cancel, Cancel, CancelReply;
    release, Release, ReleaseReply;
    abandon, Abandon, AbandonReply;
    reconcile, Reconcile, ReconcileReply;
    force_complete, ForceComplete, ForceCompleteReply;
    reset_to_claimed, ResetToClaimed, ResetReply;
    evict, Evict, EvictReply;
}

impl Tables {
    /// The kernel decides what may be deleted, with the floor and the event that it leaves. All of it is one
    /// transaction.
    fn purge(&mut self, purge: &Purge, now: StoreTime) -> Purged {
        let ours = |address: &Address| address.namespace == purge.namespace;
        let due = self.records.iter().filter(|(address, _)| ours(address));
        let due: Vec<_> =
            due.filter_map(|(at, record)| Some((at.clone(), kernel::purge(record, now)?))).collect();
        let limit = purge.limit as usize;
        let purged = Purged { records: due.len().min(limit) as u64, more: due.len() > limit };
        if purge.dry_run {
            return purged;
        }
        // The event of an earlier purge is old enough as well, unless the key was claimed again since.
        self.events.retain(|address, events| {
            let last = events.last().map(|event| event.at).unwrap_or_default();
            !ours(address) || self.records.contains_key(address) || now.since(last) <= PURGE_REST
        });
        for (address, (token, event)) in due.into_iter().take(limit) {
            let floor = self.floors.entry(address.namespace.clone()).or_default();
            *floor = token.max(*floor);
            self.records.remove(&address);
            self.events.insert(address, vec![event]);
        }
        purged
    }
}

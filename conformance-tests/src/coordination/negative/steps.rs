//! Stores that do in several steps what must be one: another request comes between them, or the caller is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sentinel_core::kernel::{self, Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Address, CoordinationStore, Event, Layer, Layered, Record, StoreError};

use super::mutation::Mutation;
use super::store::FlawedStore;
use crate::coordination::harness::DynHarness;

/// What is done in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// This operation reads, waits and writes.
    ReadsAndWrites(&'static str),
    /// The same, with other threads instead of other tasks in between.
    UnderTwoLocks(&'static str),
    /// Writes the record, waits, and appends the event.
    EventLast,
    /// Appends the event, waits, and writes the record.
    EventFirst,
    /// Marks the store as busy, waits, applies the request, and removes the mark.
    BusyMark,
    /// A purge finds what may be deleted, waits, and deletes it.
    PurgeFindsFirst,
    /// A purge deletes, waits, and raises the floor.
    PurgeRaisesLast,
    /// A purge deletes, waits, and leaves the events.
    PurgeAppendsEventLast,
}

pub(super) fn all() -> Vec<Mutation> {
    macro_rules! built {
        ($rule:literal: $($name:literal $steps:expr;)*) => {
            vec![$(Mutation::new($name, $rule).built(|| Arc::new(SteppingStore::new($steps)))),*]
        };
    }
    use Steps::*;
    built! { "store contract, atomicity":
        "claims in two steps" ReadsAndWrites("claim");
        "begins in two steps" ReadsAndWrites("begin");
        "extends leases in two steps" ReadsAndWrites("heartbeat");
        "completes in two steps" ReadsAndWrites("complete");
        "cancels in two steps" ReadsAndWrites("cancel");
        "releases in two steps" ReadsAndWrites("release");
        "abandons in two steps" ReadsAndWrites("abandon");
        "reconciles in two steps" ReadsAndWrites("reconcile");
        "forces results in two steps" ReadsAndWrites("force_complete");
        "resets in two steps" ReadsAndWrites("reset_to_claimed");
        "evicts in two steps" ReadsAndWrites("evict");
        "claims under two locks" UnderTwoLocks("claim");
        "begins under two locks" UnderTwoLocks("begin");
        "extends leases under two locks" UnderTwoLocks("heartbeat");
        "completes under two locks" UnderTwoLocks("complete");
        "cancels under two locks" UnderTwoLocks("cancel");
        "releases under two locks" UnderTwoLocks("release");
        "abandons under two locks" UnderTwoLocks("abandon");
        "reconciles under two locks" UnderTwoLocks("reconcile");
        "forces results under two locks" UnderTwoLocks("force_complete");
        "resets under two locks" UnderTwoLocks("reset_to_claimed");
        "evicts under two locks" UnderTwoLocks("evict");
        "appends events after a wait" EventLast;
        "appends events before a wait" EventFirst;
        "stays busy when a caller is dropped" BusyMark;
        "finds what to purge before a wait" PurgeFindsFirst;
        "raises the floor after a wait" PurgeRaisesLast;
        "records a purge after a wait" PurgeAppendsEventLast;
    }
}

#[derive(Debug)]
struct SteppingStore {
    steps: Steps,
    shared: FlawedStore,
}

impl SteppingStore {
    fn new(steps: Steps) -> Self {
        Self { steps, shared: FlawedStore::new(None) }
    }
}

#[async_trait]
impl DynHarness for SteppingStore {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        let (steps, shared) = (self.steps, self.shared.clone());
        let inner = DynHarness::store(&shared);
        Arc::new(Layered(Stepping { steps, shared, inner, busy: AtomicBool::new(false) }))
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Some(DynHarness::store(self))
    }

    async fn advance(&self, by: std::time::Duration) {
        self.shared.advance(by).await;
    }

    async fn set_back(&self, by: std::time::Duration) -> bool {
        self.shared.set_back(by).await
    }
}

#[derive(Debug)]
struct Stepping {
    steps: Steps,
    shared: FlawedStore,
    inner: Arc<dyn CoordinationStore>,
    busy: AtomicBool,
}

impl Stepping {
    fn read(&self, address: &Address) -> Record {
        let rows = self.shared.rows();
        rows.entries.get(address).map_or_else(Record::absent, |(record, _)| record.clone())
    }

    fn apply(
        &self,
        address: &Address,
        record: &mut Record,
        op: &Op,
    ) -> Result<kernel::Transition<Reply>, StoreError> {
        let floor = self.shared.rows().floors.get(&address.namespace).copied().unwrap_or_default();
        let now = self.shared.clock.now();
        Ok(op.apply(record, Reading { kind: address.kind, now, floor })?)
    }

    fn write(&self, address: &Address, record: Option<Record>, event: Option<Event>) {
        let mut rows = self.shared.rows();
        let entry = rows.entries.entry(address.clone()).or_insert_with(|| (Record::absent(), Vec::new()));
        if let Some(record) = record {
            entry.0 = record;
        }
        entry.1.extend(event);
    }

    async fn in_steps(&self, address: &Address, op: &Op) -> Result<Stamped<Reply>, StoreError> {
        let mut record = self.read(address);
        if let Steps::ReadsAndWrites(_) = self.steps {
            tokio::task::yield_now().await;
        }
        let outcome = self.apply(address, &mut record, op)?;
        if !outcome.stamped.stamp.changed {
            return Ok(outcome.stamped);
        }
        let (mut record, mut event) = (Some(record), outcome.event);
        match self.steps {
            Steps::EventLast => {
                self.write(address, record.take(), None);
                tokio::task::yield_now().await;
            }
            Steps::EventFirst => {
                self.write(address, None, event.take());
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        self.write(address, record, event);
        Ok(outcome.stamped)
    }
}

#[async_trait]
impl Layer for Stepping {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        match self.steps {
            Steps::ReadsAndWrites(name) | Steps::UnderTwoLocks(name) if name != op.name() => {
                op.send(&*self.inner, address).await
            }
            Steps::BusyMark => {
                while self.busy.swap(true, Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                tokio::task::yield_now().await;
                let reply = op.send(&*self.inner, address).await;
                self.busy.store(false, Ordering::SeqCst);
                reply
            }
            Steps::PurgeFindsFirst | Steps::PurgeRaisesLast | Steps::PurgeAppendsEventLast => {
                op.send(&*self.inner, address).await
            }
            _ => self.in_steps(address, &op).await,
        }
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let (before, events_before) = {
            let rows = self.shared.rows();
            (rows.floors.clone(), rows.entries.clone())
        };
        match self.steps {
            Steps::PurgeFindsFirst => {
                let going: Vec<_> = events_before
                    .into_iter()
                    .filter(|(address, _)| address.namespace == purge.namespace)
                    .filter_map(|(address, (record, _))| {
                        Some((address, kernel::purge(&record, self.shared.clock.now())?))
                    })
                    .take(purge.limit as usize)
                    .collect();
                tokio::task::yield_now().await;
                if purge.dry_run {
                    return Ok(Purged { records: going.len() as u64, more: false });
                }
                let mut rows = self.shared.rows();
                for (address, (token, event)) in &going {
                    let floor = rows.floors.entry(address.namespace.clone()).or_default();
                    *floor = (*floor).max(*token);
                    rows.entries.insert(address.clone(), (Record::absent(), vec![event.clone()]));
                }
                Ok(Purged { records: going.len() as u64, more: false })
            }
            Steps::PurgeRaisesLast => {
                let purged = self.inner.purge(purge).await;
                let raised = std::mem::replace(&mut self.shared.rows().floors, before);
                tokio::task::yield_now().await;
                self.shared.rows().floors = raised;
                purged
            }
            Steps::PurgeAppendsEventLast => {
                let purged = self.inner.purge(purge).await;
                let events: Vec<_> = {
                    let mut rows = self.shared.rows();
                    let absent = rows.entries.iter_mut().filter(|(_, (record, _))| record.is_absent());
                    absent.map(|(address, (_, events))| (address.clone(), std::mem::take(events))).collect()
                };
                tokio::task::yield_now().await;
                for (address, events) in events {
                    events.into_iter().for_each(|event| self.write(&address, None, Some(event)));
                }
                purged
            }
            _ => self.inner.purge(purge).await,
        }
    }
}

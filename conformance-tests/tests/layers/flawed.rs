//! Stores with one flaw each, to prove that the layers would notice.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::{Harness, Layer, Layered, faulty_histories, histories, linearizable, sequences};
use sentinel_core::kernel::{self, Op, Reading, Reply};
use sentinel_core::operation::{Release, Stamped};
use sentinel_core::store::{Inspection, Purge, Purged};
use sentinel_core::{
    Address, Clock as _, CoordinationStore, Event, ManualClock, Record, StoreError, StoreTime, Token,
};
use sentinel_memory::MemoryStore;

use crate::memory::Memory;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StorageFault {
    /// None: the control.
    None,
    /// Reads, lets other requests run, and writes.
    NotAtomic,
    /// Replies to some requests from the record before the last change, stamped as of then.
    StaleReads,
    /// Replies in the same way, and stamps the replies as of now.
    StaleReadsFreshStamps,
    /// Inverts `changed` in the reply to the fourth request of each record.
    WrongChanges,
    /// Stamps a rev that is one too high.
    WrongRevs,
    /// Every fifth event is not appended.
    ForgetsEvents,
    /// Finds what may be purged, lets other requests run, and deletes it.
    PurgesLate,
    /// A claim that is sent again is taken for a new one.
    ForgetsClaimIds,
}

trait Flawed: Send + Sync + 'static {
    const FLAW: StorageFault;
}

macro_rules! flawed {
    ($($name:ident)*) => {$(
        struct $name;
        impl Flawed for $name {
            const FLAW: StorageFault = StorageFault::$name;
        }
    )*};
}

flawed! {
    None NotAtomic StaleReads StaleReadsFreshStamps WrongChanges WrongRevs ForgetsEvents PurgesLate ForgetsClaimIds
}

#[derive(Debug)]
struct Flawy {
    flaw: StorageFault,
    clock: Arc<ManualClock>,
    inner: Arc<dyn CoordinationStore>,
    kept: Mutex<HashMap<Address, Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    record: Record,
    before: Record,
    events: Vec<Event>,
    requests: u32,
}

impl Default for Kept {
    fn default() -> Self {
        Self { record: Record::absent(), before: Record::absent(), events: Vec::new(), requests: 0 }
    }
}

impl Flawy {
    fn kept(&self, address: &Address) -> Kept {
        self.kept.lock().unwrap().get(address).cloned().unwrap_or_default()
    }

    fn apply(&self, kept: &mut Kept, op: &Op, at: Reading) -> Result<Stamped<Reply>, StoreError> {
        kept.requests += 1;
        if self.flaw == StorageFault::ForgetsClaimIds {
            kept.record.past_claims = Default::default();
        }
        if matches!(self.flaw, StorageFault::StaleReads | StorageFault::StaleReadsFreshStamps)
            && kept.requests.is_multiple_of(3)
        {
            let stale = op.apply(&mut kept.before.clone(), at)?.stamped;
            if !stale.stamp.changed {
                let mut stamp = stale.stamp;
                if self.flaw == StorageFault::StaleReadsFreshStamps {
                    stamp.rev = kept.record.rev;
                    stamp.now = stamp.now.max(kept.record.last_now);
                }
                return Ok(Stamped { stamp, ..stale });
            }
        }
        let before = kept.record.clone();
        let outcome = op.apply(&mut kept.record, at)?;
        let mut stamped = outcome.stamped;
        if stamped.stamp.changed {
            kept.before = before;
        }
        if self.flaw != StorageFault::ForgetsEvents || !kept.requests.is_multiple_of(5) {
            kept.events.extend(outcome.event);
        }
        if kept.requests == 4 {
            stamped.stamp.changed ^= self.flaw == StorageFault::WrongChanges;
            stamped.stamp.rev += u64::from(self.flaw == StorageFault::WrongRevs);
        }
        Ok(stamped)
    }
}

#[async_trait]
impl Layer for Flawy {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.admit(address.kind)?;
        let reading = || Reading { kind: address.kind, now: self.clock.now(), floor: Token::NONE };
        if self.flaw == StorageFault::NotAtomic {
            let mut kept = self.kept(address);
            tokio::task::yield_now().await;
            let reply = self.apply(&mut kept, &op, reading())?;
            self.kept.lock().unwrap().insert(address.clone(), kept);
            return Ok(reply);
        }
        let mut all = self.kept.lock().unwrap();
        let kept = all.entry(address.clone()).or_default();
        self.apply(kept, &op, reading())
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let rested = |kept: &Kept| kernel::purge(&kept.record, self.clock.now()).map(|(_, event)| event);
        let mut found: Vec<_> = {
            let all = self.kept.lock().unwrap();
            let here = all.iter().filter(|(address, _)| address.namespace == purge.namespace);
            here.filter_map(|(address, kept)| Some((address.clone(), rested(kept)?))).collect()
        };
        if self.flaw == StorageFault::PurgesLate {
            tokio::task::yield_now().await;
        }
        let mut all = self.kept.lock().unwrap();
        found.retain(|(address, _)| self.flaw == StorageFault::PurgesLate || rested(&all[address]).is_some());
        for (address, event) in &found {
            all.insert(address.clone(), Kept { events: vec![event.clone()], ..Kept::default() });
        }
        Ok(Purged { records: found.len() as u64, more: false })
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let record = self.kept(address).record;
        let now = self.clock.now().max(record.last_now);
        Ok(Inspection { record: (!record.is_absent()).then_some(record), now })
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let events = self.kept(address).events;
        Ok(events[events.len().saturating_sub(limit as usize)..].to_vec())
    }
}

struct DynHarness<F> {
    clock: Arc<ManualClock>,
    store: Arc<Layered<Flawy>>,
    flaw: PhantomData<F>,
}

#[async_trait]
impl<F: Flawed> Harness for DynHarness<F> {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
        let inner = Arc::new(MemoryStore::with_clock(clock.clone()));
        let flawy = Flawy { flaw: F::FLAW, clock: clock.clone(), inner, kept: Mutex::default() };
        Self { clock, store: Arc::new(Layered(flawy)), flaw: PhantomData }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.store.clone()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// The message with which a layer rejected a store. Panics if it did not.
fn rejected(layer: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let verdict = catch_unwind(layer).expect_err("the layer let a flawed store pass");
    *verdict.downcast::<String>().expect("a layer explains itself")
}

fn by_stamps<F: Flawed>() {
    let finding = rejected(|| histories::<DynHarness<F>>(300));
    assert!(finding.contains("checked by its stamps"), "{finding}");
}

fn by_search<F: Flawed>() {
    let finding = rejected(|| linearizable::<DynHarness<F>>(300));
    assert!(finding.contains("no order of these requests explains"), "{finding}");
}

#[test]
fn a_store_without_a_flaw_passes() {
    histories::<DynHarness<None>>(500);
    faulty_histories::<DynHarness<None>>(100);
    linearizable::<DynHarness<None>>(100);
}

#[test]
fn a_store_that_is_not_atomic_is_rejected_by_both_checkers() {
    by_stamps::<NotAtomic>();
    by_search::<NotAtomic>();
}

#[test]
fn a_store_that_reads_stale_records_is_rejected_by_both_checkers() {
    by_stamps::<StaleReads>();
    by_search::<StaleReads>();
    by_stamps::<StaleReadsFreshStamps>();
    by_search::<StaleReadsFreshStamps>();
}

#[test]
fn a_store_with_wrong_stamps_is_rejected_by_the_checker_that_reads_them() {
    by_stamps::<WrongChanges>();
    by_stamps::<WrongRevs>();
    linearizable::<DynHarness<WrongChanges>>(100);
}

#[test]
fn a_store_that_forgets_events_is_rejected() {
    by_stamps::<ForgetsEvents>();
}

#[test]
fn a_store_whose_purge_is_not_atomic_is_rejected() {
    rejected(|| histories::<DynHarness<PurgesLate>>(3_000));
}

#[test]
fn a_store_that_forgets_claim_ids_is_rejected_behind_a_faulty_network() {
    rejected(|| faulty_histories::<DynHarness<ForgetsClaimIds>>(500));
}

/// Treats every release as vouched: a side effect that may have happened is forgotten.
#[derive(Debug)]
struct VouchesForAll(Arc<dyn CoordinationStore>);

#[async_trait]
impl Layer for VouchesForAll {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let op = match op {
            Op::Release(release) => Op::Release(Release { vouched: true, ..release }),
            op => op,
        };
        op.send(&*self.0, address).await
    }
}

struct Vouching(Memory);

#[async_trait]
impl Harness for Vouching {
    async fn open() -> Self {
        Self(Memory::open().await)
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(Layered(VouchesForAll(self.0.store())))
    }

    async fn advance(&self, by: Duration) {
        self.0.advance(by).await;
    }
}

#[test]
fn a_sequence_shrinks_to_the_steps_that_matter() {
    let changes = rejected(|| sequences::<Vouching>(2_000));
    let numbered = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let steps: Vec<_> = changes.lines().filter(numbered).collect();
    assert_eq!(steps.len(), 2, "{changes}");
    assert!(steps[0].contains("claim by") && steps[0].contains("Executing"), "{changes}");
    assert!(steps[1].contains("release with the current grant"), "{changes}");
    println!("{changes}");
}

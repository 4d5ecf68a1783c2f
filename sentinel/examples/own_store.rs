//! A store of your own: the kernel under one lock, checked by the conformance suite.
//!
//! `cargo run -p sentinel-coordination --example own_store` runs it.
//! `cargo test -p sentinel-coordination --example own_store` runs the suite.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel::Namespace;
use sentinel::kernel::{self, Operation, Reading};
use sentinel::prelude::*;
use sentinel::record::{Address, Event, EventLimit, PURGE_REST, Record};
use sentinel::store::operation::*;
use sentinel::store::{
    Clock, Description, Health, Inspection, List, Listing, Notice, Purge, Purged, StoreError, SystemClock,
};

#[derive(Debug)]
struct OwnStore {
    clock: Arc<dyn Clock>,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    records: BTreeMap<Address, Record>,
    events: BTreeMap<Address, Vec<Event>>,
    floors: BTreeMap<Namespace, Token>,
}

impl OwnStore {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, rooms: Mutex::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A whole transition: take the lock, read the clock once, apply the kernel, write record and event together.
    fn apply<O: Operation>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        let mut rooms = self.rooms();
        let floor = rooms.floors.get(&address.namespace).copied().unwrap_or_default();
        let at = Reading { kind: address.kind, now: self.clock.now(), floor };
        let mut record = rooms.records.get(address).cloned().unwrap_or(Record::absent());
        let outcome = kernel::apply(&mut record, op, at)?;
        if outcome.stamped.stamp.changed {
            rooms.records.insert(address.clone(), record);
            let events = rooms.events.entry(address.clone()).or_default();
            events.extend(outcome.event);
            kernel::trim(events, EventLimit::default());
        }
        Ok(outcome.stamped)
    }
}

macro_rules! transitions {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl CoordinationStore for OwnStore {
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                self.apply(address, op)
            })*

            fn describe(&self) -> Description {
                Description { backend: "own", in_process: true }
            }

            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                beats.iter().map(|beat| self.apply(&beat.address, &Heartbeat { grant: beat.grant })).collect()
            }

            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                Ok(self.rooms().purge(purge, self.clock.now()))
            }

            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                let record = self.rooms().records.get(address).cloned();
                let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
                Ok(Inspection { record, now: self.clock.now().max(last) })
            }

            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                let (rooms, now) = (self.rooms(), self.clock.now());
                let wanted = rooms.records.iter().filter(|(address, record)| {
                    address.namespace == list.namespace
                        && address.kind == list.kind
                        && list.after.as_ref().is_none_or(|after| address.key > *after)
                        && list.wants(record, now.max(record.last_now))
                });
                let page = wanted.take(list.limit.clamp(1, List::MAX) as usize).map(|(address, record)| {
                    let mut record = record.clone();
                    if let Some(result) = &mut record.result {
                        result.payload.bytes = Default::default();
                    }
                    (address.key.clone(), record)
                });
                Ok(Listing { records: page.collect(), now })
            }

            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                let rooms = self.rooms();
                let events = rooms.events.get(address).map(Vec::as_slice).unwrap_or_default();
                Ok(events[events.len().saturating_sub(limit as usize)..].to_vec())
            }

            async fn changed(&self, _: &Address, within: Duration) -> Notice {
                tokio::time::sleep(within).await;
                Notice::Polling
            }

            async fn health(&self) -> Result<Health, StoreError> {
                let guarantees = vec!["within this process".to_owned()];
                Ok(Health { deployment: "own".into(), checks: vec![], guarantees, accepted: true })
            }
        }
    };
}

transitions! {
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

impl Rooms {
    fn purge(&mut self, purge: &Purge, now: sentinel::store::StoreTime) -> Purged {
        let here = |address: &Address| address.namespace == purge.namespace;
        let due: Vec<_> = self
            .records
            .iter()
            .filter(|(address, _)| here(address))
            .filter_map(|(address, record)| Some((address.clone(), kernel::purge(record, now)?)))
            .collect();
        let limit = purge.limit as usize;
        let purged = Purged { records: due.len().min(limit) as u64, more: due.len() > limit };
        if !purge.dry_run {
            // A purge event older than the rest period is deleted too.
            let records = &self.records;
            self.events.retain(|address, events| {
                let last = events.last().map(|event| event.at).unwrap_or_default();
                !here(address) || records.contains_key(address) || now.since(last) <= PURGE_REST
            });
            for (address, (token, event)) in due.into_iter().take(limit) {
                let floor = self.floors.entry(address.namespace.clone()).or_default();
                *floor = token.max(*floor);
                self.records.remove(&address);
                self.events.insert(address, vec![event]);
            }
        }
        purged
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(OwnStore::new(Arc::new(SystemClock)));
    for _ in 0..2 {
        let outcome =
            sentinel.once("k").run(|_| async { Ok::<_, std::io::Error>("done".to_owned()) }).await?;
        println!("{outcome}");
    }
    Ok(())
}

/// The few lines that connect a store to the suite; every law becomes a test.
#[cfg(test)]
mod conformance {
    use sentinel::store::{ManualClock, StoreTime};
    use sentinel_conformance::Harness;

    use super::*;

    struct Own(Arc<OwnStore>, Arc<ManualClock>);

    #[async_trait]
    impl Harness for Own {
        async fn open() -> Self {
            let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
            Self(Arc::new(OwnStore::new(clock.clone())), clock)
        }
        fn store(&self) -> Arc<dyn CoordinationStore> {
            self.0.clone()
        }
        async fn advance(&self, by: Duration) {
            self.1.advance(by);
        }
    }

    sentinel_conformance::suite!(Own);
}

//! How a flawed store purges, and the flaws of purges.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{self, Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{
    Address, CoordinationStore, Event, Kind, Layer, Layered, PURGE_REST, Record, State, StoreError,
    StoreTime, Token,
};

use super::mutation::{Mutation, StorageFault};
use super::store::{FlawedStore, Rows};

/// A record that is deleted, the floor that it leaves, and its last event.
type Going = (Address, (Token, Event));

impl FlawedStore {
    /// Purges a namespace; what is wrong with it is the store's flaw.
    pub(super) async fn purge_rows(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let (purged, floors) = self.delete(purge);
        if self.is(StorageFault::FloorIsRaisedLater) && !floors.is_empty() {
            tokio::task::yield_now().await;
        }
        let mut rows = self.rows();
        for (address, token) in floors {
            let floor = rows.floors.entry(address.namespace).or_default();
            *floor = if self.is(StorageFault::FloorIsTheLast) { token } else { token.max(*floor) };
        }
        Ok(purged)
    }

    /// Deletes records; returns the floors that must rise.
    fn delete(&self, purge: &Purge) -> (Purged, Vec<(Address, Token)>) {
        let (mut rows, now) = (self.rows(), self.clock.now());
        let ours =
            |a: &Address| a.namespace == purge.namespace || self.is(StorageFault::PurgeTakesAllNamespaces);
        let going = self.going(&rows, now, ours, purge.limit as usize);
        let limit =
            if self.is(StorageFault::PurgeIgnoresItsLimit) { usize::MAX } else { purge.limit as usize };
        let more = going.len() > limit && !self.is(StorageFault::PurgeNeverReportsMore)
            || self.is(StorageFault::PurgeAlwaysReportsMore);
        let purged = Purged { records: going.len().min(limit) as u64, more };
        if purge.dry_run && self.is(StorageFault::DryRunsForgetEvents) {
            self.forget_events(&mut rows, now, ours);
        }
        if purge.dry_run && !self.is(StorageFault::DryRunsDelete) {
            if self.is(StorageFault::PurgeTakesWhatADryRunFound) {
                rows.found.extend(going.into_iter().map(|(address, _)| address));
            }
            return (purged, Vec::new());
        }
        self.forget_events(&mut rows, now, ours);
        if self.is(StorageFault::OneNamespaceHasAFloor) {
            rows.floors.retain(|namespace, _| *namespace == purge.namespace);
        }
        if self.is(StorageFault::FloorIsForgottenByAnEmptyPurge) && going.is_empty() {
            rows.floors.remove(&purge.namespace);
        }
        let mut floors = Vec::new();
        for (address, (token, event)) in going.into_iter().take(limit) {
            let is_left_out = self.is(StorageFault::LeasesLeaveNoFloor) && address.kind == Kind::Lease;
            if !self.is(StorageFault::FloorIsForgotten) && !is_left_out {
                floors.push((address.clone(), token));
            }
            let (record, events) = rows.entries.get_mut(&address).expect("it was just there");
            let decision = record.decision.take().filter(|_| self.is(StorageFault::DecisionsOutliveAPurge));
            *record = Record { decision, ..Record::absent() };
            if !self.is(StorageFault::PurgeKeepsEvents) {
                events.clear();
            }
            if !self.is(StorageFault::PurgeLeavesNoEvent) {
                events.push(event);
            }
            if !self.is(StorageFault::CausesOutliveAPurge) {
                rows.caused.remove(&address);
            }
        }
        if !self.is(StorageFault::FloorIsRaisedLater) && !self.is(StorageFault::FloorIsTheLast) {
            // Under the same lock as the deletion.
            for (address, token) in floors.drain(..) {
                let floor = rows.floors.entry(address.namespace).or_default();
                *floor = token.max(*floor);
            }
        }
        (purged, floors)
    }

    fn going(
        &self,
        rows: &Rows,
        now: StoreTime,
        ours: impl Fn(&Address) -> bool,
        limit: usize,
    ) -> Vec<Going> {
        let scanned = if self.is(StorageFault::PurgeCountsWhatStays) { limit } else { usize::MAX };
        let entries =
            || rows.entries.iter().filter(|(address, (record, _))| ours(address) && !record.is_absent());
        let purgeable = |(address, (record, _)): (&Address, &(Record, Vec<Event>))| {
            if self.is(StorageFault::PurgeSkipsLongKeys) && address.key.as_str().len() > 255 {
                return None;
            }
            Some((address.clone(), self.purgeable(record, now)?))
        };
        let mut going: Vec<_> = entries().take(scanned).filter_map(purgeable).collect();
        let as_if_free = |address: &Address| {
            let (record, _) = rows.entries.get(address).filter(|(record, _)| !record.is_absent())?;
            let free = Record {
                state: State::Free,
                last_now: StoreTime::ZERO,
                after_reset: false,
                ..record.clone()
            };
            Some((address.clone(), kernel::purge(&free, now)?))
        };
        let mut others: Vec<Address> = Vec::new();
        if self.is(StorageFault::PurgeTakesBothKinds) {
            let other = |kind| if kind == Kind::Lease { Kind::Execution } else { Kind::Lease };
            others.extend(going.iter().map(|(at, _)| Address { kind: other(at.kind), ..at.clone() }));
        }
        if self.is(StorageFault::PurgeTakesWhatADryRunFound) {
            others.extend(rows.found.iter().cloned());
        }
        others.retain(|address| going.iter().all(|(at, _)| at != address));
        going.extend(others.iter().filter_map(as_if_free));
        going
    }

    /// Deletes purge events that are more than an hour old.
    fn forget_events(&self, rows: &mut Rows, now: StoreTime, ours: impl Fn(&Address) -> bool) {
        for (address, (record, events)) in &mut rows.entries {
            let rested = |event: &Event| now.since(event.at) > PURGE_REST;
            if !ours(address) && !self.is(StorageFault::PurgeForgetsAllNamespaces) {
                continue;
            }
            if record.is_absent() && events.last().is_some_and(rested) {
                events.clear();
            }
            if self.is(StorageFault::EventsAreForgottenByAge) {
                events.retain(|event| !rested(event));
            }
        }
    }

    /// The floor and the event of a record that may be deleted, or that this store deletes.
    fn purgeable(&self, record: &Record, now: StoreTime) -> Option<(Token, Event)> {
        let mut shown = record.clone();
        match self.mutation.flaw {
            Some(StorageFault::PurgeIsHasty) => shown.last_now = StoreTime::ZERO,
            Some(StorageFault::PurgeIgnoresRetention) if record.retention.is_some() => {
                shown.retention = Some(Duration::ZERO)
            }
            Some(StorageFault::PurgeTakesExecutions) if record.state == State::Executing => {
                shown.state = State::Free
            }
            Some(StorageFault::PurgeDeletesUncertain) if record.state == State::Reconciling => {
                shown.state = State::Free
            }
            Some(StorageFault::PurgeTakesClaims) if record.state == State::Claimed => {
                shown.state = State::Free
            }
            Some(StorageFault::PurgeTakesResets) => shown.after_reset = false,
            Some(StorageFault::PurgeKeepsWhatHasNoRetention) if record.retention == Some(Duration::ZERO) => {
                return None;
            }
            _ => {}
        }
        kernel::purge(&shown, now)
    }
}

/// A purge that stops after some records and does not report that there are more.
#[derive(Debug)]
struct Stops(Arc<dyn CoordinationStore>, u32);

#[async_trait]
impl Layer for Stops {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.0, address).await
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let purged = self.0.purge(&Purge { limit: purge.limit.min(self.1), ..purge.clone() }).await?;
        Ok(Purged { more: purged.more && purge.limit < self.1, ..purged })
    }
}

pub(super) fn all() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, purge");
    let flaw = |name, flaw| s(name).flaw(flaw);
    vec![
        s("stops a purge after 1,000 records in silence")
            .layer(|store| Arc::new(Layered(Stops(store, 1_000)))),
        s("stops a purge after 100 records in silence").layer(|store| Arc::new(Layered(Stops(store, 100)))),
        flaw("purges both kinds of a key", StorageFault::PurgeTakesBothKinds),
        flaw("purges what a dry run found and has returned", StorageFault::PurgeTakesWhatADryRunFound),
        flaw("keeps the token that was purged last for a floor", StorageFault::FloorIsTheLast),
        flaw("raises the floor after the deletion", StorageFault::FloorIsRaisedLater),
        flaw("never reports that there is more to purge", StorageFault::PurgeNeverReportsMore),
        flaw("keeps no floor of leases", StorageFault::LeasesLeaveNoFloor),
        flaw("keeps the floor of one namespace", StorageFault::OneNamespaceHasAFloor),
        flaw("forgets the floor when nothing is purged", StorageFault::FloorIsForgottenByAnEmptyPurge),
        flaw("keeps decisions through a purge", StorageFault::DecisionsOutliveAPurge),
        flaw("always reports that there is more to purge", StorageFault::PurgeAlwaysReportsMore),
        flaw("counts what stays against the limit of a purge", StorageFault::PurgeCountsWhatStays),
        flaw("never purges long keys", StorageFault::PurgeSkipsLongKeys),
        flaw("forgets purge events in a dry run", StorageFault::DryRunsForgetEvents),
        flaw("forgets the purge events of all namespaces", StorageFault::PurgeForgetsAllNamespaces),
        flaw("purges events by their age", StorageFault::EventsAreForgottenByAge),
        flaw("never purges what is kept for no time", StorageFault::PurgeKeepsWhatHasNoRetention),
    ]
}

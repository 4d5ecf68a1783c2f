//! The kernel in memory behind several handles, each of which may keep something for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Listing, Purge, Purged};
use sentinel_core::{
    Address, CoordinationStore, Decision, Event, Fingerprint, Layer, Layered, Namespace, PastClaims, Record,
    State, StoreError, StoreTime, Token,
};

use super::mutation::{Mutation, StorageFault};
use super::store::{FlawedStore, Rows};
use crate::coordination::harness::DynHarness;

/// What a handle keeps for itself, or what is lost when the store is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandleFault {
    OwnRecords,
    OwnLock,
    LateWrites,
    StaleReads,
    StaleHistories,
    StalePages,
    TrustedRecords,
    TrustedAbsence,
    ClockAhead,
    ClockBehind,
    ClockStopped,
    OwnTokens,
    OwnClaimIds,
    OwnOpIds,
    OwnReplays,
    OwnFloors,
    FirstFloors,
    OwnRetention,
    OwnFingerprints,
    OwnLastReading,
    OwnHeartbeats,
    ReopenLosesTheLast,
    ReopenLosesEvents,
    ReopenLosesHeartbeats,
    ReopenLosesClaimIds,
    ReopenLosesDecisions,
    ReopenLosesFloors,
    ReopenLosesReadings,
    ReopenLosesResults,
    ReopenLosesCauses,
    ReopenFreesExecutions,
    ReopenFreesClaims,
    ReopenEndsLeases,
    ReopenRevivesAbandoned,
    ReopenCountsAnew,
    ReopenEmpties,
}

use HandleFault as Fault;

/// A store with several handles.
#[derive(Debug)]
pub(super) struct HandledStore {
    fault: HandleFault,
    shared: FlawedStore,
    opened: Mutex<u32>,
}

impl HandledStore {
    /// An empty store with a fault.
    pub(super) fn new(fault: HandleFault) -> Self {
        let mutation =
            (fault == Fault::OwnLock).then(|| Mutation::new("handled", "none").flaw(StorageFault::NotAtomic));
        Self { fault, shared: FlawedStore::new(mutation), opened: Mutex::new(0) }
    }

    fn handle(&self) -> Arc<dyn CoordinationStore> {
        let mut opened = lock(&self.opened);
        *opened += 1;
        let shared = match self.fault {
            Fault::OwnRecords => self.shared.emptied(),
            _ => self.shared.clone(),
        };
        let opened_at = shared.clock.now();
        let own = Own { tokens: opened_at.as_micros(), ..Own::default() };
        let inner: Arc<dyn CoordinationStore> = Arc::new(shared.clone());
        Arc::new(Layered(HandleOf {
            fault: self.fault,
            is_even: opened.is_multiple_of(2),
            opened_at,
            shared,
            inner,
            one_at_a_time: tokio::sync::Mutex::default(),
            own: Mutex::new(own),
        }))
    }
}

#[async_trait]
impl DynHarness for HandledStore {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.handle()
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Some(self.handle())
    }

    async fn reopen(&self) -> bool {
        reopened(self.fault, &mut self.shared.rows());
        true
    }

    async fn advance(&self, by: Duration) {
        self.shared.advance(by).await;
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.shared.set_back(by).await
    }
}

/// What is lost when the store is opened again.
fn reopened(fault: HandleFault, rows: &mut Rows) {
    match fault {
        Fault::ReopenLosesFloors => rows.floors.clear(),
        Fault::ReopenEmpties => *rows = Rows::default(),
        Fault::ReopenLosesTheLast => {
            let last = rows.entries.iter().max_by_key(|(_, (record, _))| (record.last_now, record.token));
            if let Some(address) = last.map(|(address, _)| address.clone()) {
                rows.entries.remove(&address);
            }
        }
        _ => rows.entries.values_mut().for_each(|(record, events)| corrupt(fault, record, events)),
    }
}

fn corrupt(fault: HandleFault, record: &mut Record, events: &mut Vec<Event>) {
    let held = matches!(record.state, State::Claimed | State::Executing);
    match fault {
        Fault::ReopenLosesEvents => events.truncate(1),
        Fault::ReopenLosesHeartbeats if held => {
            let ttl = record.terms.map(|terms| terms.ttl()).unwrap_or_default();
            record.lease_until = record.lease_until.min(record.claimed_at.unwrap_or_default().plus(ttl));
        }
        Fault::ReopenLosesClaimIds => record.past_claims = PastClaims::default(),
        Fault::ReopenLosesDecisions if record.state != State::Reconciling => record.decision = None,
        Fault::ReopenLosesReadings => record.last_now = StoreTime::ZERO,
        Fault::ReopenLosesResults => {
            if let Some(result) = &mut record.result {
                result.payload.bytes = Default::default();
            }
        }
        Fault::ReopenLosesCauses => record.doubt = None,
        Fault::ReopenFreesExecutions if record.state == State::Executing => record.state = State::Free,
        Fault::ReopenFreesClaims if record.state == State::Claimed => record.state = State::Free,
        Fault::ReopenEndsLeases if held => record.lease_until = record.last_now,
        Fault::ReopenRevivesAbandoned if record.state == State::Reconciling => {
            record.state = State::Executing
        }
        Fault::ReopenCountsAnew => record.token = Token::from_stored(1),
        _ => {}
    }
}

/// What a handle keeps for itself.
#[derive(Debug, Default)]
struct Own {
    tokens: u64,
    late: Vec<(Address, Op, StoreTime)>,
    records: HashMap<Address, Record>,
    histories: HashMap<Address, Vec<Event>>,
    pages: Option<(List, Listing)>,
    past_claims: HashMap<Address, PastClaims>,
    decisions: HashMap<Address, Option<Decision>>,
    replays: HashMap<Address, Stamped<ClaimReply>>,
    floors: HashMap<Namespace, Token>,
    retentions: HashMap<Address, Option<Duration>>,
    fingerprints: HashMap<Address, Option<Fingerprint>>,
    readings: HashMap<Address, StoreTime>,
    leases: HashMap<Address, (Token, StoreTime)>,
}

#[derive(Debug)]
struct HandleOf {
    fault: HandleFault,
    is_even: bool,
    opened_at: StoreTime,
    shared: FlawedStore,
    inner: Arc<dyn CoordinationStore>,
    one_at_a_time: tokio::sync::Mutex<()>,
    own: Mutex<Own>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HandleOf {
    fn is(&self, fault: HandleFault) -> bool {
        self.fault == fault
    }

    fn now(&self) -> StoreTime {
        const SKEW: Duration = Duration::from_secs(1);
        let now = self.shared.clock.now();
        match self.fault {
            Fault::ClockAhead if self.is_even => now.plus(SKEW),
            Fault::ClockBehind if self.is_even => {
                StoreTime::from_micros(now.as_micros() - SKEW.as_micros() as u64)
            }
            Fault::ClockStopped => self.opened_at,
            _ => now,
        }
    }

    /// The record that this handle decides by.
    fn shown(&self, rows: &Rows, own: &Own, address: &Address) -> Record {
        let kept = rows.entries.get(address).map(|(record, _)| record.clone());
        let mut record = match (self.fault, own.records.get(address)) {
            (Fault::TrustedRecords, Some(seen)) => seen.clone(),
            (Fault::TrustedAbsence, None) => Record::absent(),
            _ => kept.unwrap_or_else(Record::absent),
        };
        let own_or = |map: &HashMap<Address, PastClaims>| map.get(address).copied().unwrap_or_default();
        match self.fault {
            Fault::OwnClaimIds => record.past_claims = own_or(&own.past_claims),
            Fault::OwnOpIds if record.state != State::Reconciling => {
                record.decision = own.decisions.get(address).cloned().flatten();
            }
            Fault::OwnRetention => record.retention = own.retentions.get(address).copied().flatten(),
            Fault::OwnFingerprints => {
                record.fingerprint = own.fingerprints.get(address).cloned().flatten();
            }
            Fault::OwnLastReading => {
                record.last_now = own.readings.get(address).copied().unwrap_or_default();
            }
            Fault::OwnHeartbeats => match own.leases.get(address) {
                Some((token, until)) if *token == record.token => record.lease_until = *until,
                _ => {}
            },
            _ => {}
        }
        record
    }

    /// What this handle keeps of a record that it wrote.
    fn keep(&self, own: &mut Own, address: &Address, op: &Op, before: &Record, record: &mut Record) {
        let address = address.clone();
        own.past_claims.insert(address.clone(), record.past_claims);
        own.decisions.insert(address.clone(), record.decision.clone());
        own.retentions.insert(address.clone(), record.retention);
        own.fingerprints.insert(address.clone(), record.fingerprint.clone());
        own.readings.insert(address.clone(), record.last_now);
        if self.is(Fault::OwnTokens) && record.token > before.token {
            own.tokens += 1;
            record.token = Token::from_stored(own.tokens);
        }
        if self.is(Fault::OwnHeartbeats) && matches!(op, Op::Heartbeat(_)) {
            own.leases.insert(address.clone(), (record.token, record.lease_until));
            record.lease_until = before.lease_until;
        }
        own.records.insert(address, record.clone());
    }

    fn transition(&self, address: &Address, op: &Op, now: StoreTime) -> Result<Stamped<Reply>, StoreError> {
        let (mut rows, mut own) = (self.shared.rows(), lock(&self.own));
        let shared = rows.floors.get(&address.namespace).copied().unwrap_or_default();
        let floor = match self.fault {
            Fault::OwnFloors => own.floors.get(&address.namespace).copied().unwrap_or_default(),
            Fault::FirstFloors => *own.floors.entry(address.namespace.clone()).or_insert(shared),
            _ => shared,
        };
        let before = self.shown(&rows, &own, address);
        let mut record = before.clone();
        let outcome = op.apply(&mut record, Reading { kind: address.kind, now, floor })?;
        let mut stamped = outcome.stamped;
        if !stamped.stamp.changed {
            return Ok(stamped);
        }
        self.keep(&mut own, address, op, &before, &mut record);
        stamped.stamp.token = record.token;
        if let Reply::Claim(ClaimReply::Granted(granted)) = &mut stamped.reply {
            granted.token = record.token;
        }
        let event = outcome.event.map(|event| Event { token: record.token, ..event });
        let entry = rows.entries.entry(address.clone()).or_insert_with(|| (Record::absent(), Vec::new()));
        entry.0 = record;
        entry.1.extend(event);
        Ok(stamped)
    }

    /// Carries out what was put off, and puts this request off. The reply is what it would be now.
    fn late(&self, address: &Address, op: &Op) -> Result<Stamped<Reply>, StoreError> {
        let late = std::mem::take(&mut lock(&self.own).late);
        for (address, op, now) in late {
            self.transition(&address, &op, now)?;
        }
        let mut record = self.shown(&self.shared.rows(), &lock(&self.own), address);
        let now = self.now();
        let at = Reading { kind: address.kind, now, floor: Token::NONE };
        let stamped = op.apply(&mut record, at)?.stamped;
        if stamped.stamp.changed {
            lock(&self.own).late.push((address.clone(), op.clone(), now));
        }
        Ok(stamped)
    }
}

#[async_trait]
impl Layer for HandleOf {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        if self.is(Fault::OwnLock) {
            let _guard = self.one_at_a_time.lock().await;
            return op.send(&*self.inner, address).await;
        }
        if self.is(Fault::OwnRecords) {
            return op.send(&*self.inner, address).await;
        }
        if self.is(Fault::LateWrites) {
            return self.late(address, &op);
        }
        if let (Fault::OwnReplays, Op::Claim(_), Some(replay)) =
            (self.fault, &op, lock(&self.own).replays.get(address))
        {
            return Ok(Stamped { reply: Reply::Claim(replay.reply.clone()), stamp: replay.stamp });
        }
        let stamped = self.transition(address, &op, self.now())?;
        if let Reply::Claim(reply @ ClaimReply::Completed { .. }) = &stamped.reply {
            let replay = Stamped { reply: reply.clone(), stamp: stamped.stamp };
            lock(&self.own).replays.insert(address.clone(), replay);
        }
        Ok(stamped)
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let before = self.shared.rows().floors.clone();
        let purged = self.inner.purge(purge).await?;
        if self.is(Fault::OwnFloors) {
            let floors = std::mem::replace(&mut self.shared.rows().floors, before);
            lock(&self.own).floors.extend(floors);
        }
        Ok(purged)
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let mut inspection = self.inner.inspect(address).await?;
        let mut own = lock(&self.own);
        match self.fault {
            Fault::StaleReads => {
                if let Some(record) = own.records.get(address) {
                    inspection.record = Some(record.clone());
                } else if let Some(record) = &inspection.record {
                    own.records.insert(address.clone(), record.clone());
                }
            }
            Fault::TrustedRecords => {
                if let Some(record) = &inspection.record {
                    own.records.entry(address.clone()).or_insert_with(|| record.clone());
                }
            }
            Fault::ClockAhead | Fault::ClockBehind | Fault::ClockStopped => {
                let last = inspection.record.as_ref().map(|record| record.last_now).unwrap_or_default();
                inspection.now = self.now().max(last);
            }
            _ => {}
        }
        Ok(inspection)
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        if let (Fault::StalePages, Some((asked, page))) = (self.fault, &lock(&self.own).pages)
            && asked == list
        {
            return Ok(page.clone());
        }
        let page = self.inner.list(list).await?;
        lock(&self.own).pages = Some((list.clone(), page.clone()));
        Ok(page)
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let events = self.inner.history(address, limit).await?;
        if self.is(Fault::StaleHistories) && !events.is_empty() {
            return Ok(lock(&self.own).histories.entry(address.clone()).or_insert(events).clone());
        }
        Ok(events)
    }
}

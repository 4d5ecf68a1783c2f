//! The model that a sequence is compared with: the kernel, run on records of its own at the store's readings.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel::{self, Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Purge};
use sentinel_core::{
    Address, Applied, CoordinationStore, Event, Grant, Key, Namespace, OpId, PURGE_REST, Record, StoreTime,
    Token,
};

use super::coverage::{Coverage, StartState, rule};
use super::step_result::StepResult;
use crate::coordination::generate::{
    self, Call, Deadline, ExpectedToken, KeyRef, Passing, Presented, Request, WORKERS,
};
use crate::diff::diff;

/// How far a store's clock may step back between two readings, as clocks of hosts do.
const STEP_BACK: Duration = Duration::from_secs(1);
/// How far it may run ahead of the requested time: enough for a stalled machine, not for a wrong unit.
const RUN_AHEAD: Duration = Duration::from_secs(3600);

/// What went wrong.
pub(super) type Mismatch = String;

pub(super) struct Model {
    store: Arc<dyn CoordinationStore>,
    namespace: Namespace,
    addresses: Vec<AddressModel>,
    floor: Token,
    /// The expected reading of the store's clock: the last reading and what was advanced since.
    now: StoreTime,
    /// How far the clock was set back: a reading of a record is lifted to its last one, a reading of another is not.
    set_back: Duration,
}

/// The model's state of one address.
pub(super) struct AddressModel {
    pub(super) address: Address,
    pub(super) record: Record,
    pub(super) events: Vec<Event>,
    /// A purge found the first event more than an hour old: the store may have deleted it.
    first_event_rested: bool,
    grants: [Vec<Grant>; WORKERS as usize],
    tokens: Vec<Token>,
    pub(super) requests: Vec<Op>,
}

impl Model {
    /// A model of a namespace that no other test uses. Takes the store's first reading.
    pub(super) async fn new(store: Arc<dyn CoordinationStore>) -> Result<Self, Mismatch> {
        let namespace = fresh_namespace("sequence");
        let addresses = KeyRef::ALL.map(|target| AddressModel::new(&namespace, target)).into();
        let mut model = Self {
            store,
            namespace,
            addresses,
            floor: Token::NONE,
            now: StoreTime::ZERO,
            set_back: Duration::ZERO,
        };
        model.now = model.inspect(0).await?.now;
        Ok(model)
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// How far to advance the clock, so that it is at the deadline; zero if that is past.
    pub(super) fn passing(&mut self, passing: Passing) -> Duration {
        let by = match passing {
            Passing::By(by) => by,
            Passing::To { target, deadline, micros } => {
                let target = self.addresses[target as usize].instant(deadline);
                let target = StoreTime::from_micros(target.as_micros().saturating_add_signed(micros));
                target.since(self.now)
            }
        };
        self.now = self.now.plus(by);
        by
    }

    /// The clock was set back.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.set_back += by;
    }

    /// Sends a request and compares the reply, the stamp, the record, the newest events.
    pub(super) async fn send(
        &mut self,
        target: KeyRef,
        request: &Request,
        coverage: &mut Coverage,
    ) -> Result<StepResult, Mismatch> {
        let at = target as usize;
        let entry = &mut self.addresses[at];
        let op = entry.resolve(request);
        entry.requests.push(op.clone());
        let sent = op.send(&*self.store, &entry.address).await;
        let stamped = match (sent, op.admit(target.kind())) {
            (Ok(stamped), Ok(())) => stamped,
            (Err(error), Err(_)) if error.applied() == Applied::No => {
                self.unchanged(at).await?;
                return Ok(StepResult::Invalid);
            }
            (Ok(stamped), Err(invalid)) => {
                return Err(format!("the request is invalid ({invalid}), and was answered: {stamped:?}"));
            }
            (Err(error), _) => return Err(format!("the store could not answer: {error}")),
        };
        self.check_reply(at, &op, &stamped, coverage)?;
        self.unchanged(at).await?;
        Ok(StepResult::Reply(stamped))
    }

    /// Applies a replyed request to the kernel, and compares.
    fn check_reply(
        &mut self,
        at: usize,
        op: &Op,
        stamped: &Stamped<Reply>,
        coverage: &mut Coverage,
    ) -> Result<(), Mismatch> {
        let now = stamped.stamp.now;
        self.plausible(now)?;
        let entry = &mut self.addresses[at];
        let start_state = StartState::of(&entry.record, now.max(entry.record.last_now));
        let reading = Reading { kind: entry.address.kind, now, floor: self.floor };
        let outcome = op.apply(&mut entry.record, reading).map_err(|invalid| invalid.to_string())?;
        if outcome.stamped != *stamped {
            return Err(format!("the reply differs{}", diff(&outcome.stamped, stamped)));
        }
        coverage.count(start_state, op.name(), rule(&stamped.reply, stamped.stamp.changed));
        if stamped.stamp.changed
            && self.floor > Token::NONE
            && entry.record.token.get() == self.floor.get() + 1
        {
            coverage.count(start_state, "token", "floor");
        }
        entry.events.extend(outcome.event);
        entry.learn(&stamped.reply);
        Ok(())
    }

    /// Sends heartbeats in one batch. The replies are in the order of the beats; beats on one record may have been
    /// applied in any order, which the stamps show.
    pub(super) async fn beats(
        &mut self,
        beats: &[(KeyRef, Presented)],
        coverage: &mut Coverage,
    ) -> Result<StepResult, Mismatch> {
        let beat = |(target, presented): &(KeyRef, Presented)| {
            let entry = &self.addresses[*target as usize];
            Beat { address: entry.address.clone(), grant: entry.grant(*presented) }
        };
        let sent: Vec<Beat> = beats.iter().map(beat).collect();
        let answered = self.store.heartbeat(&sent).await;
        let replies = answered.map_err(|error| format!("the store could not answer: {error}"))?;
        if replies.len() != sent.len() {
            return Err(format!("{} beats got {} replies: {replies:?}", sent.len(), replies.len()));
        }
        let mut order: Vec<usize> = (0..sent.len()).collect();
        order.sort_by_key(|n| (replies[*n].stamp.rev, !replies[*n].stamp.changed));
        for n in order {
            let op = Op::Heartbeat(Heartbeat { grant: sent[n].grant });
            self.check_reply(beats[n].0 as usize, &op, &replies[n].clone().map(Reply::Heartbeat), coverage)?;
        }
        for (target, _) in beats {
            self.unchanged(*target as usize).await?;
        }
        Ok(StepResult::Beats(replies))
    }

    /// Record and newest events of one address are the model's.
    async fn unchanged(&mut self, at: usize) -> Result<(), Mismatch> {
        let inspection = self.inspect(at).await?;
        self.plausible(inspection.now)?;
        let entry = &self.addresses[at];
        let expected = (!entry.record.is_absent()).then_some(&entry.record);
        if inspection.record.as_ref() != expected {
            let difference = diff(&expected, &inspection.record.as_ref());
            return Err(format!("the record of {} differs{difference}", entry.address));
        }
        if inspection.now < entry.record.last_now {
            return Err(format!("a reading of {} is before the record's last change", inspection.now));
        }
        self.events(at, 2).await
    }

    async fn events(&self, at: usize, limit: u32) -> Result<(), Mismatch> {
        let entry = &self.addresses[at];
        let got = self.store.history(&entry.address, limit).await;
        let got = got.map_err(|error| format!("history could not be read: {error}"))?;
        let newest = |events: &[Event]| events[events.len().saturating_sub(limit as usize)..].to_vec();
        let expected = newest(&entry.events);
        let rested = entry.first_event_rested && got == newest(&entry.events[1..]);
        if got == expected || rested {
            return Ok(());
        }
        Err(format!("the newest {limit} events differ{}", diff(&expected, &got)))
    }

    /// Purges, and finds by reading again what was deleted: only what may be, all of it where the limit allows, and
    /// whatever is left is untouched.
    pub(super) async fn purge(
        &mut self,
        limit: u32,
        dry_run: bool,
        coverage: &mut Coverage,
    ) -> Result<StepResult, Mismatch> {
        let before = self.readings().await?;
        let purge = Purge { namespace: self.namespace.clone(), limit, dry_run };
        let purged = self.store.purge(&purge).await.map_err(|error| format!("purge failed: {error}"))?;
        let (mut gone, mut left, mut undetermined) = (0, 0, 0);
        for (at, before) in before.into_iter().enumerate() {
            let after = self.inspect(at).await?;
            self.plausible(after.now)?;
            let entry = &mut self.addresses[at];
            let (must, may) = (entry.record.is_purgeable(before), entry.record.is_purgeable(after.now));
            match after.record {
                None if !entry.record.is_absent() && may && !dry_run => {
                    coverage.count(StartState::of(&entry.record, after.now), "purge", "change");
                    let newest =
                        self.store.history(&entry.address, 1).await.map_err(|error| error.to_string())?;
                    self.floor = self.floor.max(entry.purged(&newest, (before, after.now))?);
                    gone += 1;
                }
                None if !entry.record.is_absent() => {
                    return Err(format!("the purge deleted {:?}", entry.record));
                }
                _ if must => left += 1,
                _ if may => undetermined += 1,
                _ => {}
            }
            if dry_run {
                continue;
            }
            let first = entry.events.first().filter(|event| event.to.is_none());
            entry.first_event_rested |= first.is_some_and(|event| after.now.since(event.at) > PURGE_REST);
        }
        let counted = if dry_run { left } else { gone };
        let fits = (counted..=counted + undetermined).contains(&purged.records);
        let results = purged.more || left == 0 || (dry_run && left <= u64::from(limit));
        if !dry_run && (!fits || !results || (left > 0 && gone < u64::from(limit))) {
            return Err(format!("the purge deleted {gone}, left {left}, and reported {purged:?}"));
        }
        let most = (left + undetermined).min(u64::from(limit));
        if dry_run && (purged.records > most || purged.records < left.min(u64::from(limit)) || !results) {
            return Err(format!("{left} could be purged, and the dry run reported {purged:?}"));
        }
        for at in 0..self.addresses.len() {
            self.unchanged(at).await?;
        }
        Ok(StepResult::Purged(purged))
    }

    async fn readings(&mut self) -> Result<Vec<StoreTime>, Mismatch> {
        let mut readings = Vec::new();
        for at in 0..self.addresses.len() {
            readings.push(self.inspect(at).await?.now);
        }
        Ok(readings)
    }

    /// Reads a page and compares it.
    pub(super) async fn list(&mut self, list: &List) -> Result<StepResult, Mismatch> {
        let listing = self.store.list(list).await.map_err(|error| format!("list failed: {error}"))?;
        self.plausible(listing.now)?;
        let mut expected: Vec<(Key, Record)> = Vec::new();
        for entry in self.addresses.iter().filter(|entry| entry.address.kind == list.kind) {
            let wanted = list.wants(&entry.record, listing.now.max(entry.record.last_now));
            let after = list.after.as_ref().is_none_or(|after| entry.address.key > *after);
            if wanted && after && !entry.record.is_absent() {
                expected.push((entry.address.key.clone(), without_bytes(&entry.record)));
            }
        }
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        expected.truncate(list.limit as usize);
        if listing.records != expected {
            return Err(format!("the page differs{}", diff(&expected, &listing.records)));
        }
        Ok(StepResult::Listed(expected.len()))
    }

    /// At the end the record and all events of every address are the model's.
    pub(super) async fn end(&mut self) -> Result<(), Mismatch> {
        for at in 0..self.addresses.len() {
            self.unchanged(at).await?;
            self.events(at, 1000).await?;
        }
        Ok(())
    }

    async fn inspect(&self, at: usize) -> Result<Inspection, Mismatch> {
        let inspected = self.store.inspect(&self.addresses[at].address).await;
        inspected.map_err(|error| format!("the record could not be read: {error}"))
    }

    /// A reading follows the last one and what was advanced since.
    fn plausible(&mut self, reading: StoreTime) -> Result<(), Mismatch> {
        let expected = self.now;
        if reading.plus(STEP_BACK + self.set_back) < expected
            || reading > expected.plus(RUN_AHEAD + self.set_back)
        {
            return Err(format!("the clock should read {expected} or soon after, and reads {reading}"));
        }
        self.now = reading;
        Ok(())
    }
}

impl AddressModel {
    pub(super) fn new(namespace: &Namespace, target: KeyRef) -> Self {
        let key = Key::new(target.key()).unwrap_or_else(|invalid| unreachable!("{invalid}"));
        let address = Address { namespace: namespace.clone(), kind: target.kind(), key };
        Self {
            address,
            record: Record::absent(),
            events: Vec::new(),
            first_event_rested: false,
            grants: Default::default(),
            tokens: vec![Token::from_stored(1)],
            requests: Vec::new(),
        }
    }

    /// When a deadline of the record is.
    pub(super) fn instant(&self, deadline: Deadline) -> StoreTime {
        let record = &self.record;
        match deadline {
            Deadline::Lease => record.lease_until,
            Deadline::Hard => record.hard_until,
            Deadline::Retention => {
                record.completed_at.unwrap_or_default().plus(record.retention.unwrap_or_default())
            }
            Deadline::Rest => record.last_now.plus(PURGE_REST),
        }
    }

    /// Remembers the grants and tokens in a reply.
    pub(super) fn learn(&mut self, reply: &Reply) {
        if let (Reply::Claim(ClaimReply::Granted(granted)), Some(claim_id)) = (reply, self.record.claim_id) {
            let grants = &mut self.grants[Call::worker_of(claim_id)];
            let grant = Grant { token: granted.token, claim_id };
            if grants.last() != Some(&grant) {
                grants.push(grant);
            }
        }
        if self.tokens.last() != Some(&self.record.token) && self.record.token > Token::NONE {
            self.tokens.push(self.record.token);
        }
    }

    /// Applies a purge between two readings; returns the token that the floor rises to.
    fn purged(&mut self, newest: &[Event], (from, to): (StoreTime, StoreTime)) -> Result<Token, Mismatch> {
        let at = newest.last().map(|event| event.at).unwrap_or_default();
        match kernel::purge(&self.record, at) {
            Some((token, event)) if newest == [event.clone()] && from <= at && at <= to.max(from) => {
                self.record = Record::absent();
                self.events = vec![event];
                self.first_event_rested = false;
                Ok(token)
            }
            expected => Err(format!(
                "the event of the purge differs\n    expected {expected:?}\n         got {newest:?}"
            )),
        }
    }

    pub(super) fn resolve(&self, request: &Request) -> Op {
        match *request {
            Request::Claim { call, terms, retention, fingerprint, phase } => Op::Claim(Claim {
                claim_id: call.id(),
                terms: generate::terms(terms),
                retention: generate::retention(retention),
                fingerprint: generate::fingerprint(fingerprint),
                accepts: generate::accepts(fingerprint),
                worker: call.label(),
                phase,
                // Of the call, so that a repeated claim has the cause that it had.
                cause: generate::cause((call.id().bits() % 4) as u8),
                about: generate::about((call.id().bits() % 3) as u8),
            }),
            Request::Begin(grant) => Op::Begin(Begin { grant: self.grant(grant) }),
            Request::Heartbeat(grant) => Op::Heartbeat(Heartbeat { grant: self.grant(grant) }),
            Request::Complete { grant, result } => {
                Op::Complete(Complete { grant: self.grant(grant), result: generate::result(result) })
            }
            Request::Cancel(call) => Op::Cancel(Cancel { claim_id: call.id() }),
            Request::Release { grant, vouched } => Op::Release(Release { grant: self.grant(grant), vouched }),
            Request::Abandon { grant, cause } => {
                let late_effects = generate::late_effects(cause);
                Op::Abandon(Abandon {
                    grant: self.grant(grant),
                    cause: generate::reason(cause),
                    late_effects,
                })
            }
            Request::Again(back) => {
                let sent =
                    self.requests.len().checked_sub(usize::from(back)).and_then(|n| self.requests.get(n));
                sent.cloned().unwrap_or_else(nothing)
            }
            Request::DecideAgain => {
                let mut sent = self.requests.iter().rev();
                sent.find(|op| is_decision(op)).cloned().unwrap_or_else(nothing)
            }
            _ => self.resolve_decision(request),
        }
    }

    fn resolve_decision(&self, request: &Request) -> Op {
        let reason = |by: generate::Decider| (by.decision > 0).then(|| generate::reason(by.decision));
        match *request {
            Request::Reconcile { by, seen, even_if_alive, steal } => Op::Reconcile(Reconcile {
                op_id: by.id(),
                operator: by.label(),
                reason: reason(by),
                expect: self.token(seen),
                even_if_alive,
                steal,
            }),
            Request::ForceComplete { by, seen, result } => Op::ForceComplete(ForceComplete {
                op_id: by.id(),
                token: self.token(seen),
                operator: by.label(),
                reason: reason(by),
                result: generate::result(result),
                as_is: by.decision > 1,
            }),
            Request::Reset { by, seen, accept_overlap } => Op::ResetToClaimed(ResetToClaimed {
                op_id: by.id(),
                token: self.token(seen),
                operator: by.label(),
                reason: reason(by),
                accept_overlap,
            }),
            Request::Evict { by, seen } => Op::Evict(Evict {
                op_id: by.id(),
                operator: by.label(),
                reason: reason(by),
                expect: self.token(seen),
            }),
            _ => unreachable!("{request} is no decision"),
        }
    }

    pub(super) fn grant(&self, presented: Presented) -> Grant {
        let first =
            Grant { token: self.token(ExpectedToken::Current), claim_id: Call { worker: 0, call: 0 }.id() };
        let current = Grant { claim_id: self.record.claim_id.unwrap_or(first.claim_id), ..first };
        let back = |worker: u8, n| self.grants[usize::from(worker)].iter().rev().nth(n).copied();
        match presented {
            Presented::Current => current,
            Presented::Latest(worker) => back(worker, 0).unwrap_or(current),
            Presented::Older(worker) => back(worker, 1).unwrap_or(current),
            Presented::OtherClaim(call) => Grant { claim_id: call.id(), ..current },
            Presented::OtherToken => Grant { token: self.token(ExpectedToken::Previous), ..current },
        }
    }

    fn token(&self, seen: ExpectedToken) -> Token {
        let nth = |n| self.tokens.iter().rev().nth(n).copied();
        let current = nth(0).unwrap_or_default();
        match seen {
            ExpectedToken::Current => current,
            ExpectedToken::Previous => nth(1).unwrap_or(current),
            ExpectedToken::Next => Token::from_stored(current.get() + 1),
        }
    }
}

/// A namespace that no other run has used.
pub(crate) fn fresh_namespace(what: &str) -> Namespace {
    let name = format!("{what}-{}", &OpId::random().to_string()[..16]);
    Namespace::new(name).unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

/// What is sent where nothing was sent before that could be sent again.
fn nothing() -> Op {
    Op::Cancel(Cancel { claim_id: Call { worker: 0, call: 0 }.id() })
}

fn is_decision(op: &Op) -> bool {
    matches!(op, Op::Reconcile(_) | Op::ForceComplete(_) | Op::ResetToClaimed(_) | Op::Evict(_))
}

fn without_bytes(record: &Record) -> Record {
    let mut record = record.clone();
    if let Some(result) = &mut record.result {
        result.payload.bytes = Default::default();
    }
    record
}

//! A record of the store, and the record that the kernel computes for it.

use std::fmt;
use std::time::Duration;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Applied, ClaimId, ErrorKind, Event, Grant, Key, Payload, Record, RecordedResult, StoreTime,
    Token,
};

use super::age::Age;
use super::start_state::{StartState, Step};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::coordination::sequences::{self, rule};
use crate::diff::diff;

/// How far a store's clock may step back between two readings, as clocks of hosts do.
const STEP_BACK: Duration = Duration::from_secs(1);
/// How far it may run ahead of the requested time: enough for a stalled machine, not for a wrong unit.
const RUN_AHEAD: Duration = Duration::from_secs(3600);

/// One record under test, and all that its workers and operators know of it.
#[derive(Clone)]
pub(super) struct RecordUnderTest<'a> {
    context: &'a LawContext,
    address: Address,
    record: Record,
    events: Vec<Event>,
    /// The expected reading of the store's clock.
    clock: StoreTime,
    /// What workers were granted, oldest first.
    grants: Vec<Grant>,
    /// What operators decided, oldest first.
    decisions: Vec<Op>,
    touched: bool,
}

impl<'a> RecordUnderTest<'a> {
    /// Drives a fresh record to a start state.
    ///
    /// # Panics
    /// If the store differs from the kernel on the way.
    pub(super) async fn set(context: &'a LawContext, number: u32, start_state: &StartState) -> Self {
        let key = Key::new(format!("{number}")).unwrap_or_else(|invalid| unreachable!("{invalid}"));
        let address = Address { namespace: context.namespace().clone(), kind: start_state.kind, key };
        let inspection = context.store().inspect(&address).await;
        let clock = inspection.unwrap_or_else(|error| panic!("{address} was not read: {error}")).now;
        let mut under_test = Self::blank(context, address, clock);
        for step in start_state.steps {
            if let Err(mismatch) = under_test.step(*step).await {
                panic!("on the way to {}: {step:?}: {mismatch}", start_state.words);
            }
        }
        if let Err(mismatch) = under_test.check_stored().await {
            panic!("on the way to {}: {mismatch}", start_state.words);
        }
        under_test.touched = false;
        under_test
    }

    fn blank(context: &'a LawContext, address: Address, clock: StoreTime) -> Self {
        Self {
            context,
            address,
            record: Record::absent(),
            events: Vec::new(),
            clock,
            grants: Vec::new(),
            decisions: Vec::new(),
            touched: false,
        }
    }

    /// The result of [`at_work`](Self::at_work), computed without the store: to choose the requests.
    pub(super) fn imagined(context: &'a LawContext, start_state: &StartState) -> Self {
        let key = Key::new("imagined").unwrap_or_else(|invalid| unreachable!("{invalid}"));
        let address = Address { namespace: context.namespace().clone(), kind: start_state.kind, key };
        let mut under_test = Self::blank(context, address, StoreTime::from_micros(1_700_000_000_000_000));
        let taken = start_state.steps.iter().take_while(|step| under_test.imagine_step(**step)).count();
        assert_eq!(taken, start_state.steps.len(), "{} cannot be reached", start_state.words);
        under_test.clock = under_test.clock.plus(TTL / 10);
        under_test
    }

    /// Takes a step in the kernel alone, and returns whether it could be taken.
    pub(super) fn imagine_step(&mut self, step: Step) -> bool {
        let time = match step {
            Step::Half => HALF,
            Step::Lapse => TTL,
            _ => return self.imagine(&self.operation(step)),
        };
        self.clock = self.clock.plus(time);
        true
    }

    /// Applies a request in the kernel alone, and returns whether it changed something.
    pub(super) fn imagine(&mut self, op: &Op) -> bool {
        let reading = Reading { kind: self.address.kind, now: self.clock, floor: Token::NONE };
        let outcome = op.apply(&mut self.record, reading);
        let changed = outcome.is_ok_and(|outcome| outcome.stamped.stamp.changed);
        if changed {
            self.remember(op);
        }
        changed
    }

    /// The same a moment later: a heartbeat has something to extend, and no claim is over.
    pub(super) async fn at_work(context: &'a LawContext, number: u32, start_state: &StartState) -> Self {
        let mut under_test = Self::set(context, number, start_state).await;
        under_test.pass(TTL / 10).await;
        under_test
    }

    /// The same after a rest.
    pub(super) async fn at_rest(
        context: &'a LawContext,
        number: u32,
        start_state: &StartState,
        rest: Duration,
    ) -> Self {
        let mut under_test = Self::at_work(context, number, start_state).await;
        under_test.pass(rest).await;
        under_test
    }

    /// Notes that time has passed for all records of the store.
    pub(super) fn follow(&mut self, clock: StoreTime) {
        self.clock = clock;
    }

    /// Lets time pass in the kernel alone.
    pub(super) fn imagine_rest(&mut self, rest: Duration) {
        self.clock = self.clock.plus(rest);
    }

    /// Lets time pass until the record has this age.
    pub(super) async fn age(&mut self, age: Age) {
        let instant = age.instant(&self.record, self.clock);
        self.pass(instant.map(|at| at.since(self.clock)).unwrap_or_default()).await;
    }

    async fn pass(&mut self, by: Duration) {
        if by > Duration::ZERO {
            self.context.advance(by).await;
            self.clock = self.clock.plus(by);
        }
    }

    pub(super) async fn step(&mut self, step: Step) -> Result<(), String> {
        let op = match step {
            Step::Half => {
                self.pass(HALF).await;
                return Ok(());
            }
            Step::Lapse => {
                self.pass(TTL).await;
                return Ok(());
            }
            _ => self.operation(step),
        };
        self.take_effect(&op).await
    }

    /// Sends a request that must change the record, and remembers its grant or decision.
    pub(super) async fn take_effect(&mut self, op: &Op) -> Result<(), String> {
        self.request(op).await?;
        if !std::mem::take(&mut self.touched) {
            return Err(format!("{op:?} changed nothing"));
        }
        self.remember(op);
        Ok(())
    }

    fn remember(&mut self, op: &Op) {
        match op {
            Op::Claim(claim) => {
                self.grants.push(Grant { token: self.record.token, claim_id: claim.claim_id });
            }
            Op::Reconcile(_) | Op::ForceComplete(_) | Op::ResetToClaimed(_) | Op::Evict(_) => {
                self.decisions.push(op.clone());
            }
            _ => {}
        }
    }

    fn operation(&self, step: Step) -> Op {
        let grant = self.grants.last().copied().unwrap_or_else(|| Self::stranger().1);
        let token = self.record.token;
        let ann = Claim { fingerprint: about(REQUEST), ..call("ann") };
        let seen = reconcile("olga", token);
        match step {
            Step::Claim => ann.into(),
            Step::ClaimKept => Claim { retention: Some(KEPT), ..ann }.into(),
            Step::ClaimBare => call("ann").into(),
            Step::Fused => Claim { phase: Phase::Executing, ..ann }.into(),
            Step::FusedKept => Claim { phase: Phase::Executing, retention: Some(KEPT), ..ann }.into(),
            Step::Begin => Begin { grant }.into(),
            Step::Beat => Heartbeat { grant }.into(),
            Step::Complete => Complete { grant, result: receipt() }.into(),
            Step::Fail => {
                let declined = Payload::new("text/plain", "declined");
                Complete { grant, result: RecordedResult::failure(Some(402), declined) }.into()
            }
            Step::Omit => Complete {
                grant,
                result: RecordedResult { omitted: true, ..RecordedResult::success(Payload::empty()) },
            }
            .into(),
            Step::Release => Release { grant, vouched: false }.into(),
            Step::Vouch => Release { grant, vouched: true }.into(),
            Step::Cancel => Cancel { claim_id: grant.claim_id }.into(),
            Step::CancelUnsent => Cancel { claim_id: ClaimId::random() }.into(),
            Step::Abandon => Abandon { grant, cause: label("lost contact"), late_effects: NONE_LATE }.into(),
            Step::Reconcile => seen.into(),
            Step::Seize => Reconcile { even_if_alive: true, ..seen }.into(),
            Step::Steal => Reconcile { steal: true, operator: label("omar"), ..seen }.into(),
            Step::Force => force("olga", token, &receipt()).into(),
            Step::Reset => reset("olga", token).into(),
            Step::ResetEarly => ResetToClaimed { accept_overlap: true, ..reset("olga", token) }.into(),
            Step::Evict => evict("olga", token).into(),
            Step::Half | Step::Lapse => unreachable!("time passes without a request"),
        }
    }

    /// Its address.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The record that the kernel computed.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The expected reading of the store's clock.
    pub(super) fn clock(&self) -> StoreTime {
        self.clock
    }

    /// What operators decided, newest first.
    pub(super) fn decisions(&self) -> impl Iterator<Item = &Op> {
        self.decisions.iter().rev()
    }

    /// The newest grant of a call that does not hold the record now, and the oldest if it is no longer remembered.
    pub(super) fn past_grants(&self) -> Vec<(&'static str, Grant)> {
        let past = |grant: &&Grant| self.record.claim_id != Some(grant.claim_id);
        let newest = self.grants.iter().rev().find(past).map(|grant| ("the last holder before", *grant));
        let oldest = self.grants.first().filter(|grant| !self.record.knows(grant.claim_id));
        newest
            .into_iter()
            .chain(oldest.map(|grant| ("a holder that is no longer remembered", *grant)))
            .collect()
    }

    /// A caller that never sent a request before.
    pub(super) fn stranger() -> (&'static str, Grant) {
        ("a stranger", Grant { token: Token::from_stored(7), claim_id: ClaimId::random() })
    }

    /// Whether a request has changed the record since it was set.
    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// Sends a request and compares the whole reply. Returns the start state of the record, and the rule that applied:
    /// `invalid` if the request is invalid for records of its kind.
    pub(super) async fn request(&mut self, op: &Op) -> Result<(sequences::StartState, &'static str), String> {
        let sent = op.send(&**self.context.store(), &self.address).await;
        let stamped = match (sent, op.admit(self.address.kind)) {
            (Ok(stamped), Ok(())) => stamped,
            (Err(error), Err(_)) if error.applied() == Applied::No => {
                return match error.kind() {
                    ErrorKind::InvalidRequest => Ok((self.start_state(self.clock), "invalid")),
                    error_kind => Err(format!("an invalid request was refused as {error_kind:?}: {error}")),
                };
            }
            (Ok(stamped), Err(invalid)) => {
                return Err(format!("the request is invalid ({invalid}), and was answered: {stamped:?}"));
            }
            (Err(error), _) => return Err(format!("the store could not answer: {error}")),
        };
        let start_state = self.start_state(stamped.stamp.now);
        self.check_reply(op, &stamped)?;
        Ok((start_state, rule(&stamped.reply, stamped.stamp.changed)))
    }

    fn start_state(&self, now: StoreTime) -> sequences::StartState {
        sequences::StartState::of(&self.record, now.max(self.record.last_now))
    }

    /// Applies a replyed request to the kernel at the instant in the reply.
    fn check_reply(&mut self, op: &Op, stamped: &Stamped<Reply>) -> Result<(), String> {
        self.plausible(stamped.stamp.now)?;
        let reading = Reading { kind: self.address.kind, now: stamped.stamp.now, floor: Token::NONE };
        let outcome = op.apply(&mut self.record, reading).map_err(|invalid| invalid.to_string())?;
        self.touched |= outcome.stamped.stamp.changed;
        self.events.extend(outcome.event);
        same("the reply", &outcome.stamped, stamped)
    }

    /// Reads the record and its events, and compares both.
    pub(super) async fn check_stored(&mut self) -> Result<(), String> {
        let store = self.context.store();
        let inspected = store.inspect(&self.address).await;
        let inspection = inspected.map_err(|error| format!("the record could not be read: {error}"))?;
        let history = store.history(&self.address, u32::MAX).await;
        let events = history.map_err(|error| format!("the history could not be read: {error}"))?;
        self.plausible(inspection.now)?;
        let expected = (!self.record.is_absent()).then_some(&self.record);
        same("the record", &expected, &inspection.record.as_ref())?;
        same("the history", &self.events, &events)
    }

    /// A reading follows the last one and what was advanced since.
    fn plausible(&mut self, reading: StoreTime) -> Result<(), String> {
        let expected = self.clock;
        if reading.plus(STEP_BACK) < expected || reading > expected.plus(RUN_AHEAD) {
            return Err(format!("the clock should read {expected} or soon after, and reads {reading}"));
        }
        self.clock = reading;
        Ok(())
    }
}

/// What the start state's request is about.
pub(super) const REQUEST: &str = "an order";

/// The result that is recorded on the way to a start state.
pub(super) fn receipt() -> RecordedResult {
    RecordedResult { code: Some(201), ..result("a receipt") }
}

fn same<T: fmt::Debug + PartialEq>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what} is not the kernel's{}", diff(expected, got)))
}

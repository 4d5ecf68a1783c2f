//! What an observer of everything keeps beside the system, and the check of each step by spec §5.
//!
//! The observer never asks the kernel's guards: it follows only changes that were made and answers that were given.

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Grant, Kind, Record, State, StoreTime};

use crate::request::{Parts, value_of};
use crate::setup::invariant::*;
use crate::store::{confirms, number};

/// One step of the store, as the observer sees it: the true record, request and clock, whatever a mutation made of
/// them.
#[derive(Debug)]
pub(crate) struct StoreStep<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) before: &'a Record,
    pub(crate) after: &'a Record,
    pub(crate) op: &'a Op,
    pub(crate) reply: &'a Reply,
    pub(crate) changed: bool,
    pub(crate) now: StoreTime,
}

/// The observer's memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ghost {
    /// Runs that are still allowed.
    pub(crate) allowed: i8,
    /// The highest token drawn.
    pub(crate) top: u64,
    /// How many grants were given: the generation of the present one.
    pub(crate) generation: u8,
    /// Whose the record rightfully is.
    pub(crate) holder: Option<Grant>,
    /// The hard deadline that the grant was given with.
    pub(crate) hard: StoreTime,
    /// What is recorded now, and all that ever was (a bit for each value).
    pub(crate) result: Option<u8>,
    pub(crate) recorded: u32,
    /// Claim ids that were granted, or cancelled, since the last purge (a bit for each).
    pub(crate) granted: u16,
    pub(crate) cancelled: u16,
    /// The last decision: op id, kind, token presented.
    pub(crate) decided: Option<(u8, u8, u64)>,
    /// Until then (on the workers' clock, in milliseconds) an effect of a run that ended in doubt may land.
    pub(crate) landing: u64,
    /// An operator accepted that runs overlap.
    pub(crate) overlap: bool,
    /// How far a barrier was answered: token, and the state's rank within a token's life.
    pub(crate) confirmed: (u64, u8),
    /// The idempotency key that the present attempt went out with, and the highest that ever did.
    pub(crate) attempt: Option<u64>,
    pub(crate) keys: u64,
    /// Claim ids whose function started (a bit for each).
    pub(crate) ran: u16,
    /// The resource: highest token accepted, and its generation.
    pub(crate) resource: (u64, u8),
    /// The invariants that were broken.
    pub(crate) bad: u32,
}

impl Ghost {
    pub(crate) fn new() -> Self {
        Self {
            allowed: 1,
            top: 0,
            generation: 0,
            holder: None,
            hard: StoreTime::ZERO,
            result: None,
            recorded: 0,
            granted: 0,
            cancelled: 0,
            decided: None,
            landing: 0,
            overlap: false,
            confirmed: (0, 0),
            attempt: None,
            keys: 0,
            ran: 0,
            resource: (0, 0),
            bad: 0,
        }
    }

    fn unless(&mut self, holds: bool, invariant: u32) {
        if !holds {
            self.bad |= invariant;
        }
    }

    /// Checks one step of the store.
    pub(crate) fn check(&mut self, s: &StoreStep<'_>) {
        self.check_reply(s);
        if !s.changed {
            self.unless(s.before == s.after, I8);
            return;
        }
        let held = self.holder.is_some_and(|holder| worker_grant(s.op).is_none_or(|grant| grant == holder));
        self.unless(worker_grant(s.op).is_none() || held, I8);
        // Only these operations end an execution.
        if s.before.state == State::Executing && s.after.state != State::Executing {
            let ends = matches!(s.op, Op::Complete(_) | Op::Cancel(_) | Op::Reconcile(_))
                || matches!(s.op, Op::Release(release) if release.vouched);
            self.unless(ends, I11);
        }
        if s.before.state == State::Completed {
            let over = matches!(s.op, Op::Claim(_)) && s.before.is_past_retention(s.now);
            self.unless(over, I4);
        }
        match s.op {
            Op::Claim(claim) => self.claimed(s, claim),
            Op::Begin(_) => self.unless(s.before.is_live(s.now) && s.now < self.hard, B1),
            Op::Heartbeat(_) => self.beat(s),
            Op::Complete(complete) => {
                self.unless(s.before.state == State::Executing && self.holder == Some(complete.grant), I5);
                self.record(value_of(&complete.result));
            }
            Op::Cancel(cancel) => {
                let mine = self.holder.is_none_or(|holder| holder.claim_id == cancel.claim_id);
                self.unless(mine, I8);
                self.holder = None;
            }
            Op::Release(release) => {
                self.holder = None;
                if release.vouched && s.before.state == State::Executing {
                    self.vouched(number(release.grant.claim_id));
                }
            }
            Op::Abandon(_) => self.unless(s.before.state == State::Executing, I8),
            _ => self.operated(s),
        }
    }

    fn claimed(&mut self, s: &StoreStep<'_>, claim: &Claim) {
        let bit = 1 << number(claim.claim_id);
        self.unless(s.before.state != State::Reconciling, I8);
        self.unless(self.granted & bit == 0, I3);
        self.unless(self.cancelled & bit == 0, C1);
        if s.before.is_past_retention(s.now) {
            self.allowed += 1;
            (self.result, self.attempt) = (None, None);
        }
        self.granted |= bit;
        self.draw(s.after);
        self.generation += 1;
        self.holder = Some(Grant { token: s.after.token, claim_id: claim.claim_id });
        self.hard = s.now.plus(s.parts.hard());
    }

    fn beat(&mut self, s: &StoreStep<'_>) {
        let same = Record {
            lease_until: s.after.lease_until,
            rev: s.after.rev,
            last_now: s.after.last_now,
            ..s.before.clone()
        };
        self.unless(same == *s.after, I7);
        self.unless(s.before.lease_until <= s.after.lease_until && s.after.lease_until <= self.hard, I7);
        self.unless(s.now < self.hard, I7);
        self.unless(s.parts.kind() == Kind::Execution || s.before.is_live(s.now), I7);
    }

    fn operated(&mut self, s: &StoreStep<'_>) {
        let (id, kind, presented) = decision(s.op).unwrap_or_default();
        // Every decision of an operator is about what it read.
        self.unless(s.before.token.get() == presented, I8);
        self.unless(self.decided != Some((id, kind, presented)), L1);
        match s.op {
            Op::Reconcile(c) => match s.before.state {
                State::Executing => self.unless(s.before.is_uncertain(s.now) || c.even_if_alive, I11),
                State::Reconciling => self.unless(c.steal, I8),
                _ => self.unless(false, I8),
            },
            Op::ForceComplete(f) => {
                self.unless(s.before.state == State::Reconciling, I5);
                self.unless(s.before.token == f.token, I5);
                self.record(value_of(&f.result));
            }
            Op::ResetToClaimed(reset) => {
                self.unless(s.before.state == State::Reconciling, I8);
                self.allowed += 1;
                self.overlap |= reset.accept_overlap;
            }
            _ => self.unless(s.before.state == State::Claimed, I8),
        }
        if !matches!(s.op, Op::ForceComplete(_)) {
            self.draw(s.after);
        }
        self.holder = None;
        self.decided = Some((id, kind, presented));
    }

    fn draw(&mut self, after: &Record) {
        self.unless(after.token.get() > self.top, I2);
        self.unless(after.token.get() != self.top, I3);
        self.top = self.top.max(after.token.get());
    }

    fn record(&mut self, value: u8) {
        self.result = Some(value);
        self.recorded |= 1 << value;
    }

    /// Checks the reply: the rightful owner is not refused, and every reader gets one result.
    fn check_reply(&mut self, s: &StoreStep<'_>) {
        let mine = |grant: &Grant| self.holder == Some(*grant);
        let active = matches!(s.before.state, State::Claimed | State::Executing);
        match (s.op, s.reply) {
            (Op::Claim(c), reply) => {
                let mine = self.holder.is_some_and(|holder| holder.claim_id == c.claim_id);
                let granted = matches!(reply, Reply::Claim(ClaimReply::Granted(_)));
                let shown = match reply {
                    Reply::Claim(ClaimReply::Completed { result, .. }) => Some(value_of(result)),
                    _ => None,
                };
                let differs = matches!((&s.before.fingerprint, &c.fingerprint), (Some(a), Some(b)) if a != b);
                self.unless(!(mine && active) || granted, L1);
                self.unless(shown.is_none() || (shown == self.result && !differs), I4);
            }
            (Op::Begin(b), Reply::Begin(reply)) => {
                let right = mine(&b.grant) && active && s.before.is_live(s.now) && s.now < self.hard;
                self.unless(!right || matches!(reply, BeginReply::Begun(_)), L1);
            }
            (Op::Complete(c), Reply::Complete(reply)) => {
                let open = s.before.state == State::Executing
                    || s.before.state == State::Completed && self.result == Some(value_of(&c.result));
                let right = mine(&c.grant) && open;
                self.unless(!right || matches!(reply, CompleteReply::Recorded { .. }), L1);
            }
            (Op::Heartbeat(h), reply) => {
                // No worker could have taken a lapsed execution; a lapsed lease is lost.
                let alive = s.parts.kind() == Kind::Execution || s.before.is_live(s.now);
                let right = mine(&h.grant) && active && alive && s.before.is_within_hard(s.now);
                self.unless(!right || confirms(reply), L1);
            }
            (Op::Cancel(c), Reply::Cancel(CancelReply::Cancelled)) => {
                self.cancelled |= 1 << number(c.claim_id);
            }
            (op, reply) => {
                if self.decided.is_some() && decision(op) == self.decided {
                    self.unless(confirms(reply), L1);
                }
            }
        }
    }

    /// A function starts.
    pub(crate) fn start(&mut self, kind: Kind, claim_id: u8, incarnation: u64, mono: u64) {
        self.ran |= 1 << claim_id;
        if kind == Kind::Execution {
            self.unless(self.overlap || mono >= self.landing, I14);
            self.allowed -= 1;
            self.unless(self.allowed >= 0, I1);
            // What a provider may have seen of an attempt must meet the same key again; a new attempt must not.
            self.unless(self.attempt.map_or(incarnation > self.keys, |key| key == incarnation), K1);
            self.attempt = Some(incarnation);
            self.keys = self.keys.max(incarnation);
        }
    }

    /// A function ended in doubt: an effect of it may land until then.
    pub(crate) fn lands_until(&mut self, mono: u64) {
        self.landing = self.landing.max(mono);
    }

    /// A vouched release: this attempt is over, if it is one that went out.
    fn vouched(&mut self, claim_id: u8) {
        if self.ran & (1 << claim_id) != 0 {
            self.attempt = None;
        }
    }

    /// A function writes to the resource.
    pub(crate) fn write(&mut self, token: u64, generation: u8) {
        if token >= self.resource.0 {
            self.unless(generation >= self.resource.1, I9);
            self.resource = (token, generation);
        } else {
            // A newer grant that an older one shuts out is the same fault from the other side.
            self.unless(generation < self.resource.1, I9);
        }
    }

    /// The record was purged.
    pub(crate) fn purged(&mut self, record: &Record) {
        if record.state == State::Completed {
            self.allowed += 1;
            (self.result, self.attempt) = (None, None);
        }
        (self.holder, self.decided) = (None, None);
        (self.granted, self.cancelled) = (0, 0);
    }

    /// A barrier was answered on this record.
    pub(crate) fn confirm(&mut self, record: &Record) {
        self.confirmed = self.confirmed.max((record.token.get(), rank(record.state)));
    }

    /// Another server took over with this record: what is left of the observer's view of the store.
    pub(crate) fn failed_over(&mut self, record: &Record) {
        self.unless(self.confirmed <= (record.token.get(), rank(record.state)), I10);
        let active = !matches!(record.state, State::Free | State::Reconciling);
        self.holder =
            record.claim_id.filter(|_| active).map(|claim_id| Grant { token: record.token, claim_id });
        if let Some(at) = record.claimed_at {
            self.hard = record.hard_until.max(at);
        }
        self.result = record.result.as_ref().map(value_of);
        self.attempt = Some(record.incarnation).filter(|key| *key != 0 && *key <= self.keys);
        let knows = |id: &u8| record.knows(ClaimId::from_bits((*id).into()));
        let kept = |bits: u16| bits & (0..16).filter(knows).fold(0, |all, id| all | (1 << id));
        (self.granted, self.cancelled) = (kept(self.granted), kept(self.cancelled));
        self.decided = None;
    }
}

/// The grant that a worker's request presents.
fn worker_grant(op: &Op) -> Option<Grant> {
    match op {
        Op::Begin(Begin { grant })
        | Op::Heartbeat(Heartbeat { grant })
        | Op::Complete(Complete { grant, .. })
        | Op::Release(Release { grant, .. })
        | Op::Abandon(Abandon { grant, .. }) => Some(*grant),
        _ => None,
    }
}

/// An operator's request: op id, kind, token presented.
fn decision(op: &Op) -> Option<(u8, u8, u64)> {
    let (id, kind, presented) = match op {
        Op::Reconcile(c) => (c.op_id, 0, c.expect),
        Op::ForceComplete(f) => (f.op_id, 1, f.token),
        Op::ResetToClaimed(c) => (c.op_id, 2, c.token),
        Op::Evict(e) => (e.op_id, 3, e.expect),
        _ => return None,
    };
    Some((u8::try_from(id.bits()).unwrap_or(u8::MAX), kind, presented.get()))
}

/// A state's rank within the life of one token.
fn rank(state: State) -> u8 {
    match state {
        State::Claimed => 0,
        State::Executing | State::Reconciling => 1,
        State::Completed => 2,
        State::Free => 3,
    }
}

//! How a change modifies the record, and the event that records it. Called only if the table returns
//! [`Rule::Change`](super::Rule::Change).

use super::reading::{Reading, next_token};
use super::table;
use crate::event::{Change, Event};
use crate::operation::*;
use crate::payload::{Accepts, Digest};
use crate::record::{Decision, DecisionKind, Record, State};
use crate::terms::Label;
use crate::time::{StoreTime, whole};
use crate::token::{ClaimId, OpId, Token};

pub(super) fn claim(r: &mut Record, c: &Claim, at: &Reading) -> Option<Event> {
    let from = stored(r);
    let fresh = r.incarnation == 0 || r.state == State::Completed;
    let begun = c.phase == Phase::Executing;
    free(r);
    r.token = Token::from_stored(next_token(r, at));
    if fresh {
        r.incarnation = r.token.get();
        r.after_reset = false;
    }
    r.state = if begun { State::Executing } else { State::Claimed };
    r.claim_id = Some(c.claim_id);
    r.worker = Some(c.worker.clone());
    r.terms = Some(c.terms);
    r.retention = c.retention.map(whole);
    r.fingerprint.clone_from(&c.fingerprint);
    r.accepts.clone_from(&c.accepts);
    r.cause.clone_from(&c.cause);
    r.about.clone_from(&c.about);
    r.claimed_at = Some(at.now);
    r.begun_at = begun.then_some(at.now);
    r.lease_until = at.now.plus(c.terms.ttl());
    r.hard_until = at.now.plus(c.terms.hard_ttl());
    r.effects_until = r.hard_until.plus(c.terms.late_effects());
    let change = Change::Claimed {
        terms: c.terms,
        retention: r.retention,
        fingerprint: c.fingerprint.clone(),
        accepts: c.accepts.clone(),
        incarnation: r.incarnation,
        begun,
        cause: c.cause.clone(),
        about: c.about.clone(),
    };
    Some(by_worker(r, from, at, change, c.claim_id, None))
}

pub(super) fn begin(r: &mut Record, b: &Begin, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.state = State::Executing;
    r.begun_at = Some(at.now);
    Some(by_worker(r, from, at, Change::Begun, b.grant.claim_id, None))
}

pub(super) fn heartbeat(r: &mut Record, _: &Heartbeat, at: &Reading) -> Option<Event> {
    r.lease_until = table::extended(r, at);
    touch(r, at);
    None
}

pub(super) fn complete(r: &mut Record, c: &Complete, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.state = State::Completed;
    r.completed_at = Some(at.now);
    r.result = Some(c.result.clone());
    let change =
        Change::Completed { verdict: c.result.verdict, code: c.result.code, late: table::completed_late(r) };
    Some(by_worker(r, from, at, change, c.grant.claim_id, None))
}

pub(super) fn cancel(r: &mut Record, c: &Cancel, at: &Reading) -> Option<Event> {
    let (from, worker) = (stored(r), r.worker.clone());
    free(r);
    r.past_claims.remember(c.claim_id);
    let event = by_worker(r, from, at, Change::Cancelled, c.claim_id, None);
    Some(Event { worker, ..event })
}

pub(super) fn release(r: &mut Record, l: &Release, at: &Reading) -> Option<Event> {
    let (from, worker) = (stored(r), r.worker.clone());
    let vouched = r.state == State::Executing;
    free(r);
    if vouched {
        // The next claim is a new attempt. With the old idempotency key a provider would repeat its answer to the
        // released one.
        r.incarnation = 0;
        r.after_reset = false;
    }
    let event = by_worker(r, from, at, Change::Released { vouched }, l.grant.claim_id, None);
    Some(Event { worker, ..event })
}

pub(super) fn abandon(r: &mut Record, a: &Abandon, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.lease_until = r.lease_until.min(at.now);
    r.hard_until = r.hard_until.min(at.now);
    // This can be later than before: a function that ran past its hard deadline may have caused effects until now.
    r.effects_until = at.now.plus(whole(a.late_effects));
    r.doubt = Some(a.cause.clone());
    let change = Change::Abandoned { effects_until: r.effects_until };
    Some(by_worker(r, from, at, change, a.grant.claim_id, Some(a.cause.clone())))
}

pub(super) fn reconcile(r: &mut Record, c: &Reconcile, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.state = State::Reconciling;
    r.token = Token::from_stored(next_token(r, at));
    fence_out(r);
    let by = By { op_id: c.op_id, presented: c.expect, operator: &c.operator, reason: c.reason.as_ref() };
    Some(by.decide(r, from, at, DecisionKind::Reconcile, Change::Reconciling, None))
}

pub(super) fn force_complete(r: &mut Record, f: &ForceComplete, at: &Reading) -> Option<Event> {
    let from = stored(r);
    let digest = f.result.digest();
    r.state = State::Completed;
    r.completed_at = Some(at.now);
    r.result = Some(f.result.clone());
    let change = Change::ForceCompleted { verdict: f.result.verdict, code: f.result.code, digest };
    let by = By { op_id: f.op_id, presented: f.token, operator: &f.operator, reason: f.reason.as_ref() };
    Some(by.decide(r, from, at, DecisionKind::ForceComplete, change, Some(digest)))
}

pub(super) fn reset_to_claimed(r: &mut Record, c: &ResetToClaimed, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.token = Token::from_stored(next_token(r, at));
    free(r);
    r.after_reset = true;
    let by = By { op_id: c.op_id, presented: c.token, operator: &c.operator, reason: c.reason.as_ref() };
    Some(by.decide(r, from, at, DecisionKind::ResetToClaimed, Change::ResetToClaimed, None))
}

pub(super) fn evict(r: &mut Record, e: &Evict, at: &Reading) -> Option<Event> {
    let from = stored(r);
    r.token = Token::from_stored(next_token(r, at));
    free(r);
    let by = By { op_id: e.op_id, presented: e.expect, operator: &e.operator, reason: e.reason.as_ref() };
    Some(by.decide(r, from, at, DecisionKind::Evict, Change::Evicted, None))
}

/// Decides whether a record can be purged. If so, returns the floor to which its namespace must rise, and the event to
/// write while the record is deleted, all in one transaction. Returns None if the record must stay.
pub fn purge(r: &Record, now: StoreTime) -> Option<(Token, Event)> {
    let now = now.max(r.last_now);
    r.is_purgeable(now).then(|| {
        let event = Event {
            rev: r.rev + 1,
            change: Change::Purged,
            from: Some(r.state),
            to: None,
            token: r.token,
            claim_id: None,
            op_id: None,
            worker: None,
            operator: None,
            reason: None,
            at: now,
            base: None,
        };
        (r.token, event)
    })
}

/// Frees the record. Token, incarnation, past claim ids, the last decision, cause and `about` stay.
fn free(r: &mut Record) {
    fence_out(r);
    r.state = State::Free;
    r.worker = None;
    r.terms = None;
    r.retention = None;
    r.claimed_at = None;
    r.lease_until = StoreTime::ZERO;
    r.hard_until = StoreTime::ZERO;
    r.effects_until = StoreTime::ZERO;
    r.begun_at = None;
    r.completed_at = None;
    r.fingerprint = None;
    r.accepts = Accepts::any();
    r.result = None;
    r.doubt = None;
}

fn fence_out(r: &mut Record) {
    if let Some(id) = r.claim_id.take() {
        r.past_claims.remember(id);
    }
}

fn stored(r: &Record) -> Option<State> {
    (!r.is_absent()).then_some(r.state)
}

fn touch(r: &mut Record, at: &Reading) {
    r.rev += 1;
    r.last_now = at.now;
}

fn by_worker(
    r: &mut Record,
    from: Option<State>,
    at: &Reading,
    change: Change,
    claim_id: ClaimId,
    reason: Option<Label>,
) -> Event {
    touch(r, at);
    Event {
        rev: r.rev,
        change,
        from,
        to: Some(r.state),
        token: r.token,
        claim_id: Some(claim_id),
        op_id: None,
        worker: r.worker.clone(),
        operator: None,
        reason,
        at: at.now,
        base: None,
    }
}

/// The operator behind a decision, and the ids of the request.
struct By<'a> {
    op_id: OpId,
    presented: Token,
    operator: &'a Label,
    reason: Option<&'a Label>,
}

impl By<'_> {
    fn decide(
        &self,
        r: &mut Record,
        from: Option<State>,
        at: &Reading,
        kind: DecisionKind,
        change: Change,
        digest: Option<Digest>,
    ) -> Event {
        touch(r, at);
        r.decision = Some(Decision {
            op_id: self.op_id,
            kind,
            token: r.token,
            presented: self.presented,
            digest,
            operator: self.operator.clone(),
            reason: self.reason.cloned(),
            at: at.now,
        });
        Event {
            rev: r.rev,
            change,
            from,
            to: Some(r.state),
            token: r.token,
            claim_id: None,
            op_id: Some(self.op_id),
            worker: r.worker.clone(),
            operator: Some(self.operator.clone()),
            reason: self.reason.cloned(),
            at: at.now,
            base: None,
        }
    }
}

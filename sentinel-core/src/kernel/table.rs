//! The rules of spec §3, row by row: how each state answers each operation. Nothing here changes a record.

use super::reading::{Reading, Rule};
use crate::address::Kind;
use crate::operation::*;
use crate::payload::{Payload, RecordedResult};
use crate::record::{DecisionKind, Record, State};
use crate::terms::Label;
use crate::token::OpId;

use Rule::{Change, Refuse, Repeat};
use State::{Claimed, Completed, Executing, Free, Reconciling};

/// Sent by any worker. Carries claim id, terms, fingerprint and phase.
pub fn claim(r: &Record, c: &Claim, at: &Reading) -> Rule<ClaimReply> {
    let mine = r.claim_id == Some(c.claim_id);
    let claimable = match r.state {
        Free => true,
        Claimed => !r.is_live(at.now),
        Completed => r.is_past_retention(at.now),
        Executing | Reconciling => false,
    };
    let differs = matches!((&r.fingerprint, &c.fingerprint), (Some(theirs), Some(ours)) if theirs != ours);
    match r.state {
        // Checked before the state, but never on a claimable record: a fingerprint must not block the takeover of a
        // lapsed claim.
        _ if differs && !claimable => Refuse(ClaimReply::FingerprintMismatch),
        Claimed | Executing if mine => Repeat,
        // A late duplicate must not claim for a caller that is gone. A completed record past its retention still has
        // the claim id that completed it.
        _ if claimable && r.knows(c.claim_id) => Refuse(ClaimReply::AlreadyReleased),
        _ if claimable => Change,
        Executing if !r.is_live(at.now) => Refuse(ClaimReply::Uncertain {
            token: r.token,
            begun_at: r.begun_at.unwrap_or_default(),
            worker: r.worker.clone(),
        }),
        Free | Claimed | Executing => {
            Refuse(ClaimReply::InProgress { state: r.state, remaining: r.lease_until.since(at.now) })
        }
        Completed => {
            let result = r.result.clone().unwrap_or_else(|| RecordedResult::success(Payload::empty()));
            Refuse(ClaimReply::Completed { result, remaining: r.retention_left(at.now) })
        }
        Reconciling => Refuse(match &r.decision {
            Some(d) => ClaimReply::Reconciling { since: d.at, operator: d.operator.clone() },
            None => ClaimReply::Reconciling { since: r.last_now, operator: Label::lossy("") },
        }),
    }
}

/// Sent by the worker.
pub fn begin(r: &Record, b: &Begin, at: &Reading) -> Rule<BeginReply> {
    match r.state {
        _ if !r.matches(&b.grant) => Refuse(BeginReply::Superseded(current(r))),
        Claimed if r.is_live(at.now) && r.is_within_hard(at.now) => Change,
        Executing if r.is_live(at.now) => Repeat,
        Completed => Refuse(BeginReply::Completed),
        _ => Refuse(BeginReply::Expired),
    }
}

/// Sent by the worker. A heartbeat revives a lapsed execution of the same grant, because no other call can have taken
/// it. It never revives a lapsed lease, nor an abandoned run, whose worker has ended.
pub fn heartbeat(r: &Record, h: &Heartbeat, at: &Reading) -> Rule<HeartbeatReply> {
    let lost = |reason| Refuse(HeartbeatReply::Lost(reason));
    match r.state {
        _ if !r.matches(&h.grant) => lost(LostReason::Superseded(current(r))),
        _ if r.is_abandoned() => lost(LostReason::Abandoned),
        Claimed | Executing if !r.is_within_hard(at.now) => lost(LostReason::HardDeadline),
        Claimed if at.kind == Kind::Lease && !r.is_live(at.now) => lost(LostReason::Lapsed),
        Claimed | Executing if extended(r, at) > r.lease_until => Change,
        Claimed | Executing => Repeat,
        Free | Completed | Reconciling => lost(LostReason::Completed),
    }
}

/// Sent by the worker. Whether the lease has lapsed does not matter: a result from the worker that holds the grant ends
/// the doubt.
pub fn complete(r: &Record, c: &Complete, _at: &Reading) -> Rule<CompleteReply> {
    match r.state {
        _ if !r.matches(&c.grant) => Refuse(CompleteReply::Superseded(current(r))),
        Executing => Change,
        Completed if r.result.as_ref() == Some(&c.result) => Repeat,
        Completed => Refuse(CompleteReply::Conflict),
        Claimed => Refuse(CompleteReply::NotBegun),
        Free | Reconciling => Refuse(CompleteReply::Superseded(current(r))),
    }
}

/// Sent by the worker, by claim id: the function did not run and will not run. An abandoned record is not cancelled,
/// because only a function that ran is abandoned.
pub fn cancel(r: &Record, c: &Cancel, _at: &Reading) -> Rule<CancelReply> {
    match r.state {
        Claimed | Executing if r.claim_id == Some(c.claim_id) && !r.is_abandoned() => Change,
        _ if r.past_claims.contains(c.claim_id) => Repeat,
        Free => Change,
        _ => Refuse(CancelReply::Untouched(current(r))),
    }
}

/// Sent by the worker.
pub fn release(r: &Record, l: &Release, _at: &Reading) -> Rule<ReleaseReply> {
    let released_before = r.token == l.grant.token && r.past_claims.contains(l.grant.claim_id);
    match r.state {
        Claimed if r.matches(&l.grant) => Change,
        Executing if r.matches(&l.grant) && l.vouched && !r.is_abandoned() => Change,
        Executing if r.matches(&l.grant) => Refuse(ReleaseReply::MayHaveRun),
        Free if released_before => Repeat,
        _ => Refuse(ReleaseReply::Superseded(current(r))),
    }
}

/// Sent by the worker, only after its function has ended.
pub fn abandon(r: &Record, a: &Abandon, _at: &Reading) -> Rule<AbandonReply> {
    match r.state {
        Executing if r.matches(&a.grant) && r.is_abandoned() => Repeat,
        Executing if r.matches(&a.grant) => Change,
        _ => Refuse(AbandonReply::Superseded(current(r))),
    }
}

/// Sent by an operator. Carries op id, operator, reason and the expected token.
pub fn reconcile(r: &Record, c: &Reconcile, at: &Reading) -> Rule<ReconcileReply> {
    match r.state {
        _ if decided(r, c.op_id, DecisionKind::Reconcile) => Repeat,
        // A late duplicate must not take over a newer run.
        _ if r.token != c.expect => Refuse(ReconcileReply::StaleDecision(current(r))),
        Executing if !r.is_live(at.now) || c.even_if_alive => Change,
        Executing => Refuse(ReconcileReply::StillAlive { until: r.lease_until }),
        Reconciling if c.steal => Change,
        Reconciling => Refuse(match &r.decision {
            Some(d) => ReconcileReply::HeldBy { op_id: d.op_id, operator: d.operator.clone(), since: d.at },
            None => ReconcileReply::StaleDecision(current(r)),
        }),
        Completed => Refuse(ReconcileReply::AlreadyCompleted),
        Free | Claimed => Refuse(ReconcileReply::NotExecuting(current(r))),
    }
}

/// Sent by an operator. Carries the reconcile token, op id and the result.
pub fn force_complete(r: &Record, f: &ForceComplete, _at: &Reading) -> Rule<ForceCompleteReply> {
    let before = r.decision.as_ref().filter(|_| decided(r, f.op_id, DecisionKind::ForceComplete));
    match r.state {
        _ if before.is_some_and(|d| d.presented == f.token && d.digest == Some(f.result.digest())) => Repeat,
        Reconciling if r.token != f.token => Refuse(ForceCompleteReply::StaleDecision(current(r))),
        // A forced result is final, so callers of the key must be able to decode it.
        Reconciling if f.to_decode().is_some_and(|kind| !r.accepts.accepts(&kind)) => {
            Refuse(ForceCompleteReply::NotDecodable { accepts: r.accepts.clone() })
        }
        Reconciling => Change,
        _ => Refuse(ForceCompleteReply::StaleDecision(current(r))),
    }
}

/// Sent by an operator. Carries the reconcile token and op id.
pub fn reset_to_claimed(r: &Record, c: &ResetToClaimed, at: &Reading) -> Rule<ResetReply> {
    let before = r.decision.as_ref().filter(|_| decided(r, c.op_id, DecisionKind::ResetToClaimed));
    match r.state {
        _ if before.is_some_and(|d| d.presented == c.token) => Repeat,
        Reconciling if r.token != c.token => Refuse(ResetReply::StaleDecision(current(r))),
        Reconciling if !r.effects_may_land(at.now) || c.accept_overlap => Change,
        Reconciling => Refuse(ResetReply::EffectsMayLand { until: r.effects_until }),
        _ => Refuse(ResetReply::StaleDecision(current(r))),
    }
}

/// Sent by an operator. Carries op id, operator, reason and the expected token.
pub fn evict(r: &Record, e: &Evict, _at: &Reading) -> Rule<EvictReply> {
    let before = r.decision.as_ref().filter(|_| decided(r, e.op_id, DecisionKind::Evict));
    match r.state {
        _ if before.is_some_and(|d| d.presented == e.expect) => Repeat,
        _ if r.token != e.expect => Refuse(EvictReply::StaleDecision(current(r))),
        Claimed => Change,
        Executing => Refuse(EvictReply::Executing),
        Free | Completed | Reconciling => Refuse(EvictReply::NotClaimed(current(r))),
    }
}

/// The replies to operations that took effect, now or before.
pub(super) mod confirm {
    use super::*;

    pub(in crate::kernel) fn claim(r: &Record, _: &Claim) -> ClaimReply {
        ClaimReply::Granted(granted(r))
    }

    pub(in crate::kernel) fn begin(r: &Record, _: &Begin) -> BeginReply {
        BeginReply::Begun(granted(r))
    }

    pub(in crate::kernel) fn heartbeat(r: &Record, _: &Heartbeat) -> HeartbeatReply {
        HeartbeatReply::Kept { lease_until: r.lease_until }
    }

    pub(in crate::kernel) fn complete(r: &Record, _: &Complete) -> CompleteReply {
        CompleteReply::Recorded { late: completed_late(r) }
    }

    pub(in crate::kernel) fn cancel(_: &Record, _: &Cancel) -> CancelReply {
        CancelReply::Cancelled
    }

    pub(in crate::kernel) fn release(_: &Record, _: &Release) -> ReleaseReply {
        ReleaseReply::Released
    }

    pub(in crate::kernel) fn abandon(_: &Record, _: &Abandon) -> AbandonReply {
        AbandonReply::Abandoned
    }

    pub(in crate::kernel) fn reconcile(r: &Record, _: &Reconcile) -> ReconcileReply {
        ReconcileReply::Taken {
            token: r.token,
            since: r.decision.as_ref().map_or(r.last_now, |d| d.at),
            effects_until: r.effects_until,
            begun_at: r.begun_at,
            worker: r.worker.clone(),
        }
    }

    pub(in crate::kernel) fn force_complete(_: &Record, _: &ForceComplete) -> ForceCompleteReply {
        ForceCompleteReply::Completed
    }

    pub(in crate::kernel) fn reset_to_claimed(r: &Record, _: &ResetToClaimed) -> ResetReply {
        ResetReply::Reset { token: decided_token(r) }
    }

    pub(in crate::kernel) fn evict(r: &Record, _: &Evict) -> EvictReply {
        EvictReply::Evicted { token: decided_token(r) }
    }
}

fn current(r: &Record) -> Current {
    Current { state: r.state, token: r.token }
}

fn granted(r: &Record) -> Granted {
    Granted {
        token: r.token,
        state: r.state,
        incarnation: r.incarnation,
        lease_until: r.lease_until,
        hard_until: r.hard_until,
    }
}

/// The end of the lease after a heartbeat: never earlier than before, never later than the hard deadline.
pub(super) fn extended(r: &Record, at: &Reading) -> crate::StoreTime {
    let ttl = r.terms.map(|terms| terms.ttl()).unwrap_or_default();
    r.lease_until.max(at.now.plus(ttl).min(r.hard_until))
}

/// Whether the result was recorded at or after the end of the lease.
pub(super) fn completed_late(r: &Record) -> bool {
    r.completed_at.is_some_and(|at| at >= r.lease_until)
}

fn decided(r: &Record, op_id: OpId, kind: DecisionKind) -> bool {
    r.decision.as_ref().is_some_and(|d| d.op_id == op_id && d.kind == kind)
}

fn decided_token(r: &Record) -> crate::Token {
    r.decision.as_ref().map_or(r.token, |d| d.token)
}

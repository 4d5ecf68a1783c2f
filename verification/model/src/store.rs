//! The store: the real kernel, as it is or with one mutation.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Event, Kind, OpId, PastClaims, Record, State, StoreTime, Token};

use crate::setup::{Mutation, Rests};

/// The result of an operation.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) changed: bool,
    pub(crate) event: Option<Event>,
}

/// Applies an operation as a store under test would: through the kernel, with at most one mutation before or after.
/// None: the store has no reply, and changed nothing.
pub(crate) fn apply(
    mutation: Option<Mutation>,
    record: &mut Record,
    op: &Op,
    at: Reading,
) -> Option<Applied> {
    let Some(mutation) = mutation else { return unchanged(record, op, at) };
    if let Some(reply) = without_kernel(mutation, record, op, at) {
        return Some(Applied { reply, changed: false, event: None });
    }
    let original = record.clone();
    let (mut sent, mut reading) = (op.clone(), at);
    before(mutation, record, &mut sent, &mut reading);
    let mut applied = unchanged(record, &sent, reading)?;
    if applied.changed {
        after(mutation, &original, record, &mut applied, &at);
    } else {
        *record = original;
    }
    Some(applied)
}

/// The kernel refuses as such what no record could answer: here, a clock beyond the last token.
fn unchanged(record: &mut Record, op: &Op, at: Reading) -> Option<Applied> {
    let outcome = op.apply(record, at).ok()?;
    Some(Applied {
        reply: outcome.stamped.reply,
        changed: outcome.stamped.stamp.changed,
        event: outcome.event,
    })
}

/// Mutations that never reach the kernel.
fn without_kernel(mutation: Mutation, record: &Record, op: &Op, at: Reading) -> Option<Reply> {
    let current = Current { state: record.state, token: record.token };
    match (mutation, op) {
        (Mutation::ClaimNotRepeated, Op::Claim(claim)) if record.claim_id == Some(claim.claim_id) => {
            let (state, remaining) = (record.state, record.lease_until.since(at.now));
            Some(Reply::Claim(ClaimReply::InProgress { state, remaining }))
        }
        (Mutation::BeginNotRepeated, Op::Begin(_)) if record.state == State::Executing => {
            Some(Reply::Begin(BeginReply::Superseded(current)))
        }
        (Mutation::CompleteNotRepeated, Op::Complete(_)) if record.state == State::Completed => {
            Some(Reply::Complete(CompleteReply::Superseded(current)))
        }
        (Mutation::LapsedExecutionIsLost, Op::Heartbeat(_)) if record.is_uncertain(at.now) => {
            Some(Reply::Heartbeat(HeartbeatReply::Lost(LostReason::Lapsed)))
        }
        (Mutation::CancelWithoutTombstone, Op::Cancel(_)) if record.state == State::Free => {
            Some(Reply::Cancel(CancelReply::Cancelled))
        }
        (Mutation::FingerprintFirst, Op::Claim(claim)) => match (&record.fingerprint, &claim.fingerprint) {
            (Some(a), Some(b)) if a != b => Some(Reply::Claim(ClaimReply::FingerprintMismatch)),
            _ => None,
        },
        _ => None,
    }
}

/// A clock that leaves room for the last tokens.
const LAST_CLOCK: StoreTime = StoreTime::from_micros((1 << 53) - 4);

/// Mutations of the record, the request or the reading.
fn before(mutation: Mutation, r: &mut Record, op: &mut Op, at: &mut Reading) {
    let now = at.now.max(r.last_now);
    match (mutation, op) {
        (Mutation::ClaimTakesLapsedExecution, Op::Claim(c))
            if r.is_uncertain(now) && r.claim_id != Some(c.claim_id) =>
        {
            r.state = State::Claimed;
        }
        (Mutation::ClaimTakesLiveClaim, Op::Claim(c))
            if r.claim_id != Some(c.claim_id) && r.state == State::Claimed =>
        {
            r.lease_until = StoreTime::ZERO;
        }
        (Mutation::ClaimTakesReconciling, Op::Claim(_)) if r.state == State::Reconciling => {
            r.state = State::Free;
        }
        (Mutation::BoundIgnored, Op::Claim(_)) => {
            // As a store that cuts a token to the largest that it can keep.
            (r.token, r.last_now) = (Token::NONE, StoreTime::ZERO);
            at.now = at.now.min(LAST_CLOCK);
        }
        (Mutation::BoundIgnored, _) => at.now = at.now.min(LAST_CLOCK),
        (Mutation::CompleteOverwrites, Op::Complete(c))
            if r.state == State::Completed && r.matches(&c.grant) =>
        {
            r.state = State::Executing;
        }
        (Mutation::CompleteWithoutBegin, Op::Complete(_)) if r.state == State::Claimed => {
            r.state = State::Executing;
        }
        (Mutation::ReconcileCompleted, Op::Reconcile(_)) if r.state == State::Completed => {
            (r.state, r.lease_until) = (State::Executing, StoreTime::ZERO);
        }
        (Mutation::StealWithoutAsking, Op::Reconcile(c)) => c.steal = true,
        (Mutation::ClaimForgetsRetention, Op::Claim(_)) if r.state == State::Completed => {
            r.retention = Some(std::time::Duration::ZERO);
        }
        (Mutation::CompletedForgetsItsClaim, Op::Claim(_)) if r.state == State::Completed => {
            r.claim_id = None
        }
        (Mutation::ForgetClaimIds, _) => r.past_claims = PastClaims::default(),
        (Mutation::FingerprintIgnored, Op::Claim(c)) if r.fingerprint.is_some() => {
            c.fingerprint.clone_from(&r.fingerprint);
        }
        (Mutation::FloorIgnored, _) => at.floor = Token::NONE,
        (Mutation::HeartbeatPastHard, Op::Heartbeat(_)) => r.hard_until = StoreTime::from_micros(1 << 50),
        (Mutation::LapsedLeaseRevives, Op::Heartbeat(_)) => at.kind = Kind::Execution,
        (Mutation::ReleaseWithoutVouch, Op::Release(l)) => l.vouched = true,
        (Mutation::ResetBeforeHard, Op::ResetToClaimed(c)) => c.accept_overlap = true,
        (Mutation::ResetBeforeEffects, Op::ResetToClaimed(_)) => r.effects_until = r.hard_until,
        (Mutation::AbandonEndsEffects, Op::Abandon(a)) => a.late_effects = std::time::Duration::ZERO,
        (Mutation::HardDeadlineEndsEffects, Op::Claim(c)) => {
            let terms = sentinel_core::Terms::new(c.terms.ttl(), c.terms.hard_ttl());
            let at_once = terms.and_then(|terms| terms.with_late_effects(std::time::Duration::ZERO));
            c.terms = at_once.unwrap_or(c.terms);
        }
        (Mutation::LateBegin, Op::Begin(b)) if r.matches(&b.grant) => at.now = r.last_now,
        (Mutation::CompleteOnlyWhileLive, Op::Complete(c)) if r.is_uncertain(now) => {
            c.grant.token = Token::NONE;
        }
        (Mutation::ReconcileWithoutExpectation, Op::Reconcile(c)) => c.expect = r.token,
        (Mutation::ReconcileTheLiving, Op::Reconcile(c)) => c.even_if_alive = true,
        (Mutation::EvictWithoutExpectation, Op::Evict(e)) => e.expect = r.token,
        (Mutation::DecideWithoutToken, Op::ForceComplete(f)) => f.token = r.token,
        (Mutation::DecideWithoutToken, Op::ResetToClaimed(c)) => c.token = r.token,
        (Mutation::ForgetDecisions, _) => {
            r.decision.iter_mut().for_each(|d| d.op_id = OpId::from_bits(u128::MAX));
        }
        (Mutation::MatchByTokenOnly | Mutation::MatchByClaimIdOnly | Mutation::MatchNothing, op) => {
            mismatch(mutation, r, op);
        }
        _ => {}
    }
}

/// Presents another's grant as the record's own, where the weaker comparison would take it for that.
fn mismatch(mutation: Mutation, r: &Record, op: &mut Op) {
    let Some(holder) = r.claim_id else { return };
    let grant = match op {
        Op::Begin(Begin { grant })
        | Op::Heartbeat(Heartbeat { grant })
        | Op::Complete(Complete { grant, .. })
        | Op::Release(Release { grant, .. })
        | Op::Abandon(Abandon { grant, .. }) => grant,
        _ => return,
    };
    match mutation {
        Mutation::MatchByTokenOnly => grant.claim_id = holder,
        Mutation::MatchByClaimIdOnly => grant.token = r.token,
        _ => (grant.token, grant.claim_id) = (r.token, holder),
    }
}

/// Mutations of what was written.
fn after(mutation: Mutation, original: &Record, r: &mut Record, applied: &mut Applied, at: &Reading) {
    match mutation {
        Mutation::CounterForTokens | Mutation::RowIgnored | Mutation::ClockIgnored
            if r.token != original.token =>
        {
            let (row, floor) = (original.token.get(), at.floor.get());
            let clock = at.now.max(original.last_now).as_micros();
            let below = match mutation {
                Mutation::RowIgnored => floor.max(clock),
                Mutation::ClockIgnored => row.max(floor),
                _ => row,
            };
            r.token = Token::from_stored(below + 1);
            replace_token(r.token, &mut applied.reply);
            applied.event.iter_mut().for_each(|event| event.token = r.token);
        }
        Mutation::FingerprintKept if original.fingerprint.is_some() => {
            r.fingerprint.clone_from(&original.fingerprint);
        }
        Mutation::ReleaseKeepsIncarnation if matches!(applied.reply, Reply::Release(_)) => {
            r.incarnation = original.incarnation;
        }
        Mutation::ResetDrawsIncarnation if matches!(applied.reply, Reply::ResetToClaimed(_)) => {
            r.incarnation = 0;
        }
        Mutation::RetentionKeepsIncarnation if original.state == State::Completed => {
            r.incarnation = original.incarnation;
            if let Reply::Claim(ClaimReply::Granted(granted)) = &mut applied.reply {
                granted.incarnation = original.incarnation;
            }
        }
        Mutation::ForgetClaimIds => r.past_claims = PastClaims::default(),
        Mutation::HeartbeatPastHard => r.hard_until = original.hard_until,
        Mutation::HeartbeatShortens if matches!(applied.reply, Reply::Heartbeat(_)) => {
            r.lease_until = at.now.max(original.last_now);
        }
        Mutation::PurgeAfterReset => r.after_reset = false,
        Mutation::SilentChange if matches!(applied.reply, Reply::Abandon(_)) => applied.event = None,
        _ => {}
    }
}

fn replace_token(token: Token, reply: &mut Reply) {
    match reply {
        Reply::Claim(ClaimReply::Granted(granted)) => granted.token = token,
        Reply::Reconcile(ReconcileReply::Taken { token: drawn, .. })
        | Reply::ResetToClaimed(ResetReply::Reset { token: drawn })
        | Reply::Evict(EvictReply::Evicted { token: drawn }) => *drawn = token,
        _ => {}
    }
}

/// What must be durable before this reply to an operation may be given (spec §3, barrier).
pub(crate) fn rests_on(kind: Kind, op: &Op, reply: &Reply) -> Option<Rests> {
    let lease = kind == Kind::Lease;
    match (op, reply) {
        (_, Reply::Claim(ClaimReply::Completed { .. })) => Some(Rests::Replay),
        (Op::Claim(_), Reply::Claim(ClaimReply::Granted(_))) if lease => Some(Rests::Lease),
        (Op::Claim(c), Reply::Claim(ClaimReply::Granted(granted))) => {
            let begun = c.phase == Phase::Executing || granted.state == State::Executing;
            begun.then_some(Rests::FusedClaim)
        }
        _ if !confirms(reply) => None,
        (Op::Begin(_), _) => Some(Rests::Begin),
        (Op::Heartbeat(_), _) => lease.then_some(Rests::LeaseHeartbeat),
        (Op::Complete(_), _) => Some(Rests::Result),
        (Op::Cancel(_), _) => Some(Rests::GivenBack),
        (Op::Release(release), _) => release.vouched.then_some(Rests::GivenBack),
        (Op::Claim(_) | Op::Abandon(_), _) => None,
        (Op::Reconcile(_) | Op::ForceComplete(_) | Op::ResetToClaimed(_) | Op::Evict(_), _) => {
            Some(Rests::Decision)
        }
    }
}

/// Whether a store answers before what the answer rests on is durable.
pub(crate) fn replies_early(mutation: Option<Mutation>, on: Rests, changed: bool) -> bool {
    match mutation {
        Some(Mutation::AnswerBeforeDurable) => true,
        Some(Mutation::RepeatWithoutBarrier) => !changed,
        Some(Mutation::Undurable(some)) => some == on,
        Some(Mutation::UndurableRepeat(some)) => some == on && !changed,
        _ => false,
    }
}

/// The claim id as the model numbers it.
pub(crate) fn number(id: ClaimId) -> u8 {
    u8::try_from(id.bits()).unwrap_or(u8::MAX)
}

/// Whether a reply confirms that the operation took effect, now or before.
pub(crate) fn confirms(reply: &Reply) -> bool {
    match reply {
        Reply::Claim(reply) => matches!(reply, ClaimReply::Granted(_)),
        Reply::Begin(reply) => matches!(reply, BeginReply::Begun(_)),
        Reply::Heartbeat(reply) => matches!(reply, HeartbeatReply::Kept { .. }),
        Reply::Complete(reply) => matches!(reply, CompleteReply::Recorded { .. }),
        Reply::Cancel(reply) => *reply == CancelReply::Cancelled,
        Reply::Release(reply) => *reply == ReleaseReply::Released,
        Reply::Abandon(reply) => *reply == AbandonReply::Abandoned,
        Reply::Reconcile(reply) => matches!(reply, ReconcileReply::Taken { .. }),
        Reply::ForceComplete(reply) => *reply == ForceCompleteReply::Completed,
        Reply::ResetToClaimed(reply) => matches!(reply, ResetReply::Reset { .. }),
        Reply::Evict(reply) => matches!(reply, EvictReply::Evicted { .. }),
    }
}

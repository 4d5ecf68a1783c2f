//! The store: the real kernel, told the truth or one lie.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Event, Kind, OpId, PastClaims, Record, State, StoreTime, Token};

use crate::setup::{Rests, Sabotage};

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) changed: bool,
    pub(crate) event: Option<Event>,
}

/// Applies an operation as a store under test would: through the kernel, with at most one lie before or after. None: the
/// store has no answer, and changed nothing.
pub(crate) fn apply(lie: Option<Sabotage>, record: &mut Record, op: &Op, at: Reading) -> Option<Applied> {
    let Some(lie) = lie else { return honest(record, op, at) };
    if let Some(reply) = alone(lie, record, op, at) {
        return Some(Applied { reply, changed: false, event: None });
    }
    let truth = record.clone();
    let (mut told, mut reading) = (op.clone(), at);
    before(lie, record, &mut told, &mut reading);
    let mut applied = honest(record, &told, reading)?;
    if applied.changed {
        after(lie, &truth, record, &mut applied, &at);
    } else {
        *record = truth;
    }
    Some(applied)
}

/// The kernel refuses as such what no record could answer: here, a clock beyond the last token.
fn honest(record: &mut Record, op: &Op, at: Reading) -> Option<Applied> {
    let outcome = op.apply(record, at).ok()?;
    Some(Applied {
        reply: outcome.stamped.reply,
        changed: outcome.stamped.stamp.changed,
        event: outcome.event,
    })
}

/// Lies that never reach the kernel.
fn alone(lie: Sabotage, record: &Record, op: &Op, at: Reading) -> Option<Reply> {
    let current = Current { state: record.state, token: record.token };
    match (lie, op) {
        (Sabotage::ClaimNotRepeated, Op::Claim(claim)) if record.claim_id == Some(claim.claim_id) => {
            let (state, remaining) = (record.state, record.lease_until.since(at.now));
            Some(Reply::Claim(ClaimReply::InProgress { state, remaining }))
        }
        (Sabotage::BeginNotRepeated, Op::Begin(_)) if record.state == State::Executing => {
            Some(Reply::Begin(BeginReply::Superseded(current)))
        }
        (Sabotage::CompleteNotRepeated, Op::Complete(_)) if record.state == State::Completed => {
            Some(Reply::Complete(CompleteReply::Superseded(current)))
        }
        (Sabotage::LapsedExecutionIsLost, Op::Heartbeat(_)) if record.is_uncertain(at.now) => {
            Some(Reply::Heartbeat(HeartbeatReply::Lost(LostReason::Lapsed)))
        }
        (Sabotage::CancelWithoutTombstone, Op::Cancel(_)) if record.state == State::Free => {
            Some(Reply::Cancel(CancelReply::Cancelled))
        }
        (Sabotage::FingerprintFirst, Op::Claim(claim)) if matches!((&record.fingerprint, &claim.fingerprint), (Some(a), Some(b)) if a != b) => {
            Some(Reply::Claim(ClaimReply::FingerprintMismatch))
        }
        _ => None,
    }
}

/// A clock that leaves room for the last tokens.
const BRINK: StoreTime = StoreTime::from_micros((1 << 53) - 4);

/// Lies about the record, the request or the reading.
fn before(lie: Sabotage, r: &mut Record, op: &mut Op, at: &mut Reading) {
    let now = at.now.max(r.last_now);
    match (lie, op) {
        (Sabotage::ClaimTakesLapsedExecution, Op::Claim(c))
            if r.is_uncertain(now) && r.claim_id != Some(c.claim_id) =>
        {
            r.state = State::Claimed;
        }
        (Sabotage::ClaimTakesLiveClaim, Op::Claim(c))
            if r.claim_id != Some(c.claim_id) && r.state == State::Claimed =>
        {
            r.lease_until = StoreTime::ZERO;
        }
        (Sabotage::ClaimTakesReconciling, Op::Claim(_)) if r.state == State::Reconciling => {
            r.state = State::Free;
        }
        (Sabotage::BoundIgnored, Op::Claim(_)) => {
            // As a store that cuts a token to the largest that it can keep.
            (r.token, r.last_now) = (Token::NONE, StoreTime::ZERO);
            at.now = at.now.min(BRINK);
        }
        (Sabotage::BoundIgnored, _) => at.now = at.now.min(BRINK),
        (Sabotage::CompleteOverwrites, Op::Complete(c))
            if r.state == State::Completed && r.matches(&c.grant) =>
        {
            r.state = State::Executing;
        }
        (Sabotage::CompleteWithoutBegin, Op::Complete(_)) if r.state == State::Claimed => {
            r.state = State::Executing;
        }
        (Sabotage::ReconcileCompleted, Op::Reconcile(_)) if r.state == State::Completed => {
            (r.state, r.lease_until) = (State::Executing, StoreTime::ZERO);
        }
        (Sabotage::StealWithoutWish, Op::Reconcile(c)) => c.steal = true,
        (Sabotage::ClaimForgetsRetention, Op::Claim(_)) if r.state == State::Completed => {
            r.retention = Some(std::time::Duration::ZERO);
        }
        (Sabotage::CompletedForgetsItsClaim, Op::Claim(_)) if r.state == State::Completed => {
            r.claim_id = None
        }
        (Sabotage::ForgetClaimIds, _) => r.past_claims = PastClaims::default(),
        (Sabotage::FingerprintIgnored, Op::Claim(c)) if r.fingerprint.is_some() => {
            c.fingerprint.clone_from(&r.fingerprint);
        }
        (Sabotage::FloorIgnored, _) => at.floor = Token::NONE,
        (Sabotage::HeartbeatPastHard, Op::Heartbeat(_)) => r.hard_until = StoreTime::from_micros(1 << 50),
        (Sabotage::LapsedLeaseRevives, Op::Heartbeat(_)) => at.kind = Kind::Execution,
        (Sabotage::ReleaseWithoutVouch, Op::Release(l)) => l.vouched = true,
        (Sabotage::ResetBeforeHard, Op::ResetToClaimed(c)) => c.accept_overlap = true,
        (Sabotage::ResetBeforeEffects, Op::ResetToClaimed(_)) => r.effects_until = r.hard_until,
        (Sabotage::AbandonEndsEffects, Op::Abandon(a)) => a.late_effects = std::time::Duration::ZERO,
        (Sabotage::HardDeadlineEndsEffects, Op::Claim(c)) => {
            let terms = sentinel_core::Terms::new(c.terms.ttl(), c.terms.hard_ttl());
            let at_once = terms.and_then(|terms| terms.with_late_effects(std::time::Duration::ZERO));
            c.terms = at_once.unwrap_or(c.terms);
        }
        (Sabotage::LateBegin, Op::Begin(b)) if r.matches(&b.grant) => at.now = r.last_now,
        (Sabotage::CompleteOnlyWhileLive, Op::Complete(c)) if r.is_uncertain(now) => {
            c.grant.token = Token::NONE;
        }
        (Sabotage::ReconcileWithoutExpectation, Op::Reconcile(c)) => c.expect = r.token,
        (Sabotage::ReconcileTheLiving, Op::Reconcile(c)) => c.even_if_alive = true,
        (Sabotage::EvictWithoutExpectation, Op::Evict(e)) => e.expect = r.token,
        (Sabotage::DecideWithoutToken, Op::ForceComplete(f)) => f.token = r.token,
        (Sabotage::DecideWithoutToken, Op::ResetToClaimed(c)) => c.token = r.token,
        (Sabotage::ForgetDecisions, _) => {
            r.decision.iter_mut().for_each(|d| d.op_id = OpId::from_bits(u128::MAX));
        }
        (Sabotage::MatchByTokenOnly | Sabotage::MatchByClaimIdOnly | Sabotage::MatchNothing, op) => {
            mismatch(lie, r, op);
        }
        _ => {}
    }
}

/// Presents another's grant as the record's own, where the weaker comparison would take it for that.
fn mismatch(lie: Sabotage, r: &Record, op: &mut Op) {
    let Some(holder) = r.claim_id else { return };
    let grant = match op {
        Op::Begin(Begin { grant })
        | Op::Heartbeat(Heartbeat { grant })
        | Op::Complete(Complete { grant, .. })
        | Op::Release(Release { grant, .. })
        | Op::Abandon(Abandon { grant, .. }) => grant,
        _ => return,
    };
    match lie {
        Sabotage::MatchByTokenOnly => grant.claim_id = holder,
        Sabotage::MatchByClaimIdOnly => grant.token = r.token,
        _ => (grant.token, grant.claim_id) = (r.token, holder),
    }
}

/// Lies about what was written.
fn after(lie: Sabotage, truth: &Record, r: &mut Record, applied: &mut Applied, at: &Reading) {
    match lie {
        Sabotage::CounterForTokens | Sabotage::RowIgnored | Sabotage::ClockIgnored
            if r.token != truth.token =>
        {
            let (row, floor) = (truth.token.get(), at.floor.get());
            let clock = at.now.max(truth.last_now).as_micros();
            let below = match lie {
                Sabotage::RowIgnored => floor.max(clock),
                Sabotage::ClockIgnored => row.max(floor),
                _ => row,
            };
            r.token = Token::from_stored(below + 1);
            retell(r.token, &mut applied.reply);
            applied.event.iter_mut().for_each(|event| event.token = r.token);
        }
        Sabotage::FingerprintKept if truth.fingerprint.is_some() => {
            r.fingerprint.clone_from(&truth.fingerprint);
        }
        Sabotage::ReleaseKeepsIncarnation if matches!(applied.reply, Reply::Release(_)) => {
            r.incarnation = truth.incarnation;
        }
        Sabotage::ResetDrawsIncarnation if matches!(applied.reply, Reply::ResetToClaimed(_)) => {
            r.incarnation = 0;
        }
        Sabotage::RetentionKeepsIncarnation if truth.state == State::Completed => {
            r.incarnation = truth.incarnation;
            if let Reply::Claim(ClaimReply::Granted(granted)) = &mut applied.reply {
                granted.incarnation = truth.incarnation;
            }
        }
        Sabotage::ForgetClaimIds => r.past_claims = PastClaims::default(),
        Sabotage::HeartbeatPastHard => r.hard_until = truth.hard_until,
        Sabotage::HeartbeatShortens if matches!(applied.reply, Reply::Heartbeat(_)) => {
            r.lease_until = at.now.max(truth.last_now);
        }
        Sabotage::PurgeAfterReset => r.after_reset = false,
        Sabotage::SilentChange if matches!(applied.reply, Reply::Abandon(_)) => applied.event = None,
        _ => {}
    }
}

fn retell(token: Token, reply: &mut Reply) {
    match reply {
        Reply::Claim(ClaimReply::Granted(granted)) => granted.token = token,
        Reply::Reconcile(ReconcileReply::Taken { token: told, .. })
        | Reply::ResetToClaimed(ResetReply::Reset { token: told })
        | Reply::Evict(EvictReply::Evicted { token: told }) => *told = token,
        _ => {}
    }
}

/// What must be durable before this reply to an operation may be given (SPEC section 3, "barrier").
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
pub(crate) fn hurries(lie: Option<Sabotage>, on: Rests, changed: bool) -> bool {
    match lie {
        Some(Sabotage::AnswerBeforeDurable) => true,
        Some(Sabotage::RepeatWithoutBarrier) => !changed,
        Some(Sabotage::Undurable(some)) => some == on,
        Some(Sabotage::UndurableRepeat(some)) => some == on && !changed,
        _ => false,
    }
}

/// The claim id as the model numbers it.
pub(crate) fn number(id: ClaimId) -> u8 {
    u8::try_from(id.bits()).unwrap_or(u8::MAX)
}

/// Whether a reply says that the operation took effect, now or before.
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

//! The store: the real kernel, told the truth or one lie.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Event, Kind, OpId, PastClaims, Record, State, StoreTime, Token};

use crate::coverage::confirms;
use crate::setup::Sabotage;

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) changed: bool,
    pub(crate) event: Option<Event>,
}

/// Applies an operation as a store under test would: through the kernel, with at most one lie before or after.
pub(crate) fn apply(lie: Option<Sabotage>, record: &mut Record, op: &Op, at: Reading) -> Applied {
    let Some(lie) = lie else { return honest(record, op, at) };
    if let Some(reply) = alone(lie, record, op) {
        return Applied { reply, changed: false, event: None };
    }
    let truth = record.clone();
    let (mut told, mut reading) = (op.clone(), at);
    before(lie, record, &mut told, &mut reading);
    let mut applied = honest(record, &told, reading);
    if applied.changed {
        after(lie, &truth, record, &mut applied, &at);
    } else {
        *record = truth;
    }
    applied
}

fn honest(record: &mut Record, op: &Op, at: Reading) -> Applied {
    let outcome = op.apply(record, at).expect("the model asks only what its kind of record knows");
    Applied { reply: outcome.stamped.reply, changed: outcome.stamped.stamp.changed, event: outcome.event }
}

/// Lies that never reach the kernel.
fn alone(lie: Sabotage, record: &Record, op: &Op) -> Option<Reply> {
    match (lie, op) {
        (Sabotage::CancelWithoutTombstone, Op::Cancel(_)) if record.state == State::Free => {
            Some(Reply::Cancel(CancelReply::Cancelled))
        }
        (Sabotage::FingerprintFirst, Op::Claim(claim)) if matches!((&record.fingerprint, &claim.fingerprint), (Some(a), Some(b)) if a != b) => {
            Some(Reply::Claim(ClaimReply::FingerprintMismatch))
        }
        _ => None,
    }
}

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
        Sabotage::CounterForTokens if r.token != truth.token => {
            r.token = Token::from_stored(truth.token.get() + 1);
            retell(r.token, &mut applied.reply);
            applied.event.iter_mut().for_each(|event| event.token = r.token);
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

/// Whether the reply to an operation may be given only once what it rests on is durable (SPEC section 3, "barrier").
pub(crate) fn needs_barrier(kind: Kind, op: &Op, reply: &Reply) -> bool {
    match (op, reply) {
        (_, Reply::Claim(ClaimReply::Completed { .. })) => true,
        (Op::Claim(c), Reply::Claim(ClaimReply::Granted(granted))) => {
            kind == Kind::Lease || c.phase == Phase::Executing || granted.state == State::Executing
        }
        (Op::Heartbeat(_), _) => kind == Kind::Lease && confirms(reply),
        (Op::Release(release), _) => release.vouched && confirms(reply),
        (Op::Abandon(_), _) => false,
        _ => confirms(reply),
    }
}

/// The claim id as the model numbers it.
pub(crate) fn number(id: ClaimId) -> u8 {
    u8::try_from(id.bits()).unwrap_or(u8::MAX)
}

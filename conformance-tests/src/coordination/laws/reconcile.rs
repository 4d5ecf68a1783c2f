//! Spec §3, reconcile.

use sentinel_core::operation::*;
use sentinel_core::{DecisionKind, OpId, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Uncertain, and the token seen is current: reconciling, under a new token; the old holder is fenced out.
pub(crate) async fn an_operator_takes_an_uncertain_key(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let lost = key.begun(&ann).await;
    let run = key.record().await;
    context.advance(TTL).await;
    let decision = reconcile("olga", lost.token);
    let reply = key.reconcile(&decision).await;
    let now = reply.stamp.now;
    let expected = ReconcileReply::Taken {
        token: reply.stamp.token,
        since: now,
        effects_until: run.effects_until,
        begun_at: run.begun_at,
        worker: Some(label("ann")),
    };
    assert_eq!(reply.reply, expected);
    assert!(reply.stamp.token > lost.token && reply.stamp.changed);
    let record = key.record().await;
    assert_eq!((record.state, record.claim_id), (State::Reconciling, None));
    assert!(record.past_claims.contains(ann.claim_id));
}

/// The decision is kept: op id, kind, tokens, who, why and when.
pub(crate) async fn a_decision_is_recorded_in_full(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let asked = reconcile("olga", doubt.token);
    let stamp = key.reconcile(&asked).await.stamp;
    let decision = key.record().await.decision.expect("a decision");
    assert_eq!((decision.op_id, decision.kind), (asked.op_id, DecisionKind::Reconcile));
    assert_eq!((decision.token, decision.presented), (stamp.token, doubt.token));
    assert_eq!((decision.operator, decision.reason), (asked.operator, asked.reason));
    assert_eq!((decision.digest, decision.at), (None, stamp.now));
}

/// Executing and live: the reply has the end of the lease, unless the operator asks for a live execution.
pub(crate) async fn a_live_execution_is_taken_only_if_the_operator_asks_for_it(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let before = key.record().await;
    let polite = reconcile("olga", grant.token);
    expect_reply!(key.reconcile(&polite).await, ReconcileReply::StillAlive { until } if until == before.lease_until);
    let stealing = Reconcile { steal: true, ..polite.clone() };
    expect_reply!(key.reconcile(&stealing).await, ReconcileReply::StillAlive { .. });
    key.assert_untouched_since(&before).await;
    key.taken(&Reconcile { even_if_alive: true, ..polite }).await;
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
}

/// A live execution that was taken keeps its hard deadline: until then it may be running.
pub(crate) async fn a_taken_run_keeps_its_hard_deadline(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let hard = key.record().await.hard_until;
    key.taken(&Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) }).await;
    assert_eq!(key.record().await.hard_until, hard);
}

/// Another token than the one that is current: a late decision applies to nothing.
pub(crate) async fn a_decision_about_another_token_is_stale(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let before = key.record().await;
    let now = Current { state: State::Executing, token: doubt.token };
    for wrong in [doubt.token.get() - 1, doubt.token.get() + 1] {
        let decision = reconcile("olga", sentinel_core::Token::from_stored(wrong));
        let decision = Reconcile { even_if_alive: true, steal: true, ..decision };
        expect_reply!(key.reconcile(&decision).await, ReconcileReply::StaleDecision(c) if c == now);
    }
    key.assert_untouched_since(&before).await;
}

/// The same op id as the last decision: the same token, even though the token seen is no longer current.
pub(crate) async fn a_repeated_reconcile_gets_the_same_token(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let decision = reconcile("olga", doubt.token);
    let first = key.reconcile(&decision).await.reply;
    context.advance(HARD).await;
    let before = key.record().await;
    let again = key.reconcile(&decision).await;
    assert!(!again.stamp.changed);
    assert_eq!(again.reply, first);
    key.assert_untouched_since(&before).await;
}

/// Another operator holds it: the reply has the operator and the time, unless the request steals it.
pub(crate) async fn a_reconciling_key_is_taken_only_by_stealing(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let olga = reconcile("olga", doubt.token);
    let held = key.reconcile(&olga).await.stamp;
    let omar = reconcile("omar", held.token);
    let expected = ReconcileReply::HeldBy { op_id: olga.op_id, operator: olga.operator, since: held.now };
    let before = key.record().await;
    assert_eq!(key.reconcile(&omar).await.reply, expected);
    assert_eq!(key.reconcile(&Reconcile { even_if_alive: true, ..omar.clone() }).await.reply, expected);
    key.assert_untouched_since(&before).await;
    assert!(key.taken(&Reconcile { steal: true, ..omar }).await > held.token);
}

/// Stealing fences the first operator out.
pub(crate) async fn stealing_fences_the_first_operator_out(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let first = key.taken(&reconcile("olga", doubt.token)).await;
    let second = key.taken(&Reconcile { steal: true, ..reconcile("omar", first) }).await;
    let before = key.record().await;
    let late = force("olga", first, &result("no"));
    expect_reply!(key.force_complete(&late).await, ForceCompleteReply::StaleDecision(c) if c.token == second);
    expect_reply!(key.reset_to_claimed(&reset("olga", first)).await, ResetReply::StaleDecision(_));
    key.assert_untouched_since(&before).await;
    expect_reply!(
        key.force_complete(&force("omar", second, &result("yes"))).await,
        ForceCompleteReply::Completed
    );
}

/// Stealing needs the current reconcile token.
pub(crate) async fn stealing_needs_the_current_token(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    key.taken(&reconcile("olga", doubt.token)).await;
    let blind = Reconcile { steal: true, ..reconcile("omar", doubt.token) };
    expect_reply!(key.reconcile(&blind).await, ReconcileReply::StaleDecision(_));
}

/// Completed: nothing is uncertain.
pub(crate) async fn a_completed_key_is_not_reconciled(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.completed(&call("ann"), &result("done")).await;
    let eager = Reconcile { even_if_alive: true, steal: true, ..reconcile("olga", grant.token) };
    let before = key.record().await;
    expect_reply!(key.reconcile(&eager).await, ReconcileReply::AlreadyCompleted);
    key.assert_untouched_since(&before).await;
}

/// Claimed and free, live or lapsed: nothing began.
pub(crate) async fn only_an_execution_is_reconciled(context: &LawContext) {
    let (claimed, free) = (context.execution("claimed"), context.execution("free"));
    let held = claimed.granted(&call("ann")).await;
    let freed = free.granted(&call("ann")).await;
    free.release(freed).await;
    for wait in [HALF, HARD] {
        context.advance(wait).await;
        for (key, grant, state) in [(&claimed, held, State::Claimed), (&free, freed, State::Free)] {
            let eager = Reconcile { even_if_alive: true, steal: true, ..reconcile("olga", grant.token) };
            expect_reply!(key.reconcile(&eager).await, ReconcileReply::NotExecuting(c) if c.state == state);
        }
    }
    assert_eq!(claimed.changes().await, ["claimed"]);
}

/// An op id identifies one decision: under another kind it is refused.
pub(crate) async fn an_op_id_identifies_one_decision(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let op_id = OpId::random();
    let token = key.taken(&Reconcile { op_id, ..reconcile("olga", doubt.token) }).await;
    let done = ForceComplete { op_id, ..force("olga", token, &result("yes")) };
    let reply = key.force_complete(&done).await;
    assert!(reply.stamp.changed, "a reconcile is not a force-complete, whatever its op id");
    let again = key.reconcile(&Reconcile { op_id, ..reconcile("olga", doubt.token) }).await;
    expect_reply!(again, ReconcileReply::StaleDecision(_));
}

/// The fingerprint and retention of the run are kept: a forced result has the retention of the claim.
pub(crate) async fn a_reconciling_key_keeps_fingerprint_and_retention(context: &LawContext) {
    let key = context.execution("k");
    let ann = Claim { fingerprint: about("a"), retention: Some(KEPT), ..call("ann") };
    let doubt = key.abandoned(&ann).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.force_complete(&force("olga", token, &result("yes"))).await;
    let record = key.record().await;
    assert_eq!((record.fingerprint, record.retention), (ann.fingerprint, Some(KEPT)));
    context.advance(KEPT).await;
    key.granted(&call("bob")).await;
}

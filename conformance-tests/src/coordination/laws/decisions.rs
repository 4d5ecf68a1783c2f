//! Spec §3, force_complete and reset_to_claimed.

use sentinel_core::operation::*;
use sentinel_core::{DecisionKind, OpId, State, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// A key that an operator holds, its run over; the reconcile token.
async fn held<'a>(context: &'a LawContext, name: &str) -> (Subject<'a>, Token) {
    let key = context.execution(name);
    let doubt = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    (key, token)
}

/// Reconciling, token matches: completed, marked as decided by the operator, and replayed from then on.
pub(crate) async fn a_forced_result_is_replayed(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let yes = force("olga", token, &result("receipt"));
    let reply = key.force_complete(&yes).await;
    let stamp = reply.stamp;
    expect_reply!(reply, ForceCompleteReply::Completed);
    assert_eq!((stamp.changed, stamp.state, stamp.token), (true, State::Completed, token));
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == yes.result);
    let record = key.record().await;
    assert_eq!((record.completed_at, record.claim_id), (Some(stamp.now), None));
    let decision = record.decision.expect("a decision");
    assert_eq!((decision.op_id, decision.kind), (yes.op_id, DecisionKind::ForceComplete));
    assert_eq!((decision.token, decision.presented), (token, token));
    assert_eq!((decision.digest, decision.operator), (Some(yes.result.digest()), yes.operator));
}

/// A force-complete need not wait for the hard deadline of the old run.
pub(crate) async fn a_forced_result_does_not_wait_for_the_hard_deadline(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let token = key.taken(&Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) }).await;
    expect_reply!(
        key.force_complete(&force("olga", token, &result("x"))).await,
        ForceCompleteReply::Completed
    );
}

/// Repeated, same op id, token and result: the same reply, now or late.
pub(crate) async fn a_repeated_force_complete_gets_the_same_reply(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let yes = force("olga", token, &result("receipt"));
    key.force_complete(&yes).await;
    context.advance(HARD).await;
    let before = key.record().await;
    let again = key.force_complete(&yes).await;
    assert!(!again.stamp.changed);
    expect_reply!(again, ForceCompleteReply::Completed);
    key.assert_untouched_since(&before).await;
}

/// The same decision with another result, token or op id is another decision, and comes too late.
pub(crate) async fn a_different_force_complete_is_stale(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let yes = force("olga", token, &result("receipt"));
    key.force_complete(&yes).await;
    let before = key.record().await;
    let others = [
        ForceComplete { result: result("another"), ..yes.clone() },
        ForceComplete { token: Token::from_stored(token.get() - 1), ..yes.clone() },
        ForceComplete { op_id: OpId::random(), ..yes.clone() },
    ];
    for other in others {
        let reply = key.force_complete(&other).await;
        expect_reply!(reply, ForceCompleteReply::StaleDecision(c) if c.state == State::Completed);
    }
    key.assert_untouched_since(&before).await;
}

/// Without the current reconcile token nothing is forced or reset: the record stays reconciling.
pub(crate) async fn a_decision_needs_the_reconcile_token(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let before = key.record().await;
    let now = Current { state: State::Reconciling, token };
    for wrong in [Token::from_stored(token.get() - 1), Token::from_stored(token.get() + 1), Token::NONE] {
        let no = force("eve", wrong, &result("no"));
        expect_reply!(key.force_complete(&no).await, ForceCompleteReply::StaleDecision(c) if c == now);
        let no = ResetToClaimed { accept_overlap: true, ..reset("eve", wrong) };
        expect_reply!(key.reset_to_claimed(&no).await, ResetReply::StaleDecision(c) if c == now);
    }
    key.assert_untouched_since(&before).await;
}

/// Only a reconciling record is decided: in every other state a decision is stale, even under the current token.
pub(crate) async fn only_a_reconciling_key_is_decided(context: &LawContext) {
    let keys = ["claimed", "running", "uncertain", "done", "free"].map(|name| context.execution(name));
    let tokens = [
        keys[0].granted(&call("ann")).await.token,
        keys[1].begun(&call("ann")).await.token,
        keys[2].abandoned(&call("ann")).await.token,
        keys[3].completed(&call("ann"), &result("done")).await.token,
        keys[4].granted(&call("ann")).await.token,
    ];
    let free =
        sentinel_core::Grant { token: tokens[4], claim_id: keys[4].record().await.claim_id.expect("one") };
    keys[4].release(free).await;
    for (key, token) in keys.iter().zip(tokens) {
        let before = key.record().await;
        let forced = key.force_complete(&force("olga", token, &result("x"))).await;
        expect_reply!(forced, ForceCompleteReply::StaleDecision(c) if c.state == before.state);
        let bold = ResetToClaimed { accept_overlap: true, ..reset("olga", token) };
        expect_reply!(key.reset_to_claimed(&bold).await, ResetReply::StaleDecision(c) if c.state == before.state);
        key.assert_untouched_since(&before).await;
    }
}

/// Reconciling, hard deadline passed: free, under a new token, claimable by anyone at once.
pub(crate) async fn a_reset_key_is_claimable_at_once(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let no = reset("olga", token);
    let reply = key.reset_to_claimed(&no).await;
    let stamp = reply.stamp;
    let drawn = expect_reply!(reply, ResetReply::Reset { token } => token);
    assert_eq!((stamp.changed, stamp.state, stamp.token), (true, State::Free, drawn));
    assert!(drawn > token);
    assert!(key.granted(&call("bob")).await.token > drawn);
}

/// A reset authorises one run, and no more.
pub(crate) async fn a_reset_authorises_one_run(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    key.reset_to_claimed(&reset("olga", token)).await;
    key.begun(&call("bob")).await;
    expect_reply!(key.claim(&call("eve")).await, ClaimReply::InProgress { .. });
    context.advance(HARD).await;
    expect_reply!(key.claim(&call("eve")).await, ClaimReply::Uncertain { .. });
}

/// The incarnation stays through a reset: to the provider it is the same attempt.
pub(crate) async fn a_reset_keeps_the_incarnation(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let first = key.record().await.incarnation;
    key.reset_to_claimed(&reset("olga", token)).await;
    assert!(key.record().await.after_reset);
    key.granted(&call("bob")).await;
    let record = key.record().await;
    assert_eq!((record.incarnation, record.after_reset), (first, true));
}

/// While an effect of the old run may still land a reset waits, unless the operator accepts that two runs overlap. A
/// run whose abandon never arrived is covered from its hard deadline on.
pub(crate) async fn a_reset_waits_until_effects_have_landed(context: &LawContext) {
    for accept_overlap in [false, true] {
        let key = context.execution(if accept_overlap { "bold" } else { "patient" });
        let terms = call("ann").terms.with_late_effects(LATE).expect("terms");
        let grant = key.begun(&Claim { terms, ..call("ann") }).await;
        context.advance(TTL).await;
        let token = key.taken(&reconcile("olga", grant.token)).await;
        let (before, no) = (key.record().await, reset("olga", token));
        let reply = key.reset_to_claimed(&no).await;
        assert_eq!(before.effects_until, before.hard_until.plus(LATE));
        expect_reply!(reply, ResetReply::EffectsMayLand { until } if until == before.effects_until);
        key.assert_untouched_since(&before).await;
        if !accept_overlap {
            context.advance(HARD).await;
            expect_reply!(key.reset_to_claimed(&no).await, ResetReply::EffectsMayLand { .. });
            context.advance(LATE).await;
        }
        let no = ResetToClaimed { accept_overlap, ..no };
        expect_reply!(key.reset_to_claimed(&no).await, ResetReply::Reset { .. });
    }
}

/// Repeated, same op id and token: the same reply, whatever the record has become since.
pub(crate) async fn a_repeated_reset_gets_the_same_reply(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let no = reset("olga", token);
    let first = key.reset_to_claimed(&no).await.reply;
    assert_eq!(key.reset_to_claimed(&no).await.reply, first);
    let grant = key.begun(&call("bob")).await;
    let before = key.record().await;
    let again = key.reset_to_claimed(&no).await;
    assert!(!again.stamp.changed);
    assert_eq!(again.reply, first);
    key.assert_untouched_since(&before).await;
    key.complete(grant, &result("done")).await;
    assert_eq!(key.reset_to_claimed(&no).await.reply, first);
}

/// A reset under another op id or token is another decision.
pub(crate) async fn a_different_reset_is_stale(context: &LawContext) {
    let (key, token) = held(context, "k").await;
    let no = reset("olga", token);
    key.reset_to_claimed(&no).await;
    let before = key.record().await;
    let others = [
        ResetToClaimed { op_id: OpId::random(), ..no.clone() },
        ResetToClaimed { token: Token::from_stored(token.get() - 1), ..no },
    ];
    for other in others {
        expect_reply!(key.reset_to_claimed(&other).await, ResetReply::StaleDecision(_));
    }
    key.assert_untouched_since(&before).await;
}

/// Once one decision is recorded, the other one is stale.
pub(crate) async fn a_decided_key_refuses_the_other_decision(context: &LawContext) {
    let (yes, token) = held(context, "yes").await;
    yes.force_complete(&force("olga", token, &result("x"))).await;
    let bold = ResetToClaimed { accept_overlap: true, ..reset("olga", token) };
    expect_reply!(yes.reset_to_claimed(&bold).await, ResetReply::StaleDecision(_));
    expect_reply!(yes.claim(&call("bob")).await, ClaimReply::Completed { .. });
    let (no, token) = held(context, "no").await;
    no.reset_to_claimed(&reset("olga", token)).await;
    let late = force("olga", token, &result("x"));
    expect_reply!(no.force_complete(&late).await, ForceCompleteReply::StaleDecision(_));
    no.granted(&call("bob")).await;
}

/// A forced result is final: the worker who comes late cannot replace it, nor can another operator.
pub(crate) async fn a_forced_result_is_final(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.force_complete(&force("olga", token, &result("forced"))).await;
    expect_reply!(key.complete(doubt, &result("late")).await, CompleteReply::Superseded(_));
    expect_reply!(key.vouch(doubt).await, ReleaseReply::Superseded(_));
    let omar = Reconcile { steal: true, ..reconcile("omar", token) };
    expect_reply!(key.reconcile(&omar).await, ReconcileReply::AlreadyCompleted);
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == result("forced"));
}

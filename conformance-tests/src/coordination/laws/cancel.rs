//! Spec §3, cancel.

use sentinel_core::operation::*;
use sentinel_core::{ClaimId, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Claimed under this claim id: free, and the id is remembered.
pub(crate) async fn a_claim_is_cancelled(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = call("ann");
        key.granted(&ann).await;
        let reply = key.cancel(ann.claim_id).await;
        assert!(reply.stamp.changed);
        expect_reply!(reply, CancelReply::Cancelled);
        let record = key.record().await;
        assert_eq!((record.state, record.claim_id), (State::Free, None));
        assert!(record.past_claims.contains(ann.claim_id));
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
    }
}

/// Executing under this claim id: free. Only the call that will not run sends it.
pub(crate) async fn an_execution_that_will_not_run_is_cancelled(context: &LawContext) {
    for ann in [call("ann"), fused("ann")] {
        let key = context.execution(if ann.phase == Phase::Executing { "fused" } else { "two steps" });
        key.begun(&ann).await;
        expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
        key.granted(&call("bob")).await;
    }
}

/// A lapsed claim and a lapsed execution are cancelled too: the key is then no longer uncertain.
pub(crate) async fn a_lapsed_run_is_cancelled(context: &LawContext) {
    let (key, ann) = (context.execution("k"), fused("ann"));
    key.granted(&ann).await;
    context.advance(HARD).await;
    expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
    key.granted(&call("bob")).await;
}

/// On an absent address a tombstone remembers the id, so that the claim is refused if it comes later.
pub(crate) async fn a_claim_that_arrives_after_its_cancel_is_refused(context: &LawContext) {
    for (key, ann) in [(context.execution("k"), fused("ann")), (context.lease("k"), call("ann"))] {
        let reply = key.cancel(ann.claim_id).await;
        assert_eq!((reply.stamp.changed, reply.stamp.rev, reply.stamp.state), (true, 1, State::Free));
        expect_reply!(reply, CancelReply::Cancelled);
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        key.granted(&call("bob")).await;
    }
}

/// On a free address the id joins those that are remembered.
pub(crate) async fn a_cancel_on_a_free_key_is_remembered(context: &LawContext) {
    let (key, ann, bob) = (context.execution("k"), call("ann"), call("bob"));
    key.cancel(ann.claim_id).await;
    expect_reply!(key.cancel(bob.claim_id).await, CancelReply::Cancelled);
    for refused in [ann, bob] {
        expect_reply!(key.claim(&refused).await, ClaimReply::AlreadyReleased);
    }
}

/// Repeated: the same reply, and nothing changes; after another's claim too.
pub(crate) async fn a_repeated_cancel_gets_the_same_reply(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    key.granted(&ann).await;
    key.cancel(ann.claim_id).await;
    let before = key.record().await;
    expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
    key.assert_untouched_since(&before).await;
    key.begun(&call("bob")).await;
    let before = key.record().await;
    expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
    key.assert_untouched_since(&before).await;
}

/// A late cancel does not change the claim, the execution or the uncertain key of another call.
pub(crate) async fn a_cancel_does_not_change_another_call(context: &LawContext) {
    let (claimed, running, held) = (context.execution("a"), context.execution("b"), context.execution("c"));
    claimed.granted(&call("ann")).await;
    running.begun(&call("ann")).await;
    let doubt = held.abandoned(&call("ann")).await;
    held.taken(&reconcile("olga", doubt.token)).await;
    for key in [claimed, running, held] {
        let before = key.record().await;
        let now = Current { state: before.state, token: before.token };
        expect_reply!(key.cancel(ClaimId::random()).await, CancelReply::Untouched(current) if current == now);
        key.assert_untouched_since(&before).await;
    }
}

/// Completed stays completed, whichever call cancels: its own call too.
pub(crate) async fn a_cancel_never_erases_a_result(context: &LawContext) {
    let (key, ann) = (context.execution("k"), fused("ann"));
    let grant = key.granted(&ann).await;
    key.complete(grant, &result("receipt")).await;
    let before = key.record().await;
    for id in [ann.claim_id, ClaimId::random()] {
        expect_reply!(key.cancel(id).await, CancelReply::Untouched(current) if current.state == State::Completed);
    }
    key.assert_untouched_since(&before).await;
}

/// The cancel of a call that an operator fenced out is confirmed; the operator keeps the key.
pub(crate) async fn a_cancel_does_not_end_a_reconciliation(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let doubt = key.abandoned(&ann).await;
    key.taken(&reconcile("olga", doubt.token)).await;
    let before = key.record().await;
    expect_reply!(key.cancel(ann.claim_id).await, CancelReply::Cancelled);
    key.assert_untouched_since(&before).await;
}

/// A cancel keeps the token: the next grant has a larger one.
pub(crate) async fn a_cancel_keeps_the_token(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let grant = key.granted(&ann).await;
    assert_eq!(key.cancel(ann.claim_id).await.stamp.token, grant.token);
    assert!(key.granted(&call("bob")).await.token > grant.token);
}

/// A cancelled attempt keeps its incarnation: the provider's key stays the same.
pub(crate) async fn a_cancel_keeps_the_incarnation(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    key.granted(&ann).await;
    let first = key.record().await.incarnation;
    key.cancel(ann.claim_id).await;
    key.granted(&call("bob")).await;
    assert_eq!(key.record().await.incarnation, first);
}

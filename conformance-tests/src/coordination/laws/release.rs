//! Spec §3, release.

use sentinel_core::State;
use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Claimed, match: free, and any call may claim at once.
pub(crate) async fn a_claim_is_released(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let grant = key.granted(&call("ann")).await;
        let reply = key.release(grant).await;
        assert_eq!((reply.stamp.changed, reply.stamp.state), (true, State::Free));
        assert_eq!(reply.stamp.token, grant.token, "a release keeps the token");
        expect_reply!(reply, ReleaseReply::Released);
        key.granted(&call("bob")).await;
    }
}

/// A tombstone keeps the token, the past claim ids and the incarnation, and nothing of the run.
pub(crate) async fn a_tombstone_keeps_token_claim_ids_and_incarnation(context: &LawContext) {
    let key = context.execution("k");
    let ann = Claim { fingerprint: about("a"), retention: Some(KEPT), ..call("ann") };
    let grant = key.granted(&ann).await;
    let held = key.record().await;
    key.release(grant).await;
    let free = key.record().await;
    assert_eq!((free.token, free.incarnation), (held.token, held.incarnation));
    assert!(free.past_claims.contains(ann.claim_id));
    assert_eq!((free.claim_id, free.worker, free.terms, free.retention), (None, None, None, None));
    assert_eq!((free.fingerprint, free.result, free.claimed_at, free.begun_at), (None, None, None, None));
    assert_eq!((free.lease_until.as_micros(), free.hard_until.as_micros()), (0, 0));
}

/// A lapsed claim is released as well.
pub(crate) async fn a_lapsed_claim_is_released(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let grant = key.granted(&call("ann")).await;
        context.advance(HARD).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
    }
}

/// Executing, and the caller vouches that nothing happened: free.
pub(crate) async fn a_vouched_execution_is_released(context: &LawContext) {
    for wait in [HALF, HARD] {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.begun(&call("ann")).await;
        context.advance(wait).await;
        expect_reply!(key.vouch(grant).await, ReleaseReply::Released);
        key.granted(&call("bob")).await;
    }
}

/// A vouched release ends the incarnation: the next attempt is a new one to the provider.
pub(crate) async fn a_vouched_release_ends_the_incarnation(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let first = key.record().await.incarnation;
    key.vouch(grant).await;
    key.granted(&call("bob")).await;
    assert!(key.record().await.incarnation > first);
}

/// A release before the begin does not: the provider received nothing.
pub(crate) async fn a_release_before_the_begin_keeps_the_incarnation(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let first = key.record().await.incarnation;
    key.vouch(grant).await;
    key.granted(&call("bob")).await;
    assert_eq!(key.record().await.incarnation, first);
}

/// Executing without the vouch: it may have run; live or lapsed.
pub(crate) async fn an_execution_is_not_released_without_vouching(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    for _ in 0..2 {
        let before = key.record().await;
        expect_reply!(key.release(grant).await, ReleaseReply::MayHaveRun);
        key.assert_untouched_since(&before).await;
        context.advance(HARD).await;
    }
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
}

/// Free, match: the same reply; nothing changes.
pub(crate) async fn a_repeated_release_gets_the_same_reply(context: &LawContext) {
    let (claimed, begun) = (context.execution("claimed"), context.execution("begun"));
    let grant = claimed.granted(&call("ann")).await;
    claimed.release(grant).await;
    let before = claimed.record().await;
    expect_reply!(claimed.release(grant).await, ReleaseReply::Released);
    claimed.assert_untouched_since(&before).await;
    let grant = begun.begun(&call("ann")).await;
    begun.vouch(grant).await;
    let before = begun.record().await;
    expect_reply!(begun.vouch(grant).await, ReleaseReply::Released);
    begun.assert_untouched_since(&before).await;
}

/// A late release does not touch the run after it.
pub(crate) async fn a_late_release_does_not_change_the_next_run(context: &LawContext) {
    let key = context.execution("k");
    let first = key.granted(&call("ann")).await;
    key.release(first).await;
    let next = key.begun(&call("bob")).await;
    let before = key.record().await;
    let now = Current { state: State::Executing, token: next.token };
    expect_reply!(key.release(first).await, ReleaseReply::Superseded(current) if current == now);
    expect_reply!(key.vouch(first).await, ReleaseReply::Superseded(current) if current == now);
    key.assert_untouched_since(&before).await;
}

/// Token and claim id must both be the record's.
pub(crate) async fn another_grant_releases_nothing(context: &LawContext) {
    let (claimed, begun, lease) =
        (context.execution("claimed"), context.execution("begun"), context.lease("k"));
    let held = [
        (claimed.granted(&call("a")).await, claimed),
        (begun.begun(&call("b")).await, begun),
        (lease.granted(&call("c")).await, lease),
    ];
    for (grant, key) in held {
        let before = key.record().await;
        for wrong in [other_id(grant), older(grant)] {
            expect_reply!(key.release(wrong).await, ReleaseReply::Superseded(_));
            expect_reply!(key.vouch(wrong).await, ReleaseReply::Superseded(_));
        }
        key.assert_untouched_since(&before).await;
    }
}

/// On a tombstone, only the release of the grant that ended there is confirmed.
pub(crate) async fn a_tombstone_confirms_only_its_own_release(context: &LawContext) {
    let key = context.execution("k");
    let (ann, bob) = (key.granted(&call("ann")).await, call("bob"));
    key.release(ann).await;
    let second = key.granted(&bob).await;
    key.release(second).await;
    expect_reply!(key.release(ann).await, ReleaseReply::Superseded(current) if current.state == State::Free);
    expect_reply!(key.release(other_id(second)).await, ReleaseReply::Superseded(_));
    expect_reply!(key.release(second).await, ReleaseReply::Released);
    expect_reply!(context.execution("absent").release(second).await, ReleaseReply::Superseded(_));
}

/// Completed and reconciling records are not released, vouched or not.
pub(crate) async fn a_release_never_erases_a_result_or_a_reconciliation(context: &LawContext) {
    let (done, held) = (context.execution("done"), context.execution("held"));
    let completed = done.completed(&call("ann"), &result("receipt")).await;
    let doubt = held.abandoned(&call("ann")).await;
    held.taken(&reconcile("olga", doubt.token)).await;
    for (key, grant) in [(done, completed), (held, doubt)] {
        let before = key.record().await;
        expect_reply!(key.release(grant).await, ReleaseReply::Superseded(_));
        expect_reply!(key.vouch(grant).await, ReleaseReply::Superseded(_));
        key.assert_untouched_since(&before).await;
    }
}

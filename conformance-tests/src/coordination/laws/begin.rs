//! Spec §3, begin.

use sentinel_core::State;
use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Claimed, match, live, within hard: executing; the terms of the grant are kept.
pub(crate) async fn a_live_claim_begins(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let claimed = key.record().await;
    context.advance(HALF).await;
    let reply = key.begin(grant).await;
    let now = reply.stamp.now;
    let granted = expect_reply!(reply, BeginReply::Begun(granted) => granted);
    assert_eq!((granted.token, granted.state), (grant.token, State::Executing));
    let record = key.record().await;
    assert_eq!((record.state, record.begun_at), (State::Executing, Some(now)));
    let got = (granted.lease_until, granted.hard_until, granted.incarnation);
    assert_eq!(
        got,
        (claimed.lease_until, claimed.hard_until, claimed.incarnation),
        "a begin extends nothing"
    );
    assert_eq!((record.lease_until, record.hard_until), (claimed.lease_until, claimed.hard_until));
}

/// Executing, match, live: the same reply; nothing changes.
pub(crate) async fn a_repeated_begin_gets_the_same_reply(context: &LawContext) {
    for ann in [call("ann"), fused("ann")] {
        let key = context.execution(if ann.phase == Phase::Executing { "fused" } else { "two steps" });
        let grant = key.granted(&ann).await;
        let first = key.begin(grant).await.reply;
        context.advance(HALF).await;
        let before = key.record().await;
        assert_eq!(key.begin(grant).await.reply, first);
        key.assert_untouched_since(&before).await;
    }
}

/// A claim that lapsed does not begin, even if no other call took it over.
pub(crate) async fn a_lapsed_claim_is_not_begun(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    context.advance(TTL).await;
    let before = key.record().await;
    expect_reply!(key.begin(grant).await, BeginReply::Expired);
    key.assert_untouched_since(&before).await;
}

/// A begin that is repeated after the lease lapsed authorises nothing.
pub(crate) async fn a_lapsed_execution_is_not_begun_again(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    context.advance(TTL).await;
    let before = key.record().await;
    expect_reply!(key.begin(grant).await, BeginReply::Expired);
    key.assert_untouched_since(&before).await;
}

/// A claim that was taken over does not begin for its earlier holder.
pub(crate) async fn a_taken_over_claim_is_not_begun(context: &LawContext) {
    let key = context.execution("k");
    let lost = key.granted(&call("ann")).await;
    context.advance(TTL).await;
    let won = key.granted(&call("bob")).await;
    let before = key.record().await;
    let now = Current { state: State::Claimed, token: won.token };
    expect_reply!(key.begin(lost).await, BeginReply::Superseded(current) if current == now);
    key.assert_untouched_since(&before).await;
}

/// The right claim id under an older token is not the grant.
pub(crate) async fn an_older_token_does_not_begin(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let before = key.record().await;
    expect_reply!(key.begin(older(grant)).await, BeginReply::Superseded(_));
    key.assert_untouched_since(&before).await;
}

/// The right token under another claim id is not the grant.
pub(crate) async fn another_claim_id_does_not_begin(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let before = key.record().await;
    expect_reply!(key.begin(other_id(grant)).await, BeginReply::Superseded(_));
    key.assert_untouched_since(&before).await;
}

/// An execution does not begin for a second caller.
pub(crate) async fn an_execution_does_not_begin_for_another_call(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    expect_reply!(key.begin(other_id(grant)).await, BeginReply::Superseded(_));
    expect_reply!(key.begin(older(grant)).await, BeginReply::Superseded(_));
}

/// This grant completed it already: Completed.
pub(crate) async fn a_completed_execution_does_not_begin(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.completed(&call("ann"), &result("done")).await;
    let before = key.record().await;
    expect_reply!(key.begin(grant).await, BeginReply::Completed);
    expect_reply!(key.begin(other_id(grant)).await, BeginReply::Superseded(_));
    key.assert_untouched_since(&before).await;
}

/// Absent, free, reconciling: there is no claim that could begin.
pub(crate) async fn a_key_without_a_claim_does_not_begin(context: &LawContext) {
    let (absent, free, held) =
        (context.execution("absent"), context.execution("free"), context.execution("held"));
    let grant = free.granted(&call("ann")).await;
    expect_reply!(absent.begin(grant).await, BeginReply::Superseded(_));
    assert!(absent.record().await.is_absent());
    free.release(grant).await;
    expect_reply!(free.begin(grant).await, BeginReply::Superseded(current) if current.state == State::Free);
    let doubt = held.abandoned(&call("bob")).await;
    held.taken(&reconcile("olga", doubt.token)).await;
    expect_reply!(held.begin(doubt).await, BeginReply::Superseded(current) if current.state == State::Reconciling);
}

/// A begin of a lease is an error before anything is sent.
pub(crate) async fn a_begin_of_a_lease_is_an_error(context: &LawContext) {
    let lease = context.lease("k");
    let grant = lease.granted(&call("ann")).await;
    let before = lease.record().await;
    let error =
        context.store().begin(&lease.address, &Begin { grant }).await.expect_err("an invalid request");
    assert_eq!(error.applied(), sentinel_core::Applied::No);
    lease.assert_untouched_since(&before).await;
}

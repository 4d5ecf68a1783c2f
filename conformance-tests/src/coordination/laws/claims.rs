//! Spec §3, claim.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{PastClaims, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Absent: claimed, with a token, a lease of ttl and a hard deadline of hard ttl, measured from the store's reading.
pub(crate) async fn an_absent_key_is_granted(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = call("ann");
        let reply = key.claim(&ann).await;
        let stamp = reply.stamp;
        let granted = expect_reply!(reply, ClaimReply::Granted(granted) => granted);
        assert_eq!((granted.token, granted.state), (stamp.token, State::Claimed));
        assert_eq!(granted.lease_until, stamp.now.plus(TTL));
        assert_eq!(granted.hard_until, stamp.now.plus(HARD));
        assert_eq!((stamp.rev, stamp.state, stamp.changed), (1, State::Claimed, true));
    }
}

/// The record keeps all fields of the claim.
pub(crate) async fn a_grant_is_recorded_in_full(context: &LawContext) {
    let key = context.execution("k");
    let ann = Claim { fingerprint: about("invoice 42"), retention: Some(KEPT), ..call("ann") };
    let now = key.claim(&ann).await.stamp.now;
    let record = key.record().await;
    assert_eq!((record.state, record.claim_id), (State::Claimed, Some(ann.claim_id)));
    assert_eq!((record.terms, record.retention), (Some(ann.terms), Some(KEPT)));
    assert_eq!((record.fingerprint, record.worker), (ann.fingerprint, Some(ann.worker)));
    assert_eq!((record.claimed_at, record.last_now), (Some(now), now));
    assert_eq!((record.begun_at, record.completed_at, record.result), (None, None, None));
    assert_eq!(record.incarnation, record.token.get());
}

/// The fused form is executing at once.
pub(crate) async fn a_fused_claim_is_executing_at_once(context: &LawContext) {
    let (key, ann) = (context.execution("k"), fused("ann"));
    let reply = key.claim(&ann).await;
    let now = reply.stamp.now;
    let granted = expect_reply!(reply, ClaimReply::Granted(granted) => granted);
    assert_eq!(granted.state, State::Executing);
    let record = key.record().await;
    assert_eq!((record.state, record.begun_at), (State::Executing, Some(now)));
    assert_eq!(key.changes().await, ["claimed"], "one event, not two");
}

/// A tombstone is claimable at once, under a new token.
pub(crate) async fn a_free_key_is_granted(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let first = key.granted(&call("ann")).await;
        expect_reply!(key.release(first).await, ReleaseReply::Released);
        let second = key.granted(&call("bob")).await;
        assert!(first.token < second.token);
    }
}

/// Claimed, live, held by another call: in progress, with the state and the rest of the lease.
pub(crate) async fn a_live_claim_is_in_progress_to_others(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        key.granted(&call("ann")).await;
        context.advance(HALF).await;
        let before = key.record().await;
        let reply = key.claim(&call("bob")).await;
        let left = before.lease_until.since(reply.stamp.now);
        expect_reply!(reply, ClaimReply::InProgress { state: State::Claimed, remaining } if remaining == left);
        key.assert_untouched_since(&before).await;
    }
}

/// Executing, live, held by another call: in progress.
pub(crate) async fn a_live_execution_is_in_progress_to_others(context: &LawContext) {
    let key = context.execution("k");
    key.begun(&call("ann")).await;
    let before = key.record().await;
    let reply = key.claim(&call("bob")).await;
    let left = before.lease_until.since(reply.stamp.now);
    expect_reply!(reply, ClaimReply::InProgress { state: State::Executing, remaining } if remaining == left);
    key.assert_untouched_since(&before).await;
}

/// Claimed, lapsed, held by another call: taken over, with a new token and a new claim id.
pub(crate) async fn a_lapsed_claim_is_taken_over(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let (ann, bob) = (call("ann"), call("bob"));
        let lost = key.granted(&ann).await;
        context.advance(TTL).await;
        let won = key.granted(&bob).await;
        assert!(lost.token < won.token);
        let record = key.record().await;
        assert_eq!((record.claim_id, record.worker), (Some(bob.claim_id), Some(bob.worker)));
        assert!(record.past_claims.contains(ann.claim_id), "the old claim id is remembered");
    }
}

/// A take-over has its own lease and hard deadline.
pub(crate) async fn a_take_over_has_its_own_terms(context: &LawContext) {
    let key = context.execution("k");
    key.granted(&call("ann")).await;
    context.advance(HARD).await;
    let now = key.claim(&call("bob")).await.stamp.now;
    let record = key.record().await;
    assert_eq!((record.lease_until, record.hard_until), (now.plus(TTL), now.plus(HARD)));
}

/// Executing, lapsed, held by another call: a claim never changes the record, however often and however late it is
/// sent.
pub(crate) async fn a_lapsed_execution_is_never_taken_over(context: &LawContext) {
    for (key, ann) in
        [(context.execution("two steps"), call("ann")), (context.execution("fused"), fused("ann"))]
    {
        let grant = key.begun(&ann).await;
        for _ in 0..3 {
            context.advance(HARD * 10).await;
            let before = key.record().await;
            let reply = key.claim(&fused("bob")).await;
            assert!(!reply.stamp.changed);
            let (token, at, worker) = expect_reply!(reply,
                ClaimReply::Uncertain { token, begun_at, worker } => (token, begun_at, worker));
            assert_eq!((token, Some(at), worker), (grant.token, before.begun_at, Some(label("ann"))));
            key.assert_untouched_since(&before).await;
        }
    }
}

/// The same claim id, claimed or executing: the same grant and the rest of its lease; nothing changes.
pub(crate) async fn a_repeated_claim_gets_the_same_grant(context: &LawContext) {
    for (key, ann) in [
        (context.execution("k"), call("a")),
        (context.lease("k"), call("b")),
        (context.execution("l"), fused("c")),
    ] {
        let first = expect_reply!(key.claim(&ann).await, ClaimReply::Granted(granted) => granted);
        context.advance(HALF).await;
        let before = key.record().await;
        let reply = key.claim(&ann).await;
        assert!(!reply.stamp.changed);
        expect_reply!(reply, ClaimReply::Granted(granted) if granted == first);
        key.assert_untouched_since(&before).await;
    }
}

/// The same claim id gets its grant even when the lease has lapsed: the client detects that and releases.
pub(crate) async fn a_repeated_claim_gets_its_grant_after_the_lease_has_lapsed(context: &LawContext) {
    for (key, ann) in [
        (context.execution("k"), call("a")),
        (context.lease("k"), call("b")),
        (context.execution("l"), fused("c")),
    ] {
        let first = key.granted(&ann).await;
        context.advance(TTL).await;
        let reply = key.claim(&ann).await;
        let now = reply.stamp.now;
        let again = expect_reply!(reply, ClaimReply::Granted(granted) => granted);
        assert_eq!(again.token, first.token);
        assert!(again.lease_until <= now, "a repeated claim is not a heartbeat");
    }
}

/// A repeated claim does not undo the begin.
pub(crate) async fn a_repeated_claim_after_the_begin_reports_executing(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    key.begun(&ann).await;
    expect_reply!(key.claim(&ann).await, ClaimReply::Granted(granted) if granted.state == State::Executing);
}

/// Completed within retention: the result, byte for byte, to every call, also to the one that completed.
pub(crate) async fn a_completed_result_is_replayed(context: &LawContext) {
    let (key, ann, receipt) = (context.execution("k"), call("ann"), result("receipt 7"));
    key.completed(&ann, &receipt).await;
    for asks in [call("bob"), fused("eve"), ann] {
        context.advance(HARD).await;
        let before = key.record().await;
        expect_reply!(key.claim(&asks).await, ClaimReply::Completed { result: got, .. } if got == receipt);
        key.assert_untouched_since(&before).await;
    }
}

/// A replay reports the rest of the retention, to the microsecond; none if the result has no retention.
pub(crate) async fn a_replay_reports_the_rest_of_its_retention(context: &LawContext) {
    let (month, ever) = (context.execution("month"), context.execution("ever"));
    month.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("x")).await;
    ever.completed(&call("ann"), &result("x")).await;
    let over = month.record().await.completed_at.expect("completed").plus(KEPT);
    for wait in [Duration::ZERO, HALF, KEPT / 2] {
        context.advance(wait).await;
        // Also to a caller that requests another retention: the record's retention counts.
        let reply = month.claim(&Claim { retention: None, ..call("bob") }).await;
        let left = over.since(reply.stamp.now);
        expect_reply!(reply, ClaimReply::Completed { remaining, .. } if remaining == Some(left));
        let reply = ever.claim(&Claim { retention: Some(KEPT), ..call("bob") }).await;
        expect_reply!(reply, ClaimReply::Completed { remaining: None, .. });
    }
}

/// Completed, and past its retention: claimable, by a new attempt with a new incarnation.
pub(crate) async fn a_result_past_retention_can_be_claimed(context: &LawContext) {
    let key = context.execution("k");
    key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("old")).await;
    let old = key.record().await;
    context.advance(KEPT / 2).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
    context.advance(KEPT / 2).await;
    key.granted(&call("bob")).await;
    let new = key.record().await;
    assert!(old.token < new.token && old.incarnation < new.incarnation);
    assert_eq!((new.result, new.completed_at, new.begun_at), (None, None, None));
}

/// Reconciling: the reply has the time and the operator, but not the reconcile token.
pub(crate) async fn a_claim_of_a_reconciling_key_does_not_get_the_token(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let decision = reconcile("olga", doubt.token);
    let at = key.reconcile(&decision).await.stamp.now;
    context.advance(HARD * 10).await;
    let before = key.record().await;
    let (since, by) = expect_reply!(key.claim(&fused("bob")).await,
        ClaimReply::Reconciling { since, operator } => (since, operator));
    assert_eq!((since, by), (at, decision.operator));
    key.assert_untouched_since(&before).await;
}

/// A claim id that released is refused: a late duplicate gets no grant.
pub(crate) async fn a_released_claim_id_is_refused(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = call("ann");
        let grant = key.granted(&ann).await;
        key.release(grant).await;
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
        assert_eq!(key.record().await.state, State::Free);
    }
}

/// A claim id that was superseded is refused once the key is claimable again.
pub(crate) async fn a_superseded_claim_id_is_refused(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let ann = call("ann");
        key.granted(&ann).await;
        context.advance(TTL).await;
        key.granted(&call("bob")).await;
        expect_reply!(key.claim(&ann).await, ClaimReply::InProgress { .. });
        context.advance(TTL).await;
        expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
    }
}

/// The last eight claim ids are remembered, in order, through every kind of ending.
pub(crate) async fn the_last_eight_claim_ids_are_remembered(context: &LawContext) {
    let key = context.lease("k");
    let calls: Vec<Claim> = (0..PastClaims::KEPT + 1).map(|n| call(&format!("w{n}"))).collect();
    for ours in &calls {
        let grant = key.granted(ours).await;
        key.release(grant).await;
    }
    let kept: Vec<_> = calls.iter().rev().take(PastClaims::KEPT).map(|c| c.claim_id).collect();
    assert_eq!(key.record().await.past_claims.iter().collect::<Vec<_>>(), kept, "newest first");
    for ours in &calls[1..] {
        expect_reply!(key.claim(ours).await, ClaimReply::AlreadyReleased);
    }
    key.granted(&calls[0]).await;
}

/// The caller that completed is remembered past retention: its duplicate does not start a second run.
pub(crate) async fn the_call_that_completed_is_refused_past_retention(context: &LawContext) {
    let key = context.execution("k");
    let ann = Claim { retention: Some(KEPT), ..fused("ann") };
    let grant = key.granted(&ann).await;
    key.complete(grant, &result("done")).await;
    context.advance(KEPT).await;
    expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
    key.granted(&call("bob")).await;
    context.advance(TTL).await;
    expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
}

/// A claim id that a reset fenced out is remembered.
pub(crate) async fn a_claim_id_is_remembered_after_a_reset(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let doubt = key.abandoned(&ann).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    expect_reply!(key.reset_to_claimed(&reset("olga", token)).await, ResetReply::Reset { .. });
    expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
}

/// A lease has no begin: the fused form is an error before anything is sent.
pub(crate) async fn a_fused_claim_of_a_lease_is_an_error(context: &LawContext) {
    let lease = context.lease("k");
    let error = context.store().claim(&lease.address, &fused("ann")).await.expect_err("an invalid request");
    assert_eq!(error.applied(), sentinel_core::Applied::No);
    assert!(lease.record().await.is_absent());
}

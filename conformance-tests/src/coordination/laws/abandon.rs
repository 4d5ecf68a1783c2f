//! Spec §3, abandon.

use sentinel_core::operation::*;
use sentinel_core::{Applied, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Executing, match: lease and hard deadline end now, and the cause is kept.
pub(crate) async fn an_abandoned_execution_is_uncertain_at_once(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    context.advance(HALF).await;
    let reply = key.abandon(grant, "the provider hung up").await;
    let now = reply.stamp.now;
    assert_eq!((reply.stamp.changed, reply.stamp.state), (true, State::Executing));
    expect_reply!(reply, AbandonReply::Abandoned);
    let record = key.record().await;
    assert_eq!((record.lease_until, record.hard_until), (now, now));
    assert_eq!((record.doubt, record.token), (Some(label("the provider hung up")), grant.token));
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { token, .. } if token == grant.token);
}

/// A reset of what was abandoned need not wait.
pub(crate) async fn an_abandoned_execution_is_reset_without_waiting(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    expect_reply!(key.reset_to_claimed(&reset("olga", token)).await, ResetReply::Reset { .. });
}

/// Abandoning late moves no deadline into the future.
pub(crate) async fn a_late_abandon_extends_no_deadline(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let before = key.record().await;
    context.advance(HARD * 2).await;
    expect_reply!(key.abandon(grant, "panicked").await, AbandonReply::Abandoned);
    let after = key.record().await;
    assert_eq!((after.lease_until, after.hard_until), (before.lease_until, before.hard_until));
    assert_eq!(after.doubt, Some(label("panicked")));
}

/// Nothing of it revives: a heartbeat is lost.
pub(crate) async fn an_abandoned_execution_does_not_revive(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.abandoned(&call("ann")).await;
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Abandoned));
}

/// Repeated: the same reply; the first cause is kept.
pub(crate) async fn a_repeated_abandon_gets_the_same_reply(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.abandoned(&call("ann")).await;
    context.advance(HALF).await;
    let before = key.record().await;
    for cause in ["lost contact", "another cause"] {
        let reply = key.abandon(grant, cause).await;
        assert!(!reply.stamp.changed);
        expect_reply!(reply, AbandonReply::Abandoned);
    }
    key.assert_untouched_since(&before).await;
}

/// Token and claim id must both be the record's.
pub(crate) async fn another_grant_abandons_nothing(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let before = key.record().await;
    for wrong in [other_id(grant), older(grant)] {
        expect_reply!(key.abandon(wrong, "not mine").await, AbandonReply::Superseded(_));
    }
    key.assert_untouched_since(&before).await;
}

/// Claimed, free, completed, reconciling, absent: no outcome is unknown.
pub(crate) async fn only_an_execution_is_abandoned(context: &LawContext) {
    let (claimed, done, held) =
        (context.execution("claimed"), context.execution("done"), context.execution("held"));
    let free = context.execution("free");
    let freed = free.granted(&call("ann")).await;
    free.release(freed).await;
    let doubt = held.abandoned(&call("ann")).await;
    held.taken(&reconcile("olga", doubt.token)).await;
    let grants = [
        (claimed.granted(&call("ann")).await, claimed, State::Claimed),
        (done.completed(&call("ann"), &result("done")).await, done, State::Completed),
        (doubt, held, State::Reconciling),
        (freed, free, State::Free),
        (doubt, context.execution("absent"), State::Free),
    ];
    for (grant, key, state) in grants {
        let before = key.record().await;
        expect_reply!(key.abandon(grant, "no").await, AbandonReply::Superseded(c) if c.state == state);
        key.assert_untouched_since(&before).await;
    }
}

/// A lease is never uncertain: the requests that only executions have are errors, and nothing is applied.
pub(crate) async fn a_lease_is_never_uncertain(context: &LawContext) {
    let lease = context.lease("k");
    let grant = lease.granted(&call("ann")).await;
    let before = lease.record().await;
    let (at, store, token) = (&lease.address, context.store(), grant.token);
    let done = Complete { grant, result: result("done") };
    let errors = [
        store.abandon(at, &Abandon { grant, cause: label("no"), late_effects: NONE_LATE }).await.err(),
        store.complete(at, &done).await.err(),
        store.reconcile(at, &reconcile("olga", token)).await.err(),
        store.force_complete(at, &force("olga", token, &done.result)).await.err(),
        store.reset_to_claimed(at, &reset("olga", token)).await.err(),
    ];
    for error in errors {
        assert_eq!(error.expect("an invalid request").applied(), Applied::No);
    }
    lease.assert_untouched_since(&before).await;
}

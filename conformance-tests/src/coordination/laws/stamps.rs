//! Spec §2, rev, store now and tokens: what every reply carries.

use std::time::Duration;

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::{State, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Rev counts each change of the record, heartbeats too, and nothing else.
pub(crate) async fn rev_counts_the_changes(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let grant = key.granted(&ann).await;
    context.advance(HALF).await;
    let changes: [(Op, u64); 7] = [
        (Heartbeat { grant }.into(), 2),
        (ann.clone().into(), 2),
        (Begin { grant }.into(), 3),
        (Begin { grant }.into(), 3),
        (call("bob").into(), 3),
        (Complete { grant, result: result("x") }.into(), 4),
        (call("bob").into(), 4),
    ];
    for (op, rev) in changes {
        assert_eq!(key.send(op).await.stamp.rev, rev);
        assert_eq!(key.record().await.rev, rev);
    }
}

/// A stamp matches the record after the request: token, state, rev; absent is rev 0 and no token.
pub(crate) async fn a_stamp_matches_the_record(context: &LawContext) {
    let key = context.execution("k");
    let (grant, other) = (key.granted(&call("ann")).await, context.execution("absent"));
    for op in [Op::from(Begin { grant }), call("bob").into(), evict("olga", grant.token).into()] {
        let (stamp, record) = (key.send(op).await.stamp, key.record().await);
        assert_eq!((stamp.rev, stamp.token, stamp.state), (record.rev, record.token, record.state));
    }
    let stamp = other.begin(grant).await.stamp;
    assert_eq!((stamp.rev, stamp.token, stamp.state), (0, Token::NONE, State::Free));
    assert!(!stamp.changed && other.record().await.is_absent());
}

/// `changed` reports whether this very request changed the record, so of any number of copies one reports it.
pub(crate) async fn one_copy_of_a_request_reports_the_change(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let grant = key.granted(&ann).await;
    let sent: [Op; 4] = [
        Begin { grant }.into(),
        Abandon { grant, cause: label("no contact"), late_effects: NONE_LATE }.into(),
        reconcile("olga", grant.token).into(),
        reset("olga", grant.token).into(),
    ];
    for op in sent {
        // The reset is under a token that is not the reconcile token: it changes nothing, however often it is sent.
        let is_reset = matches!(op, Op::ResetToClaimed(_));
        let changed = [key.send(op.clone()).await.stamp.changed, key.send(op).await.stamp.changed];
        assert_eq!(changed, [!is_reset, false]);
    }
}

/// The time in replies never goes back, and follows the clock of the store.
pub(crate) async fn the_time_in_replies_never_goes_back(context: &LawContext) {
    let (key, other) = (context.execution("k"), call("bob"));
    key.granted(&call("ann")).await;
    let mut last = key.claim(&other).await.stamp.now;
    for _ in 0..5 {
        context.advance(Duration::from_secs(1)).await;
        let now = key.claim(&other).await.stamp.now;
        assert!(now >= last.plus(Duration::from_secs(1)));
        last = now;
    }
}

/// If the store's clock is set back, a reading is the record's last reading instead: no lease lasts longer, and no
/// token falls. Without `set_back` this law is checked in part or not at all.
pub(crate) async fn a_reading_is_never_before_the_last_one(context: &LawContext) {
    let keys = [context.execution("k"), context.lease("l")];
    let grants = [keys[0].granted(&call("ann")).await, keys[1].granted(&call("ann")).await];
    context.advance(HALF).await;
    let beaten = [keys[0].heartbeat(grants[0]).await.stamp, keys[1].heartbeat(grants[1]).await.stamp];
    if !context.set_back(HARD).await {
        return;
    }
    for ((key, grant), beaten) in keys.iter().zip(grants).zip(beaten) {
        let reply = key.claim(&call("bob")).await;
        assert!(reply.stamp.now >= beaten.now, "the clock ran backwards");
        expect_reply!(reply, ClaimReply::InProgress { remaining, .. } if remaining <= TTL);
        assert!(key.now().await >= beaten.now, "a read returns a time that went back");
        let stamp = key.release(grant).await.stamp;
        assert!(stamp.now >= beaten.now && key.record().await.last_now >= beaten.now);
        assert!(key.granted(&call("eve")).await.token > grant.token);
        assert!(key.record().await.claimed_at >= Some(beaten.now));
    }
}

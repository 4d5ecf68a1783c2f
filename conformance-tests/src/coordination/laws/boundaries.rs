//! Spec §2, live and within hard: the boundary itself is expired, everywhere. A clock that only the test moves meets
//! each instant exactly; with one that runs, the reply's reading decides what is expected.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{StoreTime, Terms};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// The finest step of a store's clock.
const MICROSECOND: Duration = Duration::from_micros(1);

/// Just before an instant, the instant itself, and just after it.
fn around(wait: Duration) -> [Duration; 3] {
    [wait - MICROSECOND, wait, wait + MICROSECOND]
}

/// A claim is taken over from the instant of its expiry, and not before.
pub(crate) async fn a_claim_lapses_exactly_at_its_expiry(context: &LawContext) {
    for wait in around(TTL) {
        for key in [context.execution(&format!("{wait:?}")), context.lease(&format!("{wait:?}"))] {
            key.granted(&call("ann")).await;
            let until = key.record().await.lease_until;
            context.advance(wait).await;
            let reply = key.claim(&call("bob")).await;
            let granted = matches!(reply.reply, ClaimReply::Granted(_));
            assert_eq!(granted, reply.stamp.now >= until, "{reply:?}, lease until {until}");
        }
    }
}

/// A claim begins up to the instant of its expiry, and not at it.
pub(crate) async fn a_begin_is_refused_exactly_from_the_expiry(context: &LawContext) {
    for wait in around(TTL) {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.granted(&call("ann")).await;
        let until = key.record().await.lease_until;
        context.advance(wait).await;
        let reply = key.begin(grant).await;
        let expired = reply.reply == BeginReply::Expired;
        assert_eq!(expired, reply.stamp.now >= until, "{reply:?}, lease until {until}");
    }
}

/// A begin is repeated up to the same instant.
pub(crate) async fn a_repeated_begin_is_refused_exactly_from_the_expiry(context: &LawContext) {
    for wait in around(TTL) {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.begun(&call("ann")).await;
        let until = key.record().await.lease_until;
        context.advance(wait).await;
        let reply = key.begin(grant).await;
        let expired = reply.reply == BeginReply::Expired;
        assert_eq!(expired, reply.stamp.now >= until, "{reply:?}, lease until {until}");
    }
}

/// An execution is uncertain from that instant: to a claim, to an operator and on a page.
pub(crate) async fn an_execution_is_uncertain_exactly_from_its_expiry(context: &LawContext) {
    for wait in around(TTL) {
        let context = context.apart();
        let key = context.execution("k");
        let grant = key.begun(&call("ann")).await;
        let until = key.record().await.lease_until;
        context.advance(wait).await;
        let page = context.list(&List { state: Some(VisibleState::Uncertain), ..context.everything() }).await;
        assert_eq!(page.records.len() == 1, page.now >= until);
        let reply = key.claim(&call("bob")).await;
        let uncertain = matches!(reply.reply, ClaimReply::Uncertain { .. });
        assert_eq!(uncertain, reply.stamp.now >= until, "{reply:?}, lease until {until}");
        let reply = key.reconcile(&reconcile("olga", grant.token)).await;
        let taken = matches!(reply.reply, ReconcileReply::Taken { .. });
        assert_eq!(taken, reply.stamp.now >= until, "{reply:?}, lease until {until}");
    }
}

/// A lease is extended up to its instant, and is lost at it.
pub(crate) async fn a_lease_is_lost_exactly_at_its_expiry(context: &LawContext) {
    for wait in around(TTL) {
        let lease = context.lease(&format!("{wait:?}"));
        let grant = lease.granted(&call("ann")).await;
        let until = lease.record().await.lease_until;
        context.advance(wait).await;
        let reply = lease.heartbeat(grant).await;
        let lost = reply.reply == HeartbeatReply::Lost(LostReason::Lapsed);
        assert_eq!(lost, reply.stamp.now >= until, "{reply:?}, lease until {until}");
    }
}

/// A heartbeat is lost from the instant of the hard deadline, and a reset is possible from it.
pub(crate) async fn the_hard_deadline_applies_exactly_at_its_instant(context: &LawContext) {
    for wait in around(HARD) {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.begun(&call("ann")).await;
        let hard = key.record().await.hard_until;
        context.advance(wait).await;
        let reply = key.heartbeat(grant).await;
        let lost = reply.reply == HeartbeatReply::Lost(LostReason::HardDeadline);
        assert_eq!(lost, reply.stamp.now >= hard, "{reply:?}, hard deadline {hard}");
        let token = key.taken(&Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) }).await;
        let reply = key.reset_to_claimed(&reset("olga", token)).await;
        let freed = matches!(reply.reply, ResetReply::Reset { .. });
        assert_eq!(freed, reply.stamp.now >= hard, "{reply:?}, hard deadline {hard}");
    }
}

/// A result is replayed up to the end of its retention, and no longer from then on.
pub(crate) async fn a_result_is_replayed_exactly_until_its_retention_ends(context: &LawContext) {
    for wait in around(KEPT) {
        let key = context.execution(&format!("{wait:?}"));
        key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("x")).await;
        let over = key.record().await.completed_at.expect("completed").plus(KEPT);
        context.advance(wait).await;
        let reply = key.claim(&call("bob")).await;
        let granted = matches!(reply.reply, ClaimReply::Granted(_));
        assert_eq!(granted, reply.stamp.now >= over, "{reply:?}, kept until {over}");
    }
}

/// A result that is kept for no time at all is claimable at once: by another call, not by the one that completed.
pub(crate) async fn a_retention_of_zero_ends_at_once(context: &LawContext) {
    let (key, ann) = (context.execution("k"), Claim { retention: Some(Duration::ZERO), ..call("ann") });
    key.completed(&ann, &result("x")).await;
    expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
    key.granted(&call("bob")).await;
}

/// A completion at the instant of expiry is late.
pub(crate) async fn a_completion_is_late_exactly_from_the_expiry(context: &LawContext) {
    for wait in around(TTL) {
        let key = context.execution(&format!("{wait:?}"));
        let grant = key.begun(&call("ann")).await;
        let until = key.record().await.lease_until;
        context.advance(wait).await;
        let reply = key.complete(grant, &result("x")).await;
        let expected = CompleteReply::Recorded { late: reply.stamp.now >= until };
        assert_eq!(reply.reply, expected, "{reply:?}, lease until {until}");
    }
}

/// A record is purged when it has not changed for more than an hour, and not at exactly an hour.
pub(crate) async fn a_record_is_purged_only_after_more_than_an_hour_without_change(context: &LawContext) {
    for wait in around(sentinel_core::PURGE_REST) {
        let context = context.apart();
        let key = context.execution("k");
        let grant = key.granted(&call("ann")).await;
        key.release(grant).await;
        let rested = key.record().await.last_now.plus(sentinel_core::PURGE_REST);
        context.advance(wait).await;
        let before = key.now().await;
        let purged = context.purge().await.records == 1;
        let after = key.now().await;
        assert!(purged || before <= rested, "unchanged for more than an hour, and not purged");
        assert!(!purged || after > rested, "purged before an hour without change was over");
    }
}

/// The shortest and the longest terms are kept to the microsecond.
pub(crate) async fn terms_are_exact_to_the_microsecond(context: &LawContext) {
    let odd = Duration::from_micros(10_001);
    let pairs =
        [(Terms::MIN, Terms::MIN), (odd, odd * 3), (Terms::MIN, Terms::MAX), (Terms::MAX, Terms::MAX)];
    for (n, (ttl, hard_ttl)) in pairs.into_iter().enumerate() {
        let key = context.execution(&format!("k{n}"));
        let terms = Terms::new(ttl, hard_ttl).expect("terms");
        let now = key.claim(&Claim { terms, retention: Some(odd), ..call("ann") }).await.stamp.now;
        let record = key.record().await;
        assert_eq!((record.terms, record.retention), (Some(terms), Some(odd)));
        assert_eq!((record.lease_until, record.hard_until), (now.plus(ttl), now.plus(hard_ttl)));
        assert!(record.last_now > StoreTime::ZERO);
    }
}

//! Spec §3, purge.

use sentinel_core::operation::*;
use sentinel_core::{Change, PURGE_REST, Record, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// A tombstone, and the token that it keeps.
async fn tombstone(key: &Subject<'_>) -> Token {
    let grant = key.granted(&call("ann")).await;
    expect_reply!(key.release(grant).await, ReleaseReply::Released);
    grant.token
}

/// A completed execution whose result is kept for a while.
async fn kept(key: &Subject<'_>) -> Token {
    key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("done")).await.token
}

/// Tombstones that have not changed for over an hour are deleted: executions and leases.
pub(crate) async fn a_tombstone_is_purged_after_an_hour_without_change(context: &LawContext) {
    let keys = [context.execution("k"), context.lease("k")];
    for key in &keys {
        tombstone(key).await;
    }
    context.advance(REST).await;
    let purged = context.purge().await;
    assert_eq!((purged.records, purged.more), (2, false));
    for key in keys {
        assert!(key.record().await.is_absent());
    }
}

/// Results past their retention that have not changed for over an hour are deleted.
pub(crate) async fn a_result_past_retention_is_purged(context: &LawContext) {
    let key = context.execution("k");
    kept(&key).await;
    context.advance(KEPT).await;
    assert_eq!(context.purge().await.records, 1);
    assert!(key.record().await.is_absent());
    key.granted(&call("bob")).await;
}

/// A result within its retention is not deleted, however long it has not changed; nor is one without a retention.
pub(crate) async fn a_result_within_retention_is_not_purged(context: &LawContext) {
    let (month, ever) = (context.execution("month"), context.execution("ever"));
    month.completed(&Claim { retention: Some(KEPT * 30), ..call("ann") }, &result("a")).await;
    ever.completed(&call("ann"), &result("b")).await;
    context.advance(KEPT * 29).await;
    assert_eq!(context.purge().await.records, 0);
    expect_reply!(month.claim(&call("bob")).await, ClaimReply::Completed { .. });
    context.advance(KEPT * 300).await;
    assert_eq!(context.purge().await.records, 1);
    expect_reply!(ever.claim(&call("bob")).await, ClaimReply::Completed { .. });
}

/// Unchanged for over an hour: a record that changed a while ago stays, retention or not.
pub(crate) async fn a_record_that_changed_within_the_hour_is_not_purged(context: &LawContext) {
    let (free, done) = (context.execution("free"), context.execution("done"));
    tombstone(&free).await;
    let brief = Claim { retention: Some(HALF), ..call("ann") };
    done.completed(&brief, &result("x")).await;
    for _ in 0..2 {
        assert_eq!(context.purge().await.records, 0);
        context.advance(PURGE_REST - HALF).await;
        assert_eq!(context.purge().await.records, 0);
        assert!(!free.record().await.is_absent() && !done.record().await.is_absent());
        // Each change of the record starts the hour again.
        tombstone(&free).await;
        done.completed(&Claim { claim_id: sentinel_core::ClaimId::random(), ..brief.clone() }, &result("x"))
            .await;
    }
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 2);
}

/// Exactly an hour without change is not enough.
pub(crate) async fn exactly_an_hour_without_change_is_too_short_for_a_purge(context: &LawContext) {
    let key = context.execution("k");
    tombstone(&key).await;
    context.advance(PURGE_REST).await;
    // Decided by the clock of a read after it, as the clock may have advanced by itself.
    let purged = context.purge().await.records;
    let rested = key.now().await.since(key.record().await.last_now) > PURGE_REST;
    assert!(purged == 0 || rested, "purged before the hour was over");
}

/// Claimed, executing and reconciling are never deleted, however old.
pub(crate) async fn a_held_record_is_never_purged(context: &LawContext) {
    let (claimed, lease) = (context.execution("claimed"), context.lease("lease"));
    let (running, held) = (context.execution("running"), context.execution("held"));
    claimed.granted(&call("ann")).await;
    lease.granted(&call("ann")).await;
    running.begun(&Claim { retention: Some(HALF), ..call("ann") }).await;
    let doubt = held.abandoned(&Claim { retention: Some(HALF), ..call("ann") }).await;
    held.taken(&reconcile("olga", doubt.token)).await;
    context.advance(KEPT * 365).await;
    assert_eq!(context.purge().await.records, 0);
    for key in [claimed, lease, running, held] {
        assert!(!key.record().await.is_absent());
    }
}

/// The tombstone of a reset is not deleted: its incarnation was offered again, and the provider may know its key.
pub(crate) async fn the_tombstone_of_a_reset_is_not_purged(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let incarnation = key.record().await.incarnation;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.reset_to_claimed(&reset("olga", token)).await;
    context.advance(KEPT).await;
    assert_eq!(context.purge().await.records, 0);
    // A claim that is given back before it begins offers the same incarnation once more.
    tombstone(&key).await;
    context.advance(KEPT).await;
    assert_eq!(context.purge().await.records, 0);
    assert_eq!(key.record().await.incarnation, incarnation);
    let grant = key.begun(&call("bob")).await;
    key.vouch(grant).await;
    context.advance(KEPT).await;
    assert_eq!(context.purge().await.records, 1, "a vouched release ends the incarnation");
}

/// Tokens go on increasing after a purge, on every address of the namespace.
pub(crate) async fn tokens_increase_across_a_purge(context: &LawContext) {
    let keys = [context.execution("k"), context.lease("k")];
    let mut purged = tombstone(&keys[0]).await.max(tombstone(&keys[1]).await);
    for _ in 0..3 {
        context.advance(REST).await;
        assert_eq!(context.purge().await.records, 2);
        let drawn = [tombstone(&keys[0]).await, tombstone(&keys[1]).await];
        assert!(drawn.iter().all(|token| *token > purged), "a token was reused after a purge");
        purged = drawn[0].max(drawn[1]);
    }
}

/// A purge deletes only in its namespace, and only what may be deleted.
pub(crate) async fn a_purge_deletes_only_in_its_namespace(context: &LawContext) {
    let (here, other) = (context.execution("k"), context.apart());
    let there = other.execution("k");
    tombstone(&here).await;
    tombstone(&there).await;
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 1);
    assert!(here.record().await.is_absent() && !there.record().await.is_absent());
}

/// A dry run counts what would be deleted, at most the limit, and deletes nothing.
pub(crate) async fn a_dry_run_only_counts(context: &LawContext) {
    let keys = ["a", "b", "c"].map(|name| context.execution(name));
    for key in &keys {
        tombstone(key).await;
    }
    context.advance(REST).await;
    let dry = context.purge_with(u32::MAX, true).await;
    assert_eq!((dry.records, dry.more), (3, false));
    for (limit, more) in [(1, true), (2, true), (3, false)] {
        let dry = context.purge_with(limit, true).await;
        assert_eq!(dry.records, u64::from(limit));
        assert!(dry.more || !more, "there is more than {limit}, and the reply reports it");
    }
    for key in &keys {
        assert_eq!(key.changes().await, ["claimed", "released"]);
    }
    assert_eq!(context.purge().await.records, 3, "and leaves all of it to the purge");
}

/// A purge deletes at most the limit and reports whether there is more; repeating it deletes what is left, and then
/// nothing.
pub(crate) async fn a_purge_deletes_at_most_its_limit(context: &LawContext) {
    let keys: Vec<_> = (0..5).map(|n| context.execution(&format!("k{n}"))).collect();
    for key in &keys {
        tombstone(key).await;
    }
    context.advance(REST).await;
    for (deleted, more, left) in [(2, true, 3), (2, true, 1), (1, false, 0), (0, false, 0)] {
        let purged = context.purge_with(2, false).await;
        assert_eq!(purged.records, deleted);
        assert!(purged.more || !more, "there is more, and the reply reports it");
        let mut there = 0;
        for key in &keys {
            there += usize::from(!key.record().await.is_absent());
        }
        assert_eq!(there, left);
    }
}

/// Record and events are deleted; one event remains, which records the purge.
pub(crate) async fn a_purge_leaves_one_event(context: &LawContext) {
    let key = context.execution("k");
    let token = tombstone(&key).await;
    let last = key.record().await;
    context.advance(REST).await;
    context.purge().await;
    let events = key.events().await;
    let [event] = events.as_slice() else { panic!("one event remains, not {events:?}") };
    assert_eq!((event.change.clone(), event.rev, event.token), (Change::Purged, last.rev + 1, token));
    assert_eq!((event.from, event.to), (Some(last.state), None));
    key.assert_rebuilt().await;
}

/// That event is kept for an hour, through further purges; the next life appends to it.
pub(crate) async fn the_event_of_a_purge_is_kept_for_an_hour(context: &LawContext) {
    let key = context.execution("k");
    tombstone(&key).await;
    context.advance(REST).await;
    context.purge().await;
    context.advance(HALF).await;
    assert_eq!(context.purge().await.records, 0);
    assert_eq!(key.changes().await, ["purged"]);
    key.granted(&call("bob")).await;
    assert_eq!(key.changes().await, ["purged", "claimed"]);
    key.assert_rebuilt().await;
}

/// After a purge a new life starts: rev 1, a new incarnation, nothing remembered of the old one.
pub(crate) async fn a_purged_key_starts_with_rev_one_and_a_new_incarnation(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let grant = key.granted(&ann).await;
    key.release(grant).await;
    let old = key.record().await;
    context.advance(REST).await;
    context.purge().await;
    let stamp = key.claim(&ann).await.stamp;
    assert_eq!((stamp.rev, stamp.changed), (1, true));
    let new = key.record().await;
    assert!(new.incarnation > old.incarnation && new.incarnation == new.token.get());
    assert_eq!(new.past_claims, Record::absent().past_claims);
}

/// The grants of the old life are refused in the new one.
pub(crate) async fn a_grant_is_refused_after_a_purge(context: &LawContext) {
    let key = context.execution("k");
    let old = key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("old")).await;
    context.advance(KEPT).await;
    context.purge().await;
    expect_reply!(key.complete(old, &result("old")).await, CompleteReply::Superseded(_));
    let new = key.begun(&call("bob")).await;
    expect_reply!(key.complete(old, &result("old")).await, CompleteReply::Superseded(c) if c.token == new.token);
}

//! Spec §2, fencing tokens.

use sentinel_core::Token;
use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// A token exceeds the store's clock in microseconds, so it exceeds those that a lost store drew before it.
pub(crate) async fn a_token_exceeds_the_clock(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        for _ in 0..3 {
            let stamp = key.claim(&call("ann")).await.stamp;
            assert!(stamp.token.get() > stamp.now.as_micros() && stamp.token < Token::MAX);
            context.advance(TTL).await;
        }
    }
}

/// `max(row.token, floor, clock) + 1`: no larger than it must be, so that tokens do not run away from the clock.
pub(crate) async fn a_token_is_one_above_record_floor_and_clock(context: &LawContext) {
    let key = context.lease("k");
    let mut last = Token::NONE;
    for _ in 0..5 {
        let ann = call("ann");
        let stamp = key.claim(&ann).await.stamp;
        assert_eq!(stamp.token.get(), last.get().max(stamp.now.as_micros()) + 1);
        last = stamp.token;
        key.cancel(ann.claim_id).await;
    }
}

/// Strictly increasing over all grants, reconciliations, resets and evictions of an address.
pub(crate) async fn tokens_strictly_increase(context: &LawContext) {
    let key = context.execution("k");
    let mut drawn = Vec::new();
    for _ in 0..3 {
        let released = key.granted(&call("ann")).await;
        key.release(released).await;
        let evicted = key.granted(&call("bob")).await;
        let eviction = key.evict(&evict("olga", evicted.token)).await.stamp.token;
        let doubt = key.abandoned(&call("eve")).await;
        let taken = key.taken(&reconcile("olga", doubt.token)).await;
        let stolen = key.taken(&Reconcile { steal: true, ..reconcile("omar", taken) }).await;
        let freed = key.reset_to_claimed(&reset("omar", stolen)).await.stamp.token;
        drawn.extend([released.token, evicted.token, eviction, doubt.token, taken, stolen, freed]);
    }
    assert!(drawn.is_sorted_by(|before, after| before < after), "{drawn:?}");
}

/// What draws no token leaves it as it is: begin, heartbeat, complete, cancel, release, abandon, force_complete.
pub(crate) async fn only_grants_and_decisions_draw_tokens(context: &LawContext) {
    let (done, free) = (context.execution("done"), context.execution("free"));
    let grant = done.granted(&call("ann")).await;
    context.advance(HALF).await;
    assert_eq!(done.heartbeat(grant).await.stamp.token, grant.token);
    assert_eq!(done.begin(grant).await.stamp.token, grant.token);
    assert_eq!(done.abandon(grant, "no").await.stamp.token, grant.token);
    assert_eq!(done.complete(grant, &result("x")).await.stamp.token, grant.token);
    let grant = free.granted(&call("ann")).await;
    assert_eq!(free.release(grant).await.stamp.token, grant.token);
    assert_eq!(free.cancel(call("bob").claim_id).await.stamp.token, grant.token);
}

/// A namespace keeps the highest token that it purged: not even a clock that is set back draws a lower one. Without
/// `set_back` this law is checked in part or not at all.
pub(crate) async fn the_highest_purged_token_is_the_floor(context: &LawContext) {
    let (key, other) = (context.execution("k"), context.lease("another"));
    let grant = key.granted(&call("ann")).await;
    key.release(grant).await;
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 1);
    if !context.set_back(REST * 2).await {
        return;
    }
    for subject in [key, other] {
        let next = subject.granted(&call("bob")).await;
        assert!(next.token > grant.token, "a token fell below what was purged");
    }
}

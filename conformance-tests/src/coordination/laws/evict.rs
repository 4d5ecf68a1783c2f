//! Spec §3, evict.

use sentinel_core::operation::*;
use sentinel_core::{DecisionKind, OpId, State, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// Claimed, live or not, execution or lease, and the token seen is current: free, under a new token.
pub(crate) async fn a_claim_is_evicted(context: &LawContext) {
    for (name, wait) in [("live", HALF), ("lapsed", TTL), ("past hard", HARD)] {
        for key in [context.execution(name), context.lease(name)] {
            let ann = call("ann");
            let grant = key.granted(&ann).await;
            context.advance(wait).await;
            let out = evict("olga", grant.token);
            let reply = key.evict(&out).await;
            let stamp = reply.stamp;
            let drawn = expect_reply!(reply, EvictReply::Evicted { token } => token);
            assert_eq!((stamp.changed, stamp.state, stamp.token), (true, State::Free, drawn));
            assert!(drawn > grant.token);
            let record = key.record().await;
            assert!(record.past_claims.contains(ann.claim_id) && record.claim_id.is_none());
            let decision = record.decision.expect("a decision");
            assert_eq!((decision.kind, decision.op_id), (DecisionKind::Evict, out.op_id));
            assert_eq!((decision.presented, decision.token), (grant.token, drawn));
        }
    }
}

/// The old holder's next request is refused, and its claim id is remembered.
pub(crate) async fn an_evicted_holder_is_refused(context: &LawContext) {
    let (key, ann) = (context.execution("k"), call("ann"));
    let grant = key.granted(&ann).await;
    key.evict(&evict("olga", grant.token)).await;
    expect_reply!(key.begin(grant).await, BeginReply::Superseded(current) if current.state == State::Free);
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
    expect_reply!(key.release(grant).await, ReleaseReply::Superseded(_));
    expect_reply!(key.claim(&ann).await, ClaimReply::AlreadyReleased);
    key.granted(&call("bob")).await;
}

/// Executing, live or lapsed: that is for reconcile.
pub(crate) async fn an_execution_is_not_evicted(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    for _ in 0..2 {
        let before = key.record().await;
        expect_reply!(key.evict(&evict("olga", grant.token)).await, EvictReply::Executing);
        key.assert_untouched_since(&before).await;
        context.advance(HARD).await;
    }
}

/// Another token than the one that is current: a late eviction does not evict a newer claim.
pub(crate) async fn an_eviction_of_another_token_is_stale(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let first = key.granted(&call("ann")).await;
        context.advance(TTL).await;
        let second = key.granted(&call("bob")).await;
        let before = key.record().await;
        let now = Current { state: State::Claimed, token: second.token };
        expect_reply!(key.evict(&evict("olga", first.token)).await, EvictReply::StaleDecision(c) if c == now);
        expect_reply!(key.evict(&evict("olga", Token::NONE)).await, EvictReply::StaleDecision(c) if c == now);
        key.assert_untouched_since(&before).await;
    }
}

/// Repeated, same op id and token: the same reply, whatever the record has become since.
pub(crate) async fn a_repeated_eviction_gets_the_same_reply(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let grant = key.granted(&call("ann")).await;
        let out = evict("olga", grant.token);
        let first = key.evict(&out).await.reply;
        assert_eq!(key.evict(&out).await.reply, first);
        key.granted(&call("bob")).await;
        let before = key.record().await;
        let again = key.evict(&out).await;
        assert!(!again.stamp.changed);
        assert_eq!(again.reply, first);
        key.assert_untouched_since(&before).await;
    }
}

/// The same op id with another token is another decision.
pub(crate) async fn a_repeated_eviction_needs_the_same_token(context: &LawContext) {
    let key = context.lease("k");
    let grant = key.granted(&call("ann")).await;
    let out = evict("olga", grant.token);
    key.evict(&out).await;
    let next = key.granted(&call("bob")).await;
    let other = Evict { expect: next.token, ..out.clone() };
    assert!(key.evict(&other).await.stamp.changed, "a new token seen is a new decision");
    let third = key.granted(&call("eve")).await;
    expect_reply!(key.evict(&Evict { op_id: OpId::random(), ..out }).await,
        EvictReply::StaleDecision(current) if current.token == third.token);
}

/// Free, completed, reconciling: there is no claim.
pub(crate) async fn only_a_claim_is_evicted(context: &LawContext) {
    let (free, done, held) = (context.lease("free"), context.execution("done"), context.execution("held"));
    let freed = free.granted(&call("ann")).await;
    free.release(freed).await;
    let completed = done.completed(&call("ann"), &result("done")).await;
    let doubt = held.abandoned(&call("ann")).await;
    let token = held.taken(&reconcile("olga", doubt.token)).await;
    for (key, token) in [(free, freed.token), (done, completed.token), (held, token)] {
        let before = key.record().await;
        let reply = key.evict(&evict("omar", token)).await;
        expect_reply!(reply, EvictReply::NotClaimed(c) if c.state == before.state && c.token == token);
        key.assert_untouched_since(&before).await;
    }
    let absent = context.lease("absent").evict(&evict("omar", Token::NONE)).await;
    expect_reply!(absent, EvictReply::NotClaimed(_));
}

/// An evicted claim had not begun: the incarnation stays.
pub(crate) async fn an_eviction_keeps_the_incarnation(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    let first = key.record().await.incarnation;
    key.evict(&evict("olga", grant.token)).await;
    key.granted(&call("bob")).await;
    assert_eq!(key.record().await.incarnation, first);
}

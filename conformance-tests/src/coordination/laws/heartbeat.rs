//! Spec §3, heartbeat.

use sentinel_core::operation::*;
use sentinel_core::{Grant, Record, State, Terms};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// What a heartbeat can keep.
const HELD: [&str; 3] = ["claimed", "begun", "lease"];

/// A claimed execution, a begun one or a lease, and its grant.
async fn held<'a>(context: &'a LawContext, name: &str) -> (Subject<'a>, Grant) {
    let key = if name == "lease" { context.lease(name) } else { context.execution(name) };
    let grant = if name == "begun" { key.begun(&call("ann")).await } else { key.granted(&call("ann")).await };
    (key, grant)
}

/// Claimed or executing, match, within hard: the lease is extended to a ttl from now.
pub(crate) async fn a_heartbeat_extends_the_lease_by_ttl(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        context.advance(HALF).await;
        let reply = key.heartbeat(grant).await;
        assert!(reply.stamp.changed);
        let until = reply.stamp.now.plus(TTL);
        expect_reply!(reply, HeartbeatReply::Kept { lease_until } if lease_until == until);
        assert_eq!(key.record().await.lease_until, until);
    }
}

/// A heartbeat changes the lease, the rev and the last reading, and nothing else.
pub(crate) async fn a_heartbeat_changes_nothing_else(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        let before = key.record().await;
        context.advance(HALF).await;
        key.heartbeat(grant).await;
        let after = key.record().await;
        let Record { lease_until, rev, last_now, .. } = after;
        assert_eq!(after, Record { lease_until, rev, last_now, ..before });
    }
}

/// Never past the hard deadline, and the hard deadline never moves.
pub(crate) async fn a_heartbeat_never_extends_past_the_hard_deadline(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        let hard = key.record().await.hard_until;
        for _ in 0..8 {
            // Not a divisor of the hard ttl: the last beat would carry the lease past it.
            context.advance(TTL * 7 / 10).await;
            key.heartbeat(grant).await;
            let record = key.record().await;
            assert!(record.lease_until <= hard, "the lease passed its hard deadline");
            assert_eq!(record.hard_until, hard);
        }
        assert_eq!(key.record().await.lease_until, hard, "and it reaches it");
    }
}

/// At the hard deadline it is lost, even where the lease would be live.
pub(crate) async fn a_heartbeat_at_the_hard_deadline_is_lost(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        for _ in 0..11 {
            context.advance(HALF).await;
            key.heartbeat(grant).await;
        }
        context.advance(HALF).await;
        let before = key.record().await;
        expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::HardDeadline));
        key.assert_untouched_since(&before).await;
    }
}

/// Never shorter: a heartbeat that finds nothing to extend changes nothing.
pub(crate) async fn a_heartbeat_never_shortens_a_lease(context: &LawContext) {
    // The terms end together, so the lease ends at the hard deadline from the start.
    let (key, short) = (context.execution("k"), Terms::new(HARD, HARD).expect("terms"));
    let grant = key.begun(&Claim { terms: short, ..call("ann") }).await;
    context.advance(HALF).await;
    let before = key.record().await;
    let reply = key.heartbeat(grant).await;
    assert!(!reply.stamp.changed);
    expect_reply!(reply, HeartbeatReply::Kept { lease_until } if lease_until == before.lease_until);
    key.assert_untouched_since(&before).await;
}

/// A lapsed execution of the same grant revives: no other call could have taken it.
pub(crate) async fn a_lapsed_execution_revives(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    context.advance(TTL + HALF).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
    let reply = key.heartbeat(grant).await;
    let until = reply.stamp.now.plus(TTL);
    expect_reply!(reply, HeartbeatReply::Kept { lease_until } if lease_until == until);
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::InProgress { .. });
}

/// A lapsed claim that has not begun revives unless another call took it over.
pub(crate) async fn a_lapsed_claim_revives(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    context.advance(TTL).await;
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
    expect_reply!(key.begin(grant).await, BeginReply::Begun(_));
}

/// A lapsed lease never revives: another process may rely on its end.
pub(crate) async fn a_lapsed_lease_never_revives(context: &LawContext) {
    let lease = context.lease("k");
    let grant = lease.granted(&call("ann")).await;
    context.advance(TTL).await;
    let before = lease.record().await;
    expect_reply!(lease.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Lapsed));
    lease.assert_untouched_since(&before).await;
}

/// The heartbeat of a superseded grant is lost, and does not extend the lease of the next one.
pub(crate) async fn a_heartbeat_extends_only_its_own_grant(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let lost = key.granted(&call("ann")).await;
        context.advance(TTL).await;
        let won = key.granted(&call("bob")).await;
        context.advance(HALF).await;
        let before = key.record().await;
        let now = Current { state: State::Claimed, token: won.token };
        expect_reply!(key.heartbeat(lost).await, HeartbeatReply::Lost(LostReason::Superseded(c)) if c == now);
        key.assert_untouched_since(&before).await;
    }
}

/// The token alone is not the grant, nor is the claim id.
pub(crate) async fn a_heartbeat_needs_token_and_claim_id(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        context.advance(HALF).await;
        let before = key.record().await;
        for wrong in [other_id(grant), older(grant)] {
            expect_reply!(key.heartbeat(wrong).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        }
        key.assert_untouched_since(&before).await;
    }
}

/// Of a completed record the reason is completed; a released grant, or one that an operator took, is superseded.
pub(crate) async fn a_lost_heartbeat_reports_the_reason(context: &LawContext) {
    let (done, free, held) = (context.execution("done"), context.lease("free"), context.execution("held"));
    let grant = done.completed(&call("ann"), &result("done")).await;
    expect_reply!(done.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Completed));
    let grant = free.granted(&call("ann")).await;
    free.release(grant).await;
    expect_reply!(free.heartbeat(grant).await,
        HeartbeatReply::Lost(LostReason::Superseded(c)) if c.state == State::Free);
    let grant = held.abandoned(&call("ann")).await;
    held.taken(&reconcile("olga", grant.token)).await;
    expect_reply!(held.heartbeat(grant).await,
        HeartbeatReply::Lost(LostReason::Superseded(c)) if c.state == State::Reconciling);
    expect_reply!(
        context.execution("absent").heartbeat(grant).await,
        HeartbeatReply::Lost(LostReason::Superseded(_))
    );
}

/// A heartbeat appends no event.
pub(crate) async fn a_heartbeat_appends_no_event(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        let before = key.events().await;
        context.advance(HALF).await;
        key.heartbeat(grant).await;
        assert_eq!(key.events().await, before);
    }
}

/// Many grants in one call: the replies are in the order of the beats, whatever the order of the keys.
pub(crate) async fn a_batch_has_its_replies_in_the_order_of_its_beats(context: &LawContext) {
    let mut beats = Vec::new();
    for (n, name) in ["m", "a", "z", "b", "y"].into_iter().enumerate() {
        let key = context.lease(name);
        let terms = Terms::new(TTL * (n as u32 + 1), HARD * 2).expect("terms");
        let grant = key.granted(&Claim { terms, ..call("ann") }).await;
        beats.push(Beat { address: key.address.clone(), grant });
    }
    context.advance(HALF).await;
    let replies = context.beats(&beats).await;
    for (n, stamped) in replies.into_iter().enumerate() {
        let until = stamped.stamp.now.plus(TTL * (n as u32 + 1));
        assert_eq!(stamped.stamp.token, beats[n].grant.token);
        expect_reply!(stamped, HeartbeatReply::Kept { lease_until } if lease_until == until);
    }
}

/// In a batch each beat is separate: one that is lost does not stop the others, before it or after it.
pub(crate) async fn a_lost_beat_does_not_stop_the_batch(context: &LawContext) {
    let held = [held(context, HELD[0]).await, held(context, HELD[1]).await, held(context, HELD[2]).await];
    let beat = |n: usize, grant| Beat { address: held[n].0.address.clone(), grant };
    context.advance(HALF).await;
    let batch = [beat(0, held[0].1), beat(1, other_id(held[1].1)), beat(2, held[2].1)];
    let replies = context.beats(&batch).await;
    let kept: Vec<bool> = replies.iter().map(|r| matches!(r.reply, HeartbeatReply::Kept { .. })).collect();
    assert_eq!(kept, [true, false, true]);
    for (n, extended) in [(0, true), (1, false), (2, true)] {
        let record = held[n].0.record().await;
        assert_eq!(record.lease_until == replies[n].stamp.now.plus(TTL), extended);
    }
}

/// The same grant twice in one batch is answered twice.
pub(crate) async fn a_batch_may_name_a_record_twice(context: &LawContext) {
    let lease = context.lease("k");
    let grant = lease.granted(&call("ann")).await;
    context.advance(HALF).await;
    let beat = Beat { address: lease.address.clone(), grant };
    for stamped in context.beats(&[beat.clone(), beat]).await {
        expect_reply!(stamped, HeartbeatReply::Kept { .. });
    }
}

/// An empty batch is answered with nothing.
pub(crate) async fn an_empty_batch_has_no_replies(context: &LawContext) {
    assert_eq!(context.beats(&[]).await, []);
}

/// A heartbeat extends the lease however little time has passed since the last one.
pub(crate) async fn a_heartbeat_extends_the_lease_right_after_another(context: &LawContext) {
    for name in HELD {
        let (key, grant) = held(context, name).await;
        for micros in [1, 1, 999, 1_000, 500_000, 1_000_000] {
            context.advance(std::time::Duration::from_micros(micros)).await;
            let reply = key.heartbeat(grant).await;
            assert!(reply.stamp.changed, "{micros} us after the last one: {reply:?}");
            let until = reply.stamp.now.plus(TTL);
            assert_eq!(key.record().await.lease_until, until, "{micros} us after the last one");
        }
    }
}

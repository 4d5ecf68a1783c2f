//! The clock: read once, lifted where it was set back, and never so late or early that a token is drawn twice.

use sentinel_conformance::DynHarness as _;
use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, ClaimId, CoordinationStore as _, Grant, OpId, PURGE_REST, Token};

use crate::harness::{DAY, HARD, REST, StoreHarness, TTL, call, fused, kept, label, result, server_time};

/// The record that is written and the reply have the same time: the server's, to the microsecond.
pub(crate) async fn the_clock_is_read_once(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let claim = call();
    let before = server_time();
    let reply = harness.change(&address, claim.clone()).await;
    assert!(reply.now.as_micros() as i64 >= before, "{reply:?}, at {before} or later");
    let record = harness.record(&address).await;
    let grant = Grant { token: record.token, claim_id: claim.claim_id };
    assert_eq!((record.claimed_at, record.last_now), (Some(reply.now), reply.now));
    assert_eq!((record.lease_until, record.hard_until), (reply.now.plus(TTL), reply.now.plus(HARD)));
    assert_eq!(record.token.get(), reply.now.as_micros() + 1);
    let reply = harness.change(&address, Begin { grant }).await;
    let record = harness.record(&address).await;
    assert_eq!((record.begun_at, record.last_now), (Some(reply.now), reply.now));
    let reply = harness.change(&address, Heartbeat { grant }).await;
    let record = harness.record(&address).await;
    assert_eq!((record.lease_until, record.last_now), (reply.now.plus(TTL), reply.now));
}

/// A result that expired was not purged, and its token is below the floor as well.
pub(crate) async fn tokens_increase_past_a_result_that_expired(harness: &StoreHarness, how: &str) {
    let (address, other, known) =
        (harness.execution("k"), harness.lease("other"), harness.execution("known"));
    harness.reset(&known).await;
    let last = match how {
        "force_complete" => forced(harness, &address).await,
        _ => harness.completed(&address, &kept()).await.token,
    };
    harness.delete_record(&address);
    harness.advance(DAY).await;
    assert_eq!(harness.purge().await, 0, "what expired is struck off");
    harness.set_back(2 * DAY).await;
    for address in [address, other, known] {
        let drawn = harness.granted(&address, &call()).await.token;
        assert!(drawn > last, "{drawn} was drawn at {address}, after {last}");
    }
}

async fn forced(harness: &StoreHarness, address: &Address) -> Token {
    let token = harness.taken(address, &kept()).await;
    let (op_id, operator) = (OpId::random(), label("olga"));
    let decision =
        ForceComplete { op_id, token, operator, reason: None, result: result("found"), as_is: false };
    harness.change(address, decision).await.token
}

/// Results that are completed in another order than they were claimed in leave the highest token as the floor: one
/// after the other, and together.
pub(crate) async fn a_completion_never_lowers_the_floor(harness: &StoreHarness, _: &str) {
    let keys = ["a", "b", "c"].map(|key| harness.execution(key));
    let claims = [kept(), kept(), kept()];
    let mut grants = Vec::new();
    for (address, claim) in keys.iter().zip(&claims) {
        grants.push(harness.granted(address, claim).await);
    }
    let highest = grants[2].token.get().to_string();
    let complete = |n: usize| harness.change(&keys[n], Complete { grant: grants[n], result: result("done") });
    tokio::join!(complete(2), complete(0));
    assert_eq!(harness.raw(&["GET", &harness.named("floor")]), highest);
    complete(1).await;
    assert_eq!(harness.raw(&["GET", &harness.named("floor")]), highest);
}

/// The floor is the highest token that was purged, in whatever order.
pub(crate) async fn a_purge_never_lowers_the_floor(harness: &StoreHarness, _: &str) {
    let (low, high) = (harness.execution("low"), harness.execution("high"));
    for together in [true, false] {
        harness.tombstone(&low).await;
        let highest = harness.tombstone(&high).await;
        harness.advance(REST / 2).await;
        // Changed later, under its old token: it is purged after the other.
        harness.change(&low, Cancel { claim_id: ClaimId::random() }).await;
        harness.advance(if together { REST } else { REST / 2 + TTL }).await;
        assert_eq!(harness.purge().await, if together { 2 } else { 1 });
        harness.advance(REST).await;
        assert_eq!(harness.purge().await, if together { 0 } else { 1 });
        assert_eq!(harness.raw(&["GET", &harness.named("floor")]), highest.get().to_string());
        harness.set_back(DAY).await;
        let drawn = harness.granted(&harness.execution(&format!("new {together}")), &call()).await.token;
        assert!(drawn > highest, "{drawn} was drawn, and {highest} was purged");
        harness.advance(DAY).await;
    }
}

/// Where no token is left, nothing is granted: the clock is beyond what a number can hold exactly.
pub(crate) async fn a_clock_beyond_the_last_token_grants_nothing(harness: &StoreHarness, _: &str) {
    let now = harness.change(&harness.execution("early"), call()).await.now;
    let last = Token::MAX.get() - now.as_micros();
    let address = harness.execution("late");
    harness.move_clock(i64::try_from(last).unwrap() - 1);
    let refused = harness.store.claim(&address, &call()).await.unwrap_err();
    assert_eq!(refused.applied(), Applied::No);
    assert!(harness.record(&address).await.is_absent());
}

/// A beat after the clock was set back is counted from the record's last reading.
pub(crate) async fn a_heartbeat_after_a_clock_step_back_uses_the_last_time(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let grant = harness.granted(&address, &call()).await;
    harness.advance(HARD / 60).await;
    let begun = harness.change(&address, Begin { grant }).await.now;
    harness.set_back(HARD / 30).await;
    let stamped = harness.ask(&address, Heartbeat { grant }).await;
    assert!(stamped.stamp.changed && stamped.stamp.now == begun, "{stamped:?}");
    let record = harness.record(&address).await;
    assert_eq!(record.last_now, begun);
    assert_eq!(record.lease_until, begun.plus(TTL));
}

/// A record is due when it has rested for more than an hour, and its retention is over: then, and not a microsecond
/// before.
pub(crate) async fn a_record_is_due_at_its_instant(harness: &StoreHarness, how: &str) {
    let address = harness.execution("k");
    let wait = match how {
        "free" => {
            harness.tombstone(&address).await;
            PURGE_REST.as_micros() + 1
        }
        "kept for no time" => {
            harness.completed(&address, &Claim { retention: Some(TTL), ..fused() }).await;
            PURGE_REST.as_micros() + 1
        }
        _ => {
            harness.completed(&address, &kept()).await;
            DAY.as_micros()
        }
    };
    harness.move_clock(i64::try_from(wait).unwrap() - 1);
    assert_eq!((harness.purged(true).await.records, harness.purge().await), (0, 0));
    harness.move_clock(1);
    assert_eq!((harness.purged(true).await.records, harness.purge().await), (1, 1));
}

/// Decisions on a clock that was set back draw above the record's token.
pub(crate) async fn decisions_after_a_clock_step_back_draw_higher_tokens(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let before = harness.granted(&address, &call()).await;
    harness.set_back(DAY).await;
    let (op_id, operator, expect) = (OpId::random(), label("olga"), before.token);
    let evicted = harness.ask(&address, Evict { op_id, operator, reason: None, expect }).await;
    let Reply::Evict(EvictReply::Evicted { token }) = evicted.reply else { panic!("{evicted:?}") };
    assert_eq!(harness.record(&address).await.decision.unwrap().at, evicted.stamp.now);
    let taken = harness.taken(&address, &fused()).await;
    let (op_id, operator) = (OpId::random(), label("olga"));
    let reset = ResetToClaimed { op_id, token: taken, operator, reason: None, accept_overlap: true };
    let freed = harness.change(&address, reset).await.token;
    assert!(before.token < token && token < taken && taken < freed);
}

mod checks {
    crate::mutants::own_tests! {
        the_clock_is_read_once;
        tokens_increase_past_a_result_that_expired for "complete" "force_complete";
        a_completion_never_lowers_the_floor;
        a_purge_never_lowers_the_floor;
        a_clock_beyond_the_last_token_grants_nothing for "" "with a fixed clock";
        a_heartbeat_after_a_clock_step_back_uses_the_last_time;
        a_record_is_due_at_its_instant for
            "free with a fixed clock" "kept for no time with a fixed clock" "kept with a fixed clock";
        decisions_after_a_clock_step_back_draw_higher_tokens;
    }
}

/// The suite's laws about a clock that was set back and of instants that are met exactly, where both can be had.
mod laws {
    crate::mutants::own_tests! {
        a_reading_is_never_before_the_last_one;
        the_highest_purged_token_is_the_floor;
        a_purge_does_not_reset_the_token_counter;
        a_claim_lapses_exactly_at_its_expiry for "with a fixed clock";
        a_begin_is_refused_exactly_from_the_expiry for "with a fixed clock";
        a_repeated_begin_is_refused_exactly_from_the_expiry for "with a fixed clock";
        a_lease_is_lost_exactly_at_its_expiry for "with a fixed clock";
        the_hard_deadline_applies_exactly_at_its_instant for "with a fixed clock";
        a_result_is_replayed_exactly_until_its_retention_ends for "with a fixed clock";
        a_completion_is_late_exactly_from_the_expiry for "with a fixed clock";
    }
}

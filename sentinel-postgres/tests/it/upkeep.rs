//! What is deleted, when, and what has to outlive it: PostgreSQL's rows, which the suite cannot see.

use std::time::Duration;

use sentinel_conformance::DynHarness as _;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge, Purged, VisibleState};
use sentinel_core::{Address, ClaimId, CoordinationStore as _, Grant, OpId, PURGE_REST, State, Token};

use crate::harness::{Fixture, HARD, call, fused, label, result, runtime};

/// How long the store of these checks keeps the events of earlier grants.
pub(crate) const EVENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const REST: Duration = Duration::from_secs(PURGE_REST.as_secs() + 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn fresh(fixture: &Fixture) -> Address {
    fixture.execution(&ClaimId::random().to_string())
}

async fn purged(fixture: &Fixture, dry_run: bool) -> Purged {
    let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run };
    fixture.store.purge(&purge).await.unwrap()
}

async fn purge(fixture: &Fixture) -> u64 {
    purged(fixture, false).await.records
}

/// A tombstone, and its token.
async fn tombstone(fixture: &Fixture, address: &Address) -> Token {
    let grant = fixture.granted(address, &call()).await;
    fixture.ask(address, Release { grant, vouched: false }).await;
    grant.token
}

/// A doubt that an operator holds, and the reconcile token.
async fn taken(fixture: &Fixture, address: &Address, claim: &Claim) -> Token {
    let grant = fixture.granted(address, claim).await;
    let op = Reconcile {
        op_id: OpId::random(),
        operator: label("olga"),
        reason: None,
        expect: grant.token,
        even_if_alive: true,
        steal: false,
    };
    let reply = fixture.ask(address, op).await;
    let Reply::Reconcile(ReconcileReply::Taken { token, .. }) = reply.reply else { panic!("{reply:?}") };
    token
}

/// A tombstone whose incarnation a reset has offered again.
async fn reset(fixture: &Fixture, address: &Address) {
    let token = taken(fixture, address, &fused()).await;
    let (op_id, operator) = (OpId::random(), label("olga"));
    let reply = fixture
        .ask(address, ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true })
        .await;
    assert!(reply.stamp.changed);
}

/// A claim that was freed again, in one way or another.
async fn freed(fixture: &Fixture, address: &Address, how: &str) {
    let grant = fixture.granted(address, &call()).await;
    let op: Op = match how {
        "cancel" => Cancel { claim_id: grant.claim_id }.into(),
        _ => {
            let (op_id, operator, expect) = (OpId::random(), label("olga"), grant.token);
            Evict { op_id, operator, reason: None, expect }.into()
        }
    };
    assert!(fixture.ask(address, op).await.stamp.changed);
}

/// A call that was cancelled before it came is remembered for an hour, and then forgotten.
pub(crate) async fn a_cancelled_call_is_kept_for_a_while(fixture: &Fixture, _: &str) {
    fixture.ask(&fresh(fixture), Cancel { claim_id: ClaimId::random() }).await;
    assert_eq!(purge(fixture).await, 0);
    fixture.advance(PURGE_REST / 2).await;
    assert_eq!(purge(fixture).await, 0);
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
}

/// A retention that no calendar holds is one without an end.
pub(crate) async fn the_longest_retention_is_kept(fixture: &Fixture, how: &str) {
    let (address, other) = (fresh(fixture), fresh(fixture));
    let claim = Claim { retention: Some(Duration::MAX), ..fused() };
    let grant = fixture.granted(&address, &claim).await;
    let complete = Complete { grant, result: result("done") };
    let reply = match how {
        "in a batch" => tokio::join!(fixture.ask(&address, complete), fixture.ask(&other, fused())).0,
        _ => fixture.ask(&address, complete).await,
    };
    assert!(reply.stamp.changed);
    if how == "in a batch" {
        assert_eq!(
            crate::batch_isolation::writers(fixture, &[&address, &other]).await,
            1,
            "it was not put off"
        );
    }
    fixture.advance(DAY * 365 * 100).await;
    let again = fixture.ask(&address, fused()).await;
    assert!(matches!(again.reply, Reply::Claim(ClaimReply::Completed { .. })), "{again:?}");
    assert_eq!(purge(fixture).await, 0);
}

/// A run after a reset that completes ends what the reset began: past its retention the key is as any other.
pub(crate) async fn a_completed_reset_is_purged(fixture: &Fixture, _: &str) {
    let address = fresh(fixture);
    reset(fixture, &address).await;
    let grant = fixture.granted(&address, &Claim { retention: Some(DAY), ..fused() }).await;
    fixture.ask(&address, Complete { grant, result: result("done") }).await;
    fixture.advance(DAY).await;
    tombstone(fixture, &address).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
}

/// A freed claim leaves the tombstone of a reset as it was: it stays.
pub(crate) async fn a_freed_reset_stays(fixture: &Fixture, how: &str) {
    let address = fresh(fixture);
    reset(fixture, &address).await;
    freed(fixture, &address, how).await;
    fixture.advance(DAY).await;
    assert_eq!(purge(fixture).await, 0);
}

/// A freed claim leaves a tombstone, which is purged when it has rested.
pub(crate) async fn a_freed_record_is_purged(fixture: &Fixture, how: &str) {
    freed(fixture, &fresh(fixture), how).await;
    assert_eq!(purge(fixture).await, 0);
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
}

/// A result that an operator recorded is kept for as long as one of a worker.
pub(crate) async fn a_forced_result_is_purged(fixture: &Fixture, _: &str) {
    for retention in [None, Some(Duration::from_secs(60)), Some(DAY)] {
        let (address, claim) = (fresh(fixture), Claim { retention, ..fused() });
        let token = taken(fixture, &address, &claim).await;
        let (op_id, operator) = (OpId::random(), label("olga"));
        fixture
            .ask(
                &address,
                ForceComplete { op_id, token, operator, reason: None, result: result("found"), as_is: false },
            )
            .await;
    }
    for (wait, gone) in [(Duration::from_secs(600), 0), (PURGE_REST, 1), (DAY, 1), (DAY * 365, 0)] {
        fixture.advance(wait).await;
        assert_eq!(purge(fixture).await, gone, "after another {wait:?}");
    }
}

/// The row and the last event of a purged record stay for an hour, and then nothing of it does; of others' all does.
pub(crate) async fn a_purged_row_is_forgotten(fixture: &Fixture, _: &str) {
    let elsewhere = fixture.elsewhere();
    let (address, there) = (fresh(fixture), fresh(&elsewhere));
    tombstone(fixture, &address).await;
    tombstone(&elsewhere, &there).await;
    fixture.advance(REST).await;
    assert_eq!((purge(fixture).await, purge(&elsewhere).await), (1, 1));
    let mut stranger = fixture.stranger().await;
    let rows = |address: &Address| {
        format!("SELECT count(*) FROM {} WHERE {}", fixture.records(), fixture.row(address))
    };
    let events = format!("SELECT count(*) FROM \"{}\".\"events\"", fixture.schema);
    let before = stranger.number(&events).await - 2;
    let changes = fixture.store.history(&there, u32::MAX).await.unwrap();
    fixture.advance(PURGE_REST / 2).await;
    assert_eq!(purge(fixture).await, 0);
    assert_eq!((stranger.number(&rows(&address)).await, stranger.number(&events).await), (1, before + 2));
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 0);
    assert_eq!((stranger.number(&rows(&address)).await, stranger.number(&events).await), (0, before + 1));
    assert_eq!(stranger.number(&rows(&there)).await, 1, "another namespace's row is none of ours");
    assert_eq!(fixture.store.history(&there, u32::MAX).await.unwrap(), changes, "nor are its events");
}

/// A row that another transaction holds is neither purged nor forgotten, nor waited for.
pub(crate) async fn a_locked_row_is_not_purged(fixture: &Fixture, _: &str) {
    let (held, other) = (fresh(fixture), fresh(fixture));
    tombstone(fixture, &held).await;
    tombstone(fixture, &other).await;
    fixture.advance(REST).await;
    for left in [1, 0] {
        let mut holder = fixture.hold(&held, Some("worker = worker")).await;
        assert_eq!(purge(fixture).await, left, "only the other");
        holder.run("COMMIT").await;
        assert_eq!(purge(fixture).await, left, "and then this one");
        fixture.advance(REST).await;
    }
    let sql = format!(
        "SELECT count(*) FROM {} WHERE namespace = '{}'",
        fixture.records(),
        fixture.namespace.as_str()
    );
    assert_eq!(fixture.stranger().await.number(&sql).await, 0);
}

/// A purge takes nothing of what it leaves: another namespace's, or what is over its limit.
pub(crate) async fn a_purge_spares_what_it_leaves(fixture: &Fixture, _: &str) {
    let elsewhere = fixture.elsewhere();
    let (first, second, there) = (fresh(fixture), fresh(fixture), fresh(&elsewhere));
    for address in [&first, &second, &there] {
        tombstone(fixture, address).await;
    }
    fixture.advance(REST).await;
    let purge = Purge { namespace: fixture.namespace.clone(), limit: 1, dry_run: false };
    assert_eq!(fixture.store.purge(&purge).await.unwrap(), Purged { records: 1, more: true });
    for (address, events) in [(&first, 1), (&second, 2), (&there, 2)] {
        assert_eq!(fixture.store.history(address, u32::MAX).await.unwrap().len(), events);
    }
}

/// Events of earlier grants go when they are old; those of the present grant, and of a purge, stay.
pub(crate) async fn events_of_earlier_grants_are_deleted(fixture: &Fixture, _: &str) {
    let (address, other, gone) = (fresh(fixture), fresh(fixture), fresh(fixture));
    tombstone(fixture, &gone).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
    fixture.granted(&gone, &call()).await;
    tombstone(fixture, &address).await;
    let grant = fixture.granted(&other, &call()).await;
    fixture.ask(&other, Begin { grant }).await;
    fixture.advance(EVENTS_KEPT / 2).await;
    fixture.granted(&address, &fused()).await;
    let changes = async |address: &Address| -> Vec<&'static str> {
        let events = fixture.store.history(address, u32::MAX).await.unwrap();
        events.iter().map(|event| event.change.name()).collect()
    };
    purge(fixture).await;
    assert_eq!(changes(&address).await, ["claimed", "released", "claimed"], "none is old");
    fixture.advance(EVENTS_KEPT / 2 + REST).await;
    purge(fixture).await;
    assert_eq!(changes(&address).await, ["claimed"], "the present grant's");
    assert_eq!(changes(&other).await, ["claimed", "begun"], "old, and the present grant's");
    assert_eq!(changes(&gone).await, ["purged", "claimed"]);
}

/// The floor is the highest token that was purged, in whatever order.
pub(crate) async fn a_purge_keeps_the_highest_token(fixture: &Fixture, how: &str) {
    let far = Duration::from_secs(7 * 24 * 3600);
    // A lower floor, of another namespace.
    let elsewhere = fixture.elsewhere();
    tombstone(&elsewhere, &fresh(&elsewhere)).await;
    fixture.advance(REST).await;
    assert_eq!(purge(&elsewhere).await, 1);
    let above = async |highest: Token| {
        fixture.set_back(far).await;
        let (one, other, claim) = (fresh(fixture), fresh(fixture), call());
        let drawn = match how {
            "in a batch" => tokio::join!(fixture.granted(&one, &claim), fixture.ask(&other, call())).0.token,
            _ => fixture.granted(&one, &claim).await.token,
        };
        assert!(drawn > highest, "{drawn} was drawn, and {highest} was purged");
        fixture.advance(far).await;
    };
    let (low, high) = (fresh(fixture), fresh(fixture));
    tombstone(fixture, &low).await;
    let highest = tombstone(fixture, &high).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 2);
    above(highest).await;
    tombstone(fixture, &low).await;
    let highest = tombstone(fixture, &high).await;
    fixture.advance(REST / 2).await;
    // Changed later, under its old token.
    fixture.ask(&low, Cancel { claim_id: ClaimId::random() }).await;
    fixture.advance(REST / 2 + HARD / 10).await;
    assert_eq!(purge(fixture).await, 1);
    above(highest).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
    above(highest).await;
}

/// The next life of a key knows nothing of what an operator decided in the last.
pub(crate) async fn a_purged_key_has_no_decision(fixture: &Fixture, _: &str) {
    let address = fresh(fixture);
    freed(fixture, &address, "evict").await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
    fixture.granted(&address, &call()).await;
    assert_eq!(fixture.record(&address).await.decision, None);
}

/// The first event after a purge comes from nothing.
pub(crate) async fn the_next_life_begins_from_nothing(fixture: &Fixture, how: &str) {
    let address = fresh(fixture);
    tombstone(fixture, &address).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
    let unclaimed = Grant { token: Token::NONE, claim_id: ClaimId::random() };
    let stamp = fixture.ask(&address, Begin { grant: unclaimed }).await.stamp;
    assert_eq!((stamp.rev, stamp.token), (0, Token::NONE));
    let op: Op = match how {
        "cancel" => Cancel { claim_id: ClaimId::random() }.into(),
        _ => call().into(),
    };
    assert!(fixture.ask(&address, op).await.stamp.changed);
    let last = fixture.store.history(&address, 1).await.unwrap().remove(0);
    assert_eq!((last.rev, last.from), (1, None));
}

/// However many calls an address has seen, eight are remembered.
pub(crate) async fn eight_calls_are_remembered(fixture: &Fixture, how: &str) {
    let address = fresh(fixture);
    for _ in 0..10 {
        match how {
            "reconcile" => reset(fixture, &address).await,
            "claim" => {
                fixture.granted(&address, &call()).await;
                fixture.advance(HARD).await;
            }
            _ => freed(fixture, &address, how).await,
        }
    }
    let record = fixture.store.inspect(&address).await.unwrap().record.unwrap();
    assert_eq!(record.past_claims.iter().count(), 8);
}

/// A tombstone that is claimed again is none any more.
pub(crate) async fn a_lease_that_is_held_again_stays(fixture: &Fixture, how: &str) {
    let [one, other] = ["one", "other"].map(|key| fixture.lease(key));
    tombstone(fixture, &one).await;
    tombstone(fixture, &other).await;
    match how {
        "in a batch" => _ = tokio::join!(fixture.ask(&one, call()), fixture.ask(&other, call())),
        _ => {
            fixture.ask(&one, call()).await;
            fixture.ask(&other, call()).await;
        }
    }
    fixture.advance(DAY).await;
    assert_eq!(purge(fixture).await, 0);
}

/// What a reset has offered again stays, through any number of claims that are given back, until a vouched release.
pub(crate) async fn a_reset_ends_with_a_vouched_release(fixture: &Fixture, how: &str) {
    let keys = [fresh(fixture), fresh(fixture)];
    for address in &keys {
        reset(fixture, address).await;
    }
    let back = async |vouched: bool| {
        let [one, other] = [
            fixture.granted(&keys[0], &fused_if(vouched)).await,
            fixture.granted(&keys[1], &fused_if(vouched)).await,
        ];
        let [one, other] = [one, other].map(|grant| Release { grant, vouched });
        match how {
            "in a batch" => _ = tokio::join!(fixture.ask(&keys[0], one), fixture.ask(&keys[1], other)),
            _ => {
                fixture.ask(&keys[0], one).await;
                fixture.ask(&keys[1], other).await;
            }
        }
    };
    back(false).await;
    back(false).await;
    fixture.advance(DAY).await;
    assert_eq!(purge(fixture).await, 0);
    back(true).await;
    fixture.ask(&keys[0], Cancel { claim_id: ClaimId::random() }).await;
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 2);
}

fn fused_if(begun: bool) -> Claim {
    if begun { fused() } else { call() }
}

/// A run past the retention of the last has nothing of its doubt, and is as far as it asked to be.
pub(crate) async fn a_new_run_has_no_doubt(fixture: &Fixture, _: &str) {
    let address = fresh(fixture);
    let grant = fixture.granted(&address, &Claim { retention: Some(DAY), ..fused() }).await;
    fixture
        .ask(&address, Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO })
        .await;
    fixture.ask(&address, Complete { grant, result: result("done") }).await;
    fixture.advance(DAY).await;
    fixture.granted(&address, &fused()).await;
    let record = fixture.record(&address).await;
    assert_eq!((record.doubt, record.state), (None, State::Executing));
}

/// A lease that ended before its hard deadline is not brought back after it.
pub(crate) async fn a_heartbeat_past_the_hard_deadline_is_refused(fixture: &Fixture, _: &str) {
    let address = fresh(fixture);
    let grant = fixture.granted(&address, &fused()).await;
    fixture.advance(HARD).await;
    let reply = fixture.ask(&address, Heartbeat { grant }).await;
    assert_eq!(reply.reply, Reply::Heartbeat(HeartbeatReply::Lost(LostReason::HardDeadline)));
}

/// A beat after the clock was set back is counted from the record's last reading.
pub(crate) async fn a_heartbeat_after_the_clock_was_set_back_keeps_its_lease(fixture: &Fixture, _: &str) {
    let address = fresh(fixture);
    let grant = fixture.granted(&address, &call()).await;
    fixture.advance(HARD / 60).await;
    let begun = fixture.ask(&address, Begin { grant }).await.stamp.now;
    fixture.set_back(HARD / 30).await;
    let reply = fixture.ask(&address, Heartbeat { grant }).await;
    assert!(reply.stamp.changed && reply.stamp.now == begun, "{reply:?}");
    let record = fixture.record(&address).await;
    assert_eq!(record.last_now, begun);
    assert_eq!(record.lease_until, begun.plus(record.terms.unwrap().ttl()));
    fixture.advance(HARD / 30).await;
}

/// Rows that were purged, and are claimed again together, draw their tokens above the floor.
pub(crate) async fn what_was_purged_draws_above_the_floor(fixture: &Fixture, _: &str) {
    let [one, other] = ["one", "other"].map(|key| fixture.lease(key));
    let highest = tombstone(fixture, &one).await.max(tombstone(fixture, &other).await);
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 2);
    fixture.set_back(DAY).await;
    let (claim, another) = (call(), call());
    let (one, other) = tokio::join!(fixture.granted(&one, &claim), fixture.granted(&other, &another));
    assert!(one.token > highest && other.token > highest, "{one:?} and {other:?} came after {highest}");
    fixture.advance(DAY).await;
}

/// What is left of a purged record is no tombstone.
pub(crate) async fn a_purged_key_is_not_listed_as_free(fixture: &Fixture, _: &str) {
    tombstone(fixture, &fresh(fixture)).await;
    let (namespace, kind) = (fixture.namespace.clone(), sentinel_core::Kind::Execution);
    let list = List { namespace, kind, state: Some(VisibleState::Free), after: None, limit: List::MAX };
    assert_eq!(fixture.store.list(&list).await.unwrap().records.len(), 1);
    fixture.advance(REST).await;
    assert_eq!(purge(fixture).await, 1);
    assert_eq!(fixture.store.list(&list).await.unwrap().records, []);
    assert_eq!(fixture.store.list(&List { state: None, ..list }).await.unwrap().records, []);
}

/// A dry run counts what a purge would purge: neither what is not due nor what it would only forget.
pub(crate) async fn a_dry_run_counts_what_is_due(fixture: &Fixture, _: &str) {
    let elsewhere = fixture.elsewhere();
    tombstone(&elsewhere, &fresh(&elsewhere)).await;
    tombstone(fixture, &fresh(fixture)).await;
    assert_eq!(purged(fixture, true).await.records, 0);
    fixture.advance(REST).await;
    assert_eq!((purged(fixture, true).await.records, purge(fixture).await), (1, 1));
    fixture.advance(REST).await;
    assert_eq!(purged(fixture, true).await.records, 0);
}

macro_rules! tests {
    ($($check:ident $(for $($how:literal)*)?;)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    // Old events are forgotten in all namespaces, and each test has a clock of its own.
                    let schema = concat!("upkeep_", stringify!($check));
                    let fixture = super::Fixture::open(schema, |builder| {
                        builder.event_retention(super::EVENTS_KEPT)
                    })
                    .await;
                    for how in tests!(@ways $($($how)*)?) {
                        let fixture = fixture.elsewhere();
                        super::$check(&fixture, how).await;
                    }
                });
            }
        )*}
    };
    (@ways) => { [""] };
    (@ways $($how:literal)*) => { [$($how,)*] };
}

tests! {
    a_cancelled_call_is_kept_for_a_while;
    the_longest_retention_is_kept for "alone" "in a batch";
    a_completed_reset_is_purged;
    a_freed_reset_stays for "cancel" "evict";
    a_freed_record_is_purged for "cancel" "evict";
    a_forced_result_is_purged;
    a_purged_row_is_forgotten;
    a_locked_row_is_not_purged;
    a_purge_spares_what_it_leaves;
    a_lease_that_is_held_again_stays for "alone" "in a batch";
    events_of_earlier_grants_are_deleted;
    a_purge_keeps_the_highest_token for "alone" "in a batch";
    a_purged_key_has_no_decision;
    a_reset_ends_with_a_vouched_release for "alone" "in a batch";
    what_was_purged_draws_above_the_floor;
    a_new_run_has_no_doubt;
    a_heartbeat_past_the_hard_deadline_is_refused;
    a_heartbeat_after_the_clock_was_set_back_keeps_its_lease;
    the_next_life_begins_from_nothing for "cancel" "claim";
    eight_calls_are_remembered for "cancel" "claim" "evict" "reconcile";
    a_purged_key_is_not_listed_as_free;
    a_dry_run_counts_what_is_due;
}

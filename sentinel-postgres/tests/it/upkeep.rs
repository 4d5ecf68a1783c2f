//! What is deleted, when, and what has to outlive it: PostgreSQL's rows, which the suite cannot see.

use std::time::Duration;

use sentinel_conformance::Bench as _;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge, Purged, Shown};
use sentinel_core::{Address, ClaimId, CoordinationStore as _, Grant, OpId, PURGE_REST, State, Token};

use crate::rig::{HARD, Rig, call, fused, label, result, runtime};

/// How long the store of these checks keeps the events of earlier grants.
pub(crate) const EVENTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

const REST: Duration = Duration::from_secs(PURGE_REST.as_secs() + 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn fresh(rig: &Rig) -> Address {
    rig.execution(&ClaimId::random().to_string())
}

async fn purged(rig: &Rig, dry_run: bool) -> Purged {
    let purge = Purge { namespace: rig.namespace.clone(), limit: u32::MAX, dry_run };
    rig.store.purge(&purge).await.unwrap()
}

async fn purge(rig: &Rig) -> u64 {
    purged(rig, false).await.records
}

/// A tombstone, and its token.
async fn tombstone(rig: &Rig, address: &Address) -> Token {
    let grant = rig.granted(address, &call()).await;
    rig.ask(address, Release { grant, vouched: false }).await;
    grant.token
}

/// A doubt that an operator holds, and the reconcile token.
async fn taken(rig: &Rig, address: &Address, claim: &Claim) -> Token {
    let grant = rig.granted(address, claim).await;
    let told = rig
        .ask(
            address,
            Reconcile {
                op_id: OpId::random(),
                operator: label("olga"),
                reason: None,
                expect: grant.token,
                even_if_alive: true,
                steal: false,
            },
        )
        .await;
    let Reply::Reconcile(ReconcileReply::Taken { token, .. }) = told.reply else { panic!("{told:?}") };
    token
}

/// A tombstone whose incarnation a reset has offered again.
async fn reset(rig: &Rig, address: &Address) {
    let token = taken(rig, address, &fused()).await;
    let (op_id, operator) = (OpId::random(), label("olga"));
    let told =
        rig.ask(address, ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true }).await;
    assert!(told.stamp.changed);
}

/// A claim that was freed again, in one way or another.
async fn freed(rig: &Rig, address: &Address, how: &str) {
    let grant = rig.granted(address, &call()).await;
    let op: Op = match how {
        "cancel" => Cancel { claim_id: grant.claim_id }.into(),
        _ => {
            let (op_id, operator, expect) = (OpId::random(), label("olga"), grant.token);
            Evict { op_id, operator, reason: None, expect }.into()
        }
    };
    assert!(rig.ask(address, op).await.stamp.changed);
}

/// A call that was cancelled before it came is remembered for an hour, and then forgotten.
pub(crate) async fn a_cancelled_call_rests(rig: &Rig, _: &str) {
    rig.ask(&fresh(rig), Cancel { claim_id: ClaimId::random() }).await;
    assert_eq!(purge(rig).await, 0);
    rig.advance(PURGE_REST / 2).await;
    assert_eq!(purge(rig).await, 0);
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
}

/// A retention that no calendar holds is one without an end.
pub(crate) async fn the_longest_retention_is_kept(rig: &Rig, how: &str) {
    let (address, other) = (fresh(rig), fresh(rig));
    let claim = Claim { retention: Some(Duration::MAX), ..fused() };
    let grant = rig.granted(&address, &claim).await;
    let complete = Complete { grant, result: result("done") };
    let told = match how {
        "in company" => tokio::join!(rig.ask(&address, complete), rig.ask(&other, fused())).0,
        _ => rig.ask(&address, complete).await,
    };
    assert!(told.stamp.changed);
    if how == "in company" {
        assert_eq!(crate::company::writers(rig, &[&address, &other]).await, 1, "it was not put off");
    }
    rig.advance(DAY * 365 * 100).await;
    let again = rig.ask(&address, fused()).await;
    assert!(matches!(again.reply, Reply::Claim(ClaimReply::Completed { .. })), "{again:?}");
    assert_eq!(purge(rig).await, 0);
}

/// A run after a reset that completes ends what the reset began: past its retention the key is as any other.
pub(crate) async fn a_completed_reset_is_purged(rig: &Rig, _: &str) {
    let address = fresh(rig);
    reset(rig, &address).await;
    let grant = rig.granted(&address, &Claim { retention: Some(DAY), ..fused() }).await;
    rig.ask(&address, Complete { grant, result: result("done") }).await;
    rig.advance(DAY).await;
    tombstone(rig, &address).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
}

/// A freed claim leaves the tombstone of a reset as it was: it stays.
pub(crate) async fn a_freed_reset_stays(rig: &Rig, how: &str) {
    let address = fresh(rig);
    reset(rig, &address).await;
    freed(rig, &address, how).await;
    rig.advance(DAY).await;
    assert_eq!(purge(rig).await, 0);
}

/// A freed claim leaves a tombstone, which is purged when it has rested.
pub(crate) async fn a_freed_record_is_purged(rig: &Rig, how: &str) {
    freed(rig, &fresh(rig), how).await;
    assert_eq!(purge(rig).await, 0);
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
}

/// A result that an operator recorded is kept for as long as one of a worker.
pub(crate) async fn a_forced_result_is_purged(rig: &Rig, _: &str) {
    for retention in [None, Some(Duration::from_secs(60)), Some(DAY)] {
        let (address, claim) = (fresh(rig), Claim { retention, ..fused() });
        let token = taken(rig, &address, &claim).await;
        let (op_id, operator) = (OpId::random(), label("olga"));
        rig.ask(
            &address,
            ForceComplete { op_id, token, operator, reason: None, result: result("found"), as_is: false },
        )
        .await;
    }
    for (wait, gone) in [(Duration::from_secs(600), 0), (PURGE_REST, 1), (DAY, 1), (DAY * 365, 0)] {
        rig.advance(wait).await;
        assert_eq!(purge(rig).await, gone, "after another {wait:?}");
    }
}

/// The row and the last event of a purged record stay for an hour, and then nothing of it does; of others' all does.
pub(crate) async fn a_purged_row_is_forgotten(rig: &Rig, _: &str) {
    let elsewhere = rig.elsewhere();
    let (address, there) = (fresh(rig), fresh(&elsewhere));
    tombstone(rig, &address).await;
    tombstone(&elsewhere, &there).await;
    rig.advance(REST).await;
    assert_eq!((purge(rig).await, purge(&elsewhere).await), (1, 1));
    let mut stranger = rig.stranger().await;
    let rows =
        |address: &Address| format!("SELECT count(*) FROM {} WHERE {}", rig.records(), rig.row(address));
    let events = format!("SELECT count(*) FROM \"{}\".\"events\"", rig.schema);
    let before = stranger.number(&events).await - 2;
    let story = rig.store.history(&there, u32::MAX).await.unwrap();
    rig.advance(PURGE_REST / 2).await;
    assert_eq!(purge(rig).await, 0);
    assert_eq!((stranger.number(&rows(&address)).await, stranger.number(&events).await), (1, before + 2));
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 0);
    assert_eq!((stranger.number(&rows(&address)).await, stranger.number(&events).await), (0, before + 1));
    assert_eq!(stranger.number(&rows(&there)).await, 1, "another namespace's row is none of ours");
    assert_eq!(rig.store.history(&there, u32::MAX).await.unwrap(), story, "nor is what it tells");
}

/// A row that somebody holds is neither purged nor forgotten, nor waited for.
pub(crate) async fn a_held_row_is_not_purged(rig: &Rig, _: &str) {
    let (held, other) = (fresh(rig), fresh(rig));
    tombstone(rig, &held).await;
    tombstone(rig, &other).await;
    rig.advance(REST).await;
    for left in [1, 0] {
        let mut holder = rig.hold(&held, Some("worker = worker")).await;
        assert_eq!(purge(rig).await, left, "only the other");
        holder.run("COMMIT").await;
        assert_eq!(purge(rig).await, left, "and then this one");
        rig.advance(REST).await;
    }
    let sql =
        format!("SELECT count(*) FROM {} WHERE namespace = '{}'", rig.records(), rig.namespace.as_str());
    assert_eq!(rig.stranger().await.number(&sql).await, 0);
}

/// A purge takes nothing of what it leaves: another namespace's, or what is over its limit.
pub(crate) async fn a_purge_spares_what_it_leaves(rig: &Rig, _: &str) {
    let elsewhere = rig.elsewhere();
    let (first, second, there) = (fresh(rig), fresh(rig), fresh(&elsewhere));
    for address in [&first, &second, &there] {
        tombstone(rig, address).await;
    }
    rig.advance(REST).await;
    let purge = Purge { namespace: rig.namespace.clone(), limit: 1, dry_run: false };
    assert_eq!(rig.store.purge(&purge).await.unwrap(), Purged { records: 1, more: true });
    for (address, events) in [(&first, 1), (&second, 2), (&there, 2)] {
        assert_eq!(rig.store.history(address, u32::MAX).await.unwrap().len(), events);
    }
}

/// Events of earlier grants go when they are old; those of the present grant, and of a purge, stay.
pub(crate) async fn events_of_earlier_grants_are_forgotten(rig: &Rig, _: &str) {
    let (address, other, gone) = (fresh(rig), fresh(rig), fresh(rig));
    tombstone(rig, &gone).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
    rig.granted(&gone, &call()).await;
    tombstone(rig, &address).await;
    let grant = rig.granted(&other, &call()).await;
    rig.ask(&other, Begin { grant }).await;
    rig.advance(EVENTS_KEPT / 2).await;
    rig.granted(&address, &fused()).await;
    let story = async |address: &Address| -> Vec<&'static str> {
        let events = rig.store.history(address, u32::MAX).await.unwrap();
        events.iter().map(|event| event.change.name()).collect()
    };
    purge(rig).await;
    assert_eq!(story(&address).await, ["claimed", "released", "claimed"], "none is old");
    rig.advance(EVENTS_KEPT / 2 + REST).await;
    purge(rig).await;
    assert_eq!(story(&address).await, ["claimed"], "the present grant's");
    assert_eq!(story(&other).await, ["claimed", "begun"], "old, and the present grant's");
    assert_eq!(story(&gone).await, ["purged", "claimed"]);
}

/// The floor is the highest token that was purged, in whatever order.
pub(crate) async fn a_purge_keeps_the_highest_token(rig: &Rig, how: &str) {
    let far = Duration::from_secs(7 * 24 * 3600);
    // A lower floor, of another namespace.
    let elsewhere = rig.elsewhere();
    tombstone(&elsewhere, &fresh(&elsewhere)).await;
    rig.advance(REST).await;
    assert_eq!(purge(&elsewhere).await, 1);
    let above = async |highest: Token| {
        rig.set_back(far).await;
        let (one, other, claim) = (fresh(rig), fresh(rig), call());
        let drawn = match how {
            "in company" => tokio::join!(rig.granted(&one, &claim), rig.ask(&other, call())).0.token,
            _ => rig.granted(&one, &claim).await.token,
        };
        assert!(drawn > highest, "{drawn} was drawn, and {highest} was purged");
        rig.advance(far).await;
    };
    let (low, high) = (fresh(rig), fresh(rig));
    tombstone(rig, &low).await;
    let highest = tombstone(rig, &high).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 2);
    above(highest).await;
    tombstone(rig, &low).await;
    let highest = tombstone(rig, &high).await;
    rig.advance(REST / 2).await;
    // Changed later, under its old token.
    rig.ask(&low, Cancel { claim_id: ClaimId::random() }).await;
    rig.advance(REST / 2 + HARD / 10).await;
    assert_eq!(purge(rig).await, 1);
    above(highest).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
    above(highest).await;
}

/// The next life of a key knows nothing of what an operator decided in the last.
pub(crate) async fn a_purged_key_has_no_decision(rig: &Rig, _: &str) {
    let address = fresh(rig);
    freed(rig, &address, "evict").await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
    rig.granted(&address, &call()).await;
    assert_eq!(rig.record(&address).await.decision, None);
}

/// The first event after a purge comes from nothing.
pub(crate) async fn the_next_life_begins_from_nothing(rig: &Rig, how: &str) {
    let address = fresh(rig);
    tombstone(rig, &address).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
    let nobody = Grant { token: Token::NONE, claim_id: ClaimId::random() };
    let stamp = rig.ask(&address, Begin { grant: nobody }).await.stamp;
    assert_eq!((stamp.rev, stamp.token), (0, Token::NONE));
    let op: Op = match how {
        "cancel" => Cancel { claim_id: ClaimId::random() }.into(),
        _ => call().into(),
    };
    assert!(rig.ask(&address, op).await.stamp.changed);
    let last = rig.store.history(&address, 1).await.unwrap().remove(0);
    assert_eq!((last.rev, last.from), (1, None));
}

/// However many calls an address has seen, eight are remembered.
pub(crate) async fn eight_calls_are_remembered(rig: &Rig, how: &str) {
    let address = fresh(rig);
    for _ in 0..10 {
        match how {
            "reconcile" => reset(rig, &address).await,
            "claim" => {
                rig.granted(&address, &call()).await;
                rig.advance(HARD).await;
            }
            _ => freed(rig, &address, how).await,
        }
    }
    let record = rig.store.inspect(&address).await.unwrap().record.unwrap();
    assert_eq!(record.past_claims.iter().count(), 8);
}

/// A tombstone that is claimed again is none any more.
pub(crate) async fn a_lease_that_is_held_again_stays(rig: &Rig, how: &str) {
    let [one, other] = ["one", "other"].map(|key| rig.lease(key));
    tombstone(rig, &one).await;
    tombstone(rig, &other).await;
    match how {
        "in company" => _ = tokio::join!(rig.ask(&one, call()), rig.ask(&other, call())),
        _ => {
            rig.ask(&one, call()).await;
            rig.ask(&other, call()).await;
        }
    }
    rig.advance(DAY).await;
    assert_eq!(purge(rig).await, 0);
}

/// What a reset has offered again stays, through any number of claims that are given back, until a vouched release.
pub(crate) async fn a_reset_ends_with_a_vouched_release(rig: &Rig, how: &str) {
    let keys = [fresh(rig), fresh(rig)];
    for address in &keys {
        reset(rig, address).await;
    }
    let back = async |vouched: bool| {
        let [one, other] = [
            rig.granted(&keys[0], &fused_if(vouched)).await,
            rig.granted(&keys[1], &fused_if(vouched)).await,
        ];
        let [one, other] = [one, other].map(|grant| Release { grant, vouched });
        match how {
            "in company" => _ = tokio::join!(rig.ask(&keys[0], one), rig.ask(&keys[1], other)),
            _ => {
                rig.ask(&keys[0], one).await;
                rig.ask(&keys[1], other).await;
            }
        }
    };
    back(false).await;
    back(false).await;
    rig.advance(DAY).await;
    assert_eq!(purge(rig).await, 0);
    back(true).await;
    rig.ask(&keys[0], Cancel { claim_id: ClaimId::random() }).await;
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 2);
}

fn fused_if(begun: bool) -> Claim {
    if begun { fused() } else { call() }
}

/// A run past the retention of the last has nothing of its doubt, and is as far as it asked to be.
pub(crate) async fn a_new_run_has_no_doubt(rig: &Rig, _: &str) {
    let address = fresh(rig);
    let grant = rig.granted(&address, &Claim { retention: Some(DAY), ..fused() }).await;
    rig.ask(&address, Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO })
        .await;
    rig.ask(&address, Complete { grant, result: result("done") }).await;
    rig.advance(DAY).await;
    rig.granted(&address, &fused()).await;
    let record = rig.record(&address).await;
    assert_eq!((record.doubt, record.state), (None, State::Executing));
}

/// A lease that ended before its hard deadline is not brought back after it.
pub(crate) async fn a_beat_past_the_hard_deadline_is_lost(rig: &Rig, _: &str) {
    let address = fresh(rig);
    let grant = rig.granted(&address, &fused()).await;
    rig.advance(HARD).await;
    let told = rig.ask(&address, Heartbeat { grant }).await;
    assert_eq!(told.reply, Reply::Heartbeat(HeartbeatReply::Lost(LostReason::HardDeadline)));
}

/// A beat after the clock was set back is counted from the record's last reading.
pub(crate) async fn a_beat_after_a_step_back_is_lifted(rig: &Rig, _: &str) {
    let address = fresh(rig);
    let grant = rig.granted(&address, &call()).await;
    rig.advance(HARD / 60).await;
    let begun = rig.ask(&address, Begin { grant }).await.stamp.now;
    rig.set_back(HARD / 30).await;
    let told = rig.ask(&address, Heartbeat { grant }).await;
    assert!(told.stamp.changed && told.stamp.now == begun, "{told:?}");
    let record = rig.record(&address).await;
    assert_eq!(record.last_now, begun);
    assert_eq!(record.lease_until, begun.plus(record.terms.unwrap().ttl()));
    rig.advance(HARD / 30).await;
}

/// Rows that were purged, and are claimed again together, draw their tokens above the floor.
pub(crate) async fn what_was_purged_draws_above_the_floor(rig: &Rig, _: &str) {
    let [one, other] = ["one", "other"].map(|key| rig.lease(key));
    let highest = tombstone(rig, &one).await.max(tombstone(rig, &other).await);
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 2);
    rig.set_back(DAY).await;
    let (claim, another) = (call(), call());
    let (one, other) = tokio::join!(rig.granted(&one, &claim), rig.granted(&other, &another));
    assert!(one.token > highest && other.token > highest, "{one:?} and {other:?} came after {highest}");
    rig.advance(DAY).await;
}

/// What is left of a purged record is no tombstone.
pub(crate) async fn a_purged_key_is_not_listed_as_free(rig: &Rig, _: &str) {
    tombstone(rig, &fresh(rig)).await;
    let (namespace, kind) = (rig.namespace.clone(), sentinel_core::Kind::Execution);
    let list = List { namespace, kind, state: Some(Shown::Free), after: None, limit: List::MAX };
    assert_eq!(rig.store.list(&list).await.unwrap().records.len(), 1);
    rig.advance(REST).await;
    assert_eq!(purge(rig).await, 1);
    assert_eq!(rig.store.list(&list).await.unwrap().records, []);
    assert_eq!(rig.store.list(&List { state: None, ..list }).await.unwrap().records, []);
}

/// A dry run counts what a purge would purge: neither what is not due nor what it would only forget.
pub(crate) async fn a_dry_run_counts_what_is_due(rig: &Rig, _: &str) {
    let elsewhere = rig.elsewhere();
    tombstone(&elsewhere, &fresh(&elsewhere)).await;
    tombstone(rig, &fresh(rig)).await;
    assert_eq!(purged(rig, true).await.records, 0);
    rig.advance(REST).await;
    assert_eq!((purged(rig, true).await.records, purge(rig).await), (1, 1));
    rig.advance(REST).await;
    assert_eq!(purged(rig, true).await.records, 0);
}

macro_rules! tests {
    ($($check:ident $(for $($how:literal)*)?;)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    // Old events are forgotten in all namespaces, and each test has a clock of its own.
                    let schema = concat!("upkeep_", stringify!($check));
                    let rig = super::Rig::open(schema, |builder| builder.event_retention(super::EVENTS_KEPT)).await;
                    for how in tests!(@ways $($($how)*)?) {
                        let rig = rig.elsewhere();
                        super::$check(&rig, how).await;
                    }
                });
            }
        )*}
    };
    (@ways) => { [""] };
    (@ways $($how:literal)*) => { [$($how,)*] };
}

tests! {
    a_cancelled_call_rests;
    the_longest_retention_is_kept for "alone" "in company";
    a_completed_reset_is_purged;
    a_freed_reset_stays for "cancel" "evict";
    a_freed_record_is_purged for "cancel" "evict";
    a_forced_result_is_purged;
    a_purged_row_is_forgotten;
    a_held_row_is_not_purged;
    a_purge_spares_what_it_leaves;
    a_lease_that_is_held_again_stays for "alone" "in company";
    events_of_earlier_grants_are_forgotten;
    a_purge_keeps_the_highest_token for "alone" "in company";
    a_purged_key_has_no_decision;
    a_reset_ends_with_a_vouched_release for "alone" "in company";
    what_was_purged_draws_above_the_floor;
    a_new_run_has_no_doubt;
    a_beat_past_the_hard_deadline_is_lost;
    a_beat_after_a_step_back_is_lifted;
    the_next_life_begins_from_nothing for "cancel" "claim";
    eight_calls_are_remembered for "cancel" "claim" "evict" "reconcile";
    a_purged_key_is_not_listed_as_free;
    a_dry_run_counts_what_is_due;
}

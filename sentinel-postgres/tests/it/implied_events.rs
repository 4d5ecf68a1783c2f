//! A record's history is complete, whether its row implies the events or they are stored.

use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::kernel::{self, Op, Rebuilt, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Change, ClaimId, CoordinationStore as _, Event, Fingerprint, Grant, OpId, PURGE_REST, Payload,
    RecordedResult, State, Token, Verdict,
};

use crate::harness::{Fixture, HARD, TTL, call, fused, label, runtime};
use crate::locks;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn with_request(claim: Claim) -> Claim {
    Claim { fingerprint: Some(Fingerprint::new("what was asked").unwrap()), retention: Some(DAY), ..claim }
}

fn failed() -> RecordedResult {
    RecordedResult::failure(Some(7), Payload::new(Payload::OCTETS, "declined"))
}

/// What follows a claim: the claim, and the operations after it, each with what the clock does before.
fn course(how: &str, grant: Grant) -> Vec<(Duration, Op)> {
    let (op_id, operator) = (OpId::random(), label("olga"));
    let at_once = |op: Op| vec![(Duration::ZERO, op)];
    match how {
        "begin" => at_once(Begin { grant }.into()),
        "cancel" => at_once(Cancel { claim_id: grant.claim_id }.into()),
        "release" => at_once(Release { grant, vouched: true }.into()),
        "abandon" => at_once(
            Abandon { grant, cause: label("it was dropped"), late_effects: std::time::Duration::ZERO }.into(),
        ),
        "evict" => at_once(Evict { op_id, operator, reason: None, expect: grant.token }.into()),
        "reconcile" => {
            let (expect, even_if_alive) = (grant.token, true);
            at_once(Reconcile { op_id, operator, reason: None, expect, even_if_alive, steal: false }.into())
        }
        "take over" => vec![(TTL, with_request(call()).into())],
        "complete" => at_once(Complete { grant, result: failed() }.into()),
        "complete late" => vec![(HARD, Complete { grant, result: failed() }.into())],
        "complete and claim again" => {
            let complete = Complete { grant, result: failed() };
            vec![(Duration::ZERO, complete.into()), (DAY, with_request(fused()).into())]
        }
        other => panic!("there is no course {other}"),
    }
}

/// The events are those of the record, in order, none twice, and by them it is rebuilt.
async fn reported_last(fixture: &Fixture, address: &Address, changes: usize) -> Event {
    let record = fixture.record(address).await;
    let events = fixture.store.history(address, u32::MAX).await.unwrap();
    assert_eq!(kernel::rebuild(&events), Rebuilt::from(&record), "{events:?}");
    assert_eq!(events.len(), changes, "{events:?}");
    assert!(
        events.windows(2).all(|pair| pair[0].rev < pair[1].rev && pair[0].at <= pair[1].at),
        "{events:?}"
    );
    assert!(events.windows(2).all(|pair| pair[0].to == pair[1].from), "{events:?}");
    assert_eq!((events[0].from, events[changes - 1].to), (None, Some(record.state)), "{events:?}");
    let last = fixture.store.history(address, 1).await.unwrap();
    assert_eq!(last, events[changes - 1..], "the newest comes first");
    last.into_iter().next().unwrap()
}

/// Any change after a first claim, whose event the row implied until then: both are in the history.
pub(crate) async fn a_first_claim_comes_before_later_events(fixture: &Fixture, how: &str) {
    let (how, in_batch) = match how.split_once(" in ") {
        Some((how, _)) => (how, true),
        None => (how, false),
    };
    let claim =
        || with_request(if matches!(how, "begin" | "evict" | "take over") { call() } else { fused() });
    let [address, other] = [(); 2].map(|()| fixture.execution(&ClaimId::random().to_string()));
    let [grant, beside] =
        [fixture.granted(&address, &claim()).await, fixture.granted(&other, &claim()).await];
    let mut events = 1;
    for ((wait, op), (_, like)) in course(how, grant).into_iter().zip(course(how, beside)) {
        fixture.move_clock(wait.as_micros() as i64);
        let stamped = match in_batch {
            false => fixture.ask(&address, op).await,
            // Beside one that changes nothing.
            true if how == "begin" => {
                let wrong = Begin { grant: Grant { claim_id: ClaimId::random(), ..beside } };
                tokio::join!(fixture.ask(&address, op), fixture.ask(&other, wrong)).0
            }
            true => tokio::join!(fixture.ask(&address, op), fixture.ask(&other, like)).0,
        };
        assert!(stamped.stamp.changed, "{how}: {stamped:?}");
        events += 1;
        let last = reported_last(fixture, &address, events).await;
        if let Change::Completed { late, .. } = last.change {
            assert_eq!((late, last.rev), (how == "complete late", stamped.stamp.rev));
        }
    }
    reported_last(fixture, &other, if in_batch && how != "begin" { events } else { 1 }).await;
}

/// A heartbeat changes the row, and none of its events.
pub(crate) async fn a_heartbeat_adds_no_event(fixture: &Fixture, _: &str) {
    let address = fixture.execution("k");
    let grant = fixture.granted(&address, &with_request(fused())).await;
    let before = fixture.store.history(&address, 9).await.unwrap();
    for _ in 0..3 {
        fixture.move_clock(1_000_000);
        fixture.store.heartbeat(&[Beat { address: address.clone(), grant }]).await.unwrap();
    }
    assert_eq!(fixture.store.history(&address, 9).await.unwrap(), before);
    fixture.ask(&address, Complete { grant, result: failed() }).await;
    reported_last(fixture, &address, 2).await;
}

/// A run that is not the address' first has its events, its completion too; `how`: alone, in a batch, or late.
pub(crate) async fn a_later_run_has_stored_events(fixture: &Fixture, how: &str) {
    let [address, other] = [(); 2].map(|()| fixture.execution(&ClaimId::random().to_string()));
    let grant = fixture.granted(&address, &with_request(fused())).await;
    fixture.ask(&address, Release { grant, vouched: true }).await;
    let grant = fixture.granted(&address, &with_request(fused())).await;
    if how == "late" {
        fixture.move_clock(HARD.as_micros() as i64);
    }
    let complete = Complete { grant, result: failed() };
    let stamped = match how {
        "in a batch" => tokio::join!(fixture.ask(&address, complete), fixture.ask(&other, fused())).0,
        _ => fixture.ask(&address, complete).await,
    };
    assert!(stamped.stamp.changed, "{stamped:?}");
    reported_last(fixture, &address, 4).await;
    let event = fixture.store.history(&address, 1).await.unwrap().remove(0);
    assert_eq!(
        event.change,
        Change::Completed { verdict: Verdict::Failure, code: Some(7), late: how == "late" }
    );
    assert_eq!(event.rev, stamped.stamp.rev);
}

/// A row that has the same grant under another key is another record.
pub(crate) async fn a_completion_alone_changes_one_record(fixture: &Fixture, _: &str) {
    let [address, twin] = [(); 2].map(|()| fixture.execution(&ClaimId::random().to_string()));
    let grant = fixture.granted(&address, &fused()).await;
    fixture.granted(&twin, &fused()).await;
    let alike = format!(
        "UPDATE {} SET token = {}, claim_id = '{}' WHERE {}",
        fixture.records(),
        grant.token,
        grant.claim_id,
        fixture.row(&twin)
    );
    fixture.stranger().await.run(&alike).await;
    let before = fixture.record(&twin).await;
    assert!(fixture.ask(&address, Complete { grant, result: failed() }).await.stamp.changed);
    assert_eq!(fixture.record(&twin).await, before);
}

/// Many times: on a busy machine a batcher may give a wait up, and leave it to another connection.
pub(crate) async fn a_completion_alone_is_read_when_it_begins(fixture: &Fixture, _: &str) {
    for _ in 0..25 {
        locks::the_reading_follows_the_wait(fixture, "complete").await;
    }
}

/// The completion of a first run, and of nothing else: refused for any other grant, and recorded in full.
pub(crate) async fn a_first_run_completes_alone(fixture: &Fixture, how: &str) {
    // The other record is before this one in every index, so a statement with a wrong condition finds it first.
    let [other, address, claimed, beside] =
        ["0", "1", "2", "3"].map(|first| fixture.execution(&format!("{first}{}", ClaimId::random())));
    fixture.granted(&other, &fused()).await;
    let grant = fixture.granted(&address, &fused()).await;
    let untouched = fixture.record(&other).await;
    let before = fixture.record(&address).await;
    for wrong in [
        Grant { token: Token::from_stored(grant.token.get() - 1), ..grant },
        Grant { claim_id: ClaimId::random(), ..grant },
    ] {
        let stamped = fixture.ask(&address, Complete { grant: wrong, result: failed() }).await;
        assert!(!stamped.stamp.changed, "{stamped:?}");
    }
    assert_eq!(fixture.record(&address).await, before);
    fixture.move_clock(-60_000_000);
    let complete = Complete { grant, result: failed() };
    let stamped = match how {
        "in a batch" => tokio::join!(fixture.ask(&address, complete), fixture.ask(&beside, fused())).0,
        _ => fixture.ask(&address, complete).await,
    };
    fixture.move_clock(60_000_000);
    let record = fixture.record(&address).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::Recorded { late: false }));
    assert_eq!((stamped.stamp.rev, record.rev, record.state), (2, 2, State::Completed));
    assert_eq!(Some(stamped.stamp.now), record.completed_at);
    assert_eq!((record.last_now, record.result), (stamped.stamp.now, Some(failed())));
    assert!(record.last_now >= before.last_now, "a clock that was set back is lifted");
    assert_eq!(fixture.record(&other).await, untouched);
    let grant = fixture.granted(&claimed, &call()).await;
    let stamped = fixture.ask(&claimed, Complete { grant, result: failed() }).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::NotBegun));
    let late = fixture.execution(&ClaimId::random().to_string());
    let grant = fixture.granted(&late, &fused()).await;
    fixture.move_clock(HARD.as_micros() as i64);
    let stamped = fixture.ask(&late, Complete { grant, result: failed() }).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::Recorded { late: true }));
}

/// The time from which a result may be purged is stored with it: past its retention, and past its rest.
pub(crate) async fn a_first_result_has_its_date(fixture: &Fixture, _: &str) {
    let rest = PURGE_REST + Duration::from_micros(1);
    for (retention, date) in [
        (None, None),
        (Some(Duration::from_secs(60)), Some(rest)),
        (Some(DAY), Some(DAY)),
        (Some(Duration::MAX), Some(Duration::MAX)),
    ] {
        let address = fixture.execution(&ClaimId::random().to_string());
        let grant = fixture.granted(&address, &Claim { retention, ..fused() }).await;
        assert!(fixture.ask(&address, Complete { grant, result: failed() }).await.stamp.changed);
        let completed = fixture.record(&address).await.completed_at.unwrap();
        let sql = format!(
            "SELECT coalesce(purge_at, 0) FROM {} WHERE {}",
            fixture.records(),
            fixture.row(&address)
        );
        let due = date.map_or(0, |date| i64::try_from(completed.plus(date).as_micros()).unwrap_or(i64::MAX));
        assert_eq!(fixture.stranger().await.number(&sql).await, due, "{retention:?}");
    }
}

async fn completed(fixture: &Fixture, address: &Address, result: RecordedResult, claim: Claim) {
    let grant = fixture.granted(address, &claim).await;
    assert!(fixture.ask(address, Complete { grant, result }).await.stamp.changed);
}

/// Results that are read in one statement go to their own requests: equal keys in two namespaces, one of them twice.
pub(crate) async fn a_result_is_read_at_its_address(fixture: &Fixture, _: &str) {
    let there = fixture.elsewhere();
    let keys = ["a", "b"].map(|key| format!("{key}{}", ClaimId::random()));
    let mut asks = Vec::new();
    for (fixture, name) in [(fixture, "here"), (&there, "there")] {
        for key in &keys {
            let address = fixture.execution(key);
            let payload = Payload::new(Payload::OCTETS, format!("{name} {key}"));
            let result = if name == "here" {
                RecordedResult::success(payload)
            } else {
                RecordedResult::failure(None, payload)
            };
            completed(fixture, &address, result.clone(), with_request(fused())).await;
            asks.extend([(fixture, address.clone(), result.clone()), (fixture, address, result)]);
        }
    }
    let replays = asks.iter().map(|(fixture, address, result)| async move {
        let stamped = fixture.ask(address, with_request(fused())).await;
        let Reply::Claim(ClaimReply::Completed { result: reply, .. }) = stamped.reply else {
            panic!("{stamped:?}")
        };
        assert_eq!(reply, *result);
        assert_eq!((stamped.stamp.rev, stamped.stamp.changed), (2, false));
    });
    join_all(replays).await;
    let other = Claim { fingerprint: Some(Fingerprint::new("something else").unwrap()), ..fused() };
    let stamped = fixture.ask(&asks[0].1, other).await;
    assert_eq!(stamped.reply, Reply::Claim(ClaimReply::FingerprintMismatch));
}

/// A result past its retention is not replayed, nor what came before the run that has the key now.
pub(crate) async fn a_replaced_result_is_not_replayed(fixture: &Fixture, _: &str) {
    let address = fixture.execution(&ClaimId::random().to_string());
    completed(fixture, &address, failed(), with_request(fused())).await;
    let stamped = fixture.ask(&address, with_request(fused())).await;
    assert!(matches!(stamped.reply, Reply::Claim(ClaimReply::Completed { .. })), "{stamped:?}");
    fixture.move_clock(DAY.as_micros() as i64);
    fixture.granted(&address, &with_request(fused())).await;
    let stamped = fixture.ask(&address, with_request(fused())).await;
    assert!(matches!(stamped.reply, Reply::Claim(ClaimReply::InProgress { .. })), "{stamped:?}");
}

macro_rules! tests {
    ($($check:ident for $($how:literal)*;)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    let schema = concat!("implied_", stringify!($check));
                    let fixture = super::Fixture::open(schema, |builder| builder).await;
                    for how in [$($how,)*] {
                        super::$check(&fixture.elsewhere(), how).await;
                    }
                });
            }
        )*}
    };
}

tests! {
    a_first_claim_comes_before_later_events for
        "begin" "cancel" "release" "abandon" "evict" "reconcile" "take over" "complete" "complete late"
        "complete and claim again" "begin in a batch" "release in a batch" "take over in a batch"
        "complete in a batch" "complete late in a batch" "complete and claim again in a batch";
    a_later_run_has_stored_events for "" "in a batch" "late";
    a_heartbeat_adds_no_event for "";
    a_first_run_completes_alone for "" "in a batch";
    a_first_result_has_its_date for "";
    a_result_is_read_at_its_address for "";
    a_replaced_result_is_not_replayed for "";
    a_completion_alone_changes_one_record for "";
    a_completion_alone_is_read_when_it_begins for "";
}

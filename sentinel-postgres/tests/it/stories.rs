//! A record's story is told in full, whether its row tells it or its events do.

use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::kernel::{self, Op, Rebuilt, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Change, ClaimId, CoordinationStore as _, Event, Fingerprint, Grant, OpId, PURGE_REST, Payload,
    Recorded, State, Token, Verdict,
};

use crate::locks;
use crate::rig::{HARD, Rig, TTL, call, fused, label, runtime};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn told(claim: Claim) -> Claim {
    Claim { fingerprint: Some(Fingerprint::new("what was asked").unwrap()), retention: Some(DAY), ..claim }
}

fn failed() -> Recorded {
    Recorded::failure(Some(7), Payload::new(Payload::OCTETS, "declined"))
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
        "take over" => vec![(TTL, told(call()).into())],
        "complete" => at_once(Complete { grant, result: failed() }.into()),
        "complete late" => vec![(HARD, Complete { grant, result: failed() }.into())],
        "complete and claim again" => {
            let complete = Complete { grant, result: failed() };
            vec![(Duration::ZERO, complete.into()), (DAY, told(fused()).into())]
        }
        other => panic!("there is no course {other}"),
    }
}

/// The events are those of the record, in order, none twice, and by them it is rebuilt.
async fn is_told(rig: &Rig, address: &Address, changes: usize) -> Event {
    let record = rig.record(address).await;
    let events = rig.store.history(address, u32::MAX).await.unwrap();
    assert_eq!(kernel::rebuild(&events), Rebuilt::from(&record), "{events:?}");
    assert_eq!(events.len(), changes, "{events:?}");
    assert!(
        events.windows(2).all(|pair| pair[0].rev < pair[1].rev && pair[0].at <= pair[1].at),
        "{events:?}"
    );
    assert!(events.windows(2).all(|pair| pair[0].to == pair[1].from), "{events:?}");
    assert_eq!((events[0].from, events[changes - 1].to), (None, Some(record.state)), "{events:?}");
    let last = rig.store.history(address, 1).await.unwrap();
    assert_eq!(last, events[changes - 1..], "the newest is told first");
    last.into_iter().next().unwrap()
}

/// Whatever follows a first claim, which the row told until then: both are told.
pub(crate) async fn a_first_claim_is_told_before_what_follows(rig: &Rig, how: &str) {
    let (how, in_company) = match how.split_once(" in ") {
        Some((how, _)) => (how, true),
        None => (how, false),
    };
    let claim = || told(if matches!(how, "begin" | "evict" | "take over") { call() } else { fused() });
    let [address, other] = [(); 2].map(|()| rig.execution(&ClaimId::random().to_string()));
    let [grant, beside] = [rig.granted(&address, &claim()).await, rig.granted(&other, &claim()).await];
    let mut events = 1;
    for ((wait, op), (_, like)) in course(how, grant).into_iter().zip(course(how, beside)) {
        rig.move_clock(wait.as_micros() as i64);
        let stamped = match in_company {
            false => rig.ask(&address, op).await,
            // Beside one that changes nothing.
            true if how == "begin" => {
                let wrong = Begin { grant: Grant { claim_id: ClaimId::random(), ..beside } };
                tokio::join!(rig.ask(&address, op), rig.ask(&other, wrong)).0
            }
            true => tokio::join!(rig.ask(&address, op), rig.ask(&other, like)).0,
        };
        assert!(stamped.stamp.changed, "{how}: {stamped:?}");
        events += 1;
        let last = is_told(rig, &address, events).await;
        if let Change::Completed { late, .. } = last.change {
            assert_eq!((late, last.rev), (how == "complete late", stamped.stamp.rev));
        }
    }
    is_told(rig, &other, if in_company && how != "begin" { events } else { 1 }).await;
}

/// A heartbeat changes the row, and nothing of what it tells.
pub(crate) async fn a_beat_is_not_told(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let grant = rig.granted(&address, &told(fused())).await;
    let before = rig.store.history(&address, 9).await.unwrap();
    for _ in 0..3 {
        rig.move_clock(1_000_000);
        rig.store.heartbeat(&[Beat { address: address.clone(), grant }]).await.unwrap();
    }
    assert_eq!(rig.store.history(&address, 9).await.unwrap(), before);
    rig.ask(&address, Complete { grant, result: failed() }).await;
    is_told(rig, &address, 2).await;
}

/// A run that is not the address' first has its events, its completion too; `how`: alone, in company, or late.
pub(crate) async fn a_later_run_is_told_by_its_events(rig: &Rig, how: &str) {
    let [address, other] = [(); 2].map(|()| rig.execution(&ClaimId::random().to_string()));
    let grant = rig.granted(&address, &told(fused())).await;
    rig.ask(&address, Release { grant, vouched: true }).await;
    let grant = rig.granted(&address, &told(fused())).await;
    if how == "late" {
        rig.move_clock(HARD.as_micros() as i64);
    }
    let complete = Complete { grant, result: failed() };
    let stamped = match how {
        "in company" => tokio::join!(rig.ask(&address, complete), rig.ask(&other, fused())).0,
        _ => rig.ask(&address, complete).await,
    };
    assert!(stamped.stamp.changed, "{stamped:?}");
    is_told(rig, &address, 4).await;
    let event = rig.store.history(&address, 1).await.unwrap().remove(0);
    assert_eq!(
        event.change,
        Change::Completed { verdict: Verdict::Failure, code: Some(7), late: how == "late" }
    );
    assert_eq!(event.rev, stamped.stamp.rev);
}

/// A row that has the same grant under another key is another record.
pub(crate) async fn a_completion_alone_changes_one_record(rig: &Rig, _: &str) {
    let [address, twin] = [(); 2].map(|()| rig.execution(&ClaimId::random().to_string()));
    let grant = rig.granted(&address, &fused()).await;
    rig.granted(&twin, &fused()).await;
    let alike = format!(
        "UPDATE {} SET token = {}, claim_id = '{}' WHERE {}",
        rig.records(),
        grant.token,
        grant.claim_id,
        rig.row(&twin)
    );
    rig.stranger().await.run(&alike).await;
    let before = rig.record(&twin).await;
    assert!(rig.ask(&address, Complete { grant, result: failed() }).await.stamp.changed);
    assert_eq!(rig.record(&twin).await, before);
}

/// Many times: on a busy machine a lane may give a wait up, and leave it to another connection.
pub(crate) async fn a_completion_alone_is_read_when_it_begins(rig: &Rig, _: &str) {
    for _ in 0..25 {
        locks::the_reading_follows_the_wait(rig, "complete").await;
    }
}

/// The completion of a first run, and of nothing else: refused for any other grant, and recorded in full.
pub(crate) async fn a_first_run_completes_alone(rig: &Rig, how: &str) {
    // The other stands before the one in every index: what is not meant for it comes to it first.
    let [other, address, claimed, beside] =
        ["0", "1", "2", "3"].map(|first| rig.execution(&format!("{first}{}", ClaimId::random())));
    rig.granted(&other, &fused()).await;
    let grant = rig.granted(&address, &fused()).await;
    let untouched = rig.record(&other).await;
    let before = rig.record(&address).await;
    for wrong in [
        Grant { token: Token::from_stored(grant.token.get() - 1), ..grant },
        Grant { claim_id: ClaimId::random(), ..grant },
    ] {
        let stamped = rig.ask(&address, Complete { grant: wrong, result: failed() }).await;
        assert!(!stamped.stamp.changed, "{stamped:?}");
    }
    assert_eq!(rig.record(&address).await, before);
    rig.move_clock(-60_000_000);
    let complete = Complete { grant, result: failed() };
    let stamped = match how {
        "in company" => tokio::join!(rig.ask(&address, complete), rig.ask(&beside, fused())).0,
        _ => rig.ask(&address, complete).await,
    };
    rig.move_clock(60_000_000);
    let record = rig.record(&address).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::Recorded { late: false }));
    assert_eq!((stamped.stamp.rev, record.rev, record.state), (2, 2, State::Completed));
    assert_eq!(Some(stamped.stamp.now), record.completed_at);
    assert_eq!((record.last_now, record.result), (stamped.stamp.now, Some(failed())));
    assert!(record.last_now >= before.last_now, "a clock that was set back is lifted");
    assert_eq!(rig.record(&other).await, untouched);
    let grant = rig.granted(&claimed, &call()).await;
    let stamped = rig.ask(&claimed, Complete { grant, result: failed() }).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::NotBegun));
    let late = rig.execution(&ClaimId::random().to_string());
    let grant = rig.granted(&late, &fused()).await;
    rig.move_clock(HARD.as_micros() as i64);
    let stamped = rig.ask(&late, Complete { grant, result: failed() }).await;
    assert_eq!(stamped.reply, Reply::Complete(CompleteReply::Recorded { late: true }));
}

/// From when a result may be purged stands beside it: past its retention, and past its rest.
pub(crate) async fn a_first_result_has_its_date(rig: &Rig, _: &str) {
    let rest = PURGE_REST + Duration::from_micros(1);
    for (retention, date) in [
        (None, None),
        (Some(Duration::from_secs(60)), Some(rest)),
        (Some(DAY), Some(DAY)),
        (Some(Duration::MAX), Some(Duration::MAX)),
    ] {
        let address = rig.execution(&ClaimId::random().to_string());
        let grant = rig.granted(&address, &Claim { retention, ..fused() }).await;
        assert!(rig.ask(&address, Complete { grant, result: failed() }).await.stamp.changed);
        let completed = rig.record(&address).await.completed_at.unwrap();
        let sql = format!("SELECT coalesce(purge_at, 0) FROM {} WHERE {}", rig.records(), rig.row(&address));
        let due = date.map_or(0, |date| i64::try_from(completed.plus(date).as_micros()).unwrap_or(i64::MAX));
        assert_eq!(rig.stranger().await.number(&sql).await, due, "{retention:?}");
    }
}

async fn completed(rig: &Rig, address: &Address, result: Recorded, claim: Claim) {
    let grant = rig.granted(address, &claim).await;
    assert!(rig.ask(address, Complete { grant, result }).await.stamp.changed);
}

/// Results that are read together are told to whoever asked for them: alike keys in two namespaces, one of them twice.
pub(crate) async fn a_result_is_read_at_its_address(rig: &Rig, _: &str) {
    let there = rig.elsewhere();
    let keys = ["a", "b"].map(|key| format!("{key}{}", ClaimId::random()));
    let mut asks = Vec::new();
    for (rig, name) in [(rig, "here"), (&there, "there")] {
        for key in &keys {
            let address = rig.execution(key);
            let payload = Payload::new(Payload::OCTETS, format!("{name} {key}"));
            let result =
                if name == "here" { Recorded::success(payload) } else { Recorded::failure(None, payload) };
            completed(rig, &address, result.clone(), told(fused())).await;
            asks.extend([(rig, address.clone(), result.clone()), (rig, address, result)]);
        }
    }
    let replays = asks.iter().map(|(rig, address, result)| async move {
        let stamped = rig.ask(address, told(fused())).await;
        let Reply::Claim(ClaimReply::Completed { result: told, .. }) = stamped.reply else {
            panic!("{stamped:?}")
        };
        assert_eq!(told, *result);
        assert_eq!((stamped.stamp.rev, stamped.stamp.changed), (2, false));
    });
    join_all(replays).await;
    let other = Claim { fingerprint: Some(Fingerprint::new("something else").unwrap()), ..fused() };
    let stamped = rig.ask(&asks[0].1, other).await;
    assert_eq!(stamped.reply, Reply::Claim(ClaimReply::FingerprintMismatch));
}

/// A result past its retention is not told, nor what came before the run that has the key now.
pub(crate) async fn a_result_that_was_replaced_is_not_told(rig: &Rig, _: &str) {
    let address = rig.execution(&ClaimId::random().to_string());
    completed(rig, &address, failed(), told(fused())).await;
    let stamped = rig.ask(&address, told(fused())).await;
    assert!(matches!(stamped.reply, Reply::Claim(ClaimReply::Completed { .. })), "{stamped:?}");
    rig.move_clock(DAY.as_micros() as i64);
    rig.granted(&address, &told(fused())).await;
    let stamped = rig.ask(&address, told(fused())).await;
    assert!(matches!(stamped.reply, Reply::Claim(ClaimReply::InProgress { .. })), "{stamped:?}");
}

macro_rules! tests {
    ($($check:ident for $($how:literal)*;)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    let rig = super::Rig::open(concat!("stories_", stringify!($check)), |builder| builder).await;
                    for how in [$($how,)*] {
                        super::$check(&rig.elsewhere(), how).await;
                    }
                });
            }
        )*}
    };
}

tests! {
    a_first_claim_is_told_before_what_follows for
        "begin" "cancel" "release" "abandon" "evict" "reconcile" "take over" "complete" "complete late"
        "complete and claim again" "begin in company" "release in company" "take over in company"
        "complete in company" "complete late in company" "complete and claim again in company";
    a_later_run_is_told_by_its_events for "" "in company" "late";
    a_beat_is_not_told for "";
    a_first_run_completes_alone for "" "in company";
    a_first_result_has_its_date for "";
    a_result_is_read_at_its_address for "";
    a_result_that_was_replaced_is_not_told for "";
    a_completion_alone_changes_one_record for "";
    a_completion_alone_is_read_when_it_begins for "";
}

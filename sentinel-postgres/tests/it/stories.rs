//! A record's story is told in full, whether its row tells it or its events do.

use std::time::Duration;

use sentinel_core::kernel::{self, Op, Rebuilt};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Change, ClaimId, CoordinationStore as _, Fingerprint, Grant, OpId, Payload, Recorded, Verdict,
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
        "abandon" => at_once(Abandon { grant, cause: label("it was dropped") }.into()),
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
async fn is_told(rig: &Rig, address: &Address, changes: usize) {
    let record = rig.record(address).await;
    let events = rig.store.history(address, u32::MAX).await.unwrap();
    assert_eq!(kernel::replay(&events), Rebuilt::from(&record), "{events:?}");
    assert_eq!(events.len(), changes, "{events:?}");
    assert!(events.windows(2).all(|pair| pair[0].rev < pair[1].rev && pair[0].at <= pair[1].at), "{events:?}");
    let last = rig.store.history(address, 1).await.unwrap();
    assert_eq!(last, events[changes - 1..], "the newest is told first");
}

/// Whatever follows a first claim, which the row told until then: both are told.
pub(crate) async fn a_first_claim_is_told_before_what_follows(rig: &Rig, how: &str) {
    let (how, in_company) = match how.split_once(" in ") {
        Some((how, _)) => (how, true),
        None => (how, false),
    };
    let claim = told(if matches!(how, "begin" | "evict" | "take over") { call() } else { fused() });
    let [address, other] = [(); 2].map(|()| rig.execution(&ClaimId::random().to_string()));
    let [grant, beside] = [rig.granted(&address, &claim).await, rig.granted(&other, &call()).await];
    let mut events = 1;
    for (wait, op) in course(how, grant) {
        rig.move_clock(wait.as_micros() as i64);
        let stamped = match in_company {
            false => rig.ask(&address, op).await,
            // Beside what changes nothing, in both lanes that know company.
            true => {
                let nothing = Begin { grant: Grant { token: beside.token, claim_id: ClaimId::random() } };
                let more = rig.execution(&ClaimId::random().to_string());
                tokio::join!(rig.ask(&address, op), rig.ask(&other, nothing), rig.ask(&more, fused())).0
            }
        };
        assert!(stamped.stamp.changed, "{how}: {stamped:?}");
        events += 1;
        is_told(rig, &address, events).await;
    }
    is_told(rig, &other, 1).await;
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

/// More than once: on a busy machine a lane may give a wait up, and leave it to another connection.
pub(crate) async fn a_completion_alone_is_read_when_it_begins(rig: &Rig, _: &str) {
    for _ in 0..5 {
        locks::the_reading_follows_the_wait(rig, "complete").await;
    }
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
    a_completion_alone_changes_one_record for "";
    a_completion_alone_is_read_when_it_begins for "";
}

//! What is undecided is found among the newest records, and in the index of those that linger.

use std::time::Duration;

use sentinel_conformance::Harness as _;
use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{CoordinationStore, Key, Kind};

use crate::harness::*;

/// More than the newest records that are searched.
const MANY: usize = 300;

async fn page(on: &OnDisk, kind: Kind, state: VisibleState, after: Option<&str>, limit: u32) -> Vec<String> {
    let after = after.map(|key| Key::new(key).unwrap());
    let list = List { namespace: namespace(), kind, state: Some(state), after, limit };
    let records = on.store.list(&list).await.unwrap().records;
    records.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

/// Runs keys whose records are newer than all others.
async fn run_many(on: &OnDisk, prefix: &str) {
    for n in 0..MANY {
        once(&on.store, &execution(&format!("{prefix}{n}")), &fused(), b"x").await;
    }
}

fn lingering(on: &OnDisk) -> i64 {
    let sql = "SELECT count(*) FROM records INDEXED BY records_lingering WHERE lingers = 1";
    on.plain().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn an_undecided_record_is_found_however_old_it_is() {
    let on = OnDisk::open().await;
    let old = granted(&on.store, &execution("old"), &fused()).await;
    assert_eq!(lingering(&on), 0, "a run that is soon over costs no entry");
    assert_eq!(page(&on, Kind::Execution, VisibleState::Executing, None, 10).await, ["old"]);
    for n in 0..MANY {
        once(&on.store, &execution(&format!("m{n}")), &fused(), b"x").await;
        assert_eq!(
            page(&on, Kind::Execution, VisibleState::Executing, None, 10).await,
            ["old"],
            "behind {n} others"
        );
    }
    assert_eq!(lingering(&on), 1);
    on.advance(Duration::from_secs(3600)).await;
    assert_eq!(page(&on, Kind::Execution, VisibleState::Uncertain, None, 10).await, ["old"]);
    on.store.reconcile(&execution("old"), &reconcile(old.token)).await.unwrap();
    assert_eq!(page(&on, Kind::Execution, VisibleState::Reconciling, None, 10).await, ["old"]);
    assert_eq!(page(&on, Kind::Execution, VisibleState::Uncertain, None, 10).await, [""; 0]);
}

#[tokio::test]
async fn a_decided_record_no_longer_lingers() {
    let on = OnDisk::open().await;
    let grant = granted(&on.store, &execution("old"), &fused()).await;
    run_many(&on, "m").await;
    on.store.complete(&execution("old"), &Complete { grant, result: success(b"x") }).await.unwrap();
    assert_eq!(lingering(&on), 0);
    assert_eq!(page(&on, Kind::Execution, VisibleState::Executing, None, 10).await, [""; 0]);
}

#[tokio::test]
async fn an_old_record_that_is_claimed_again_is_found() {
    let on = OnDisk::open().await;
    let first = granted(&on.store, &lease("old"), &claim(Phase::Claimed)).await;
    on.store.release(&lease("old"), &Release { grant: first, vouched: false }).await.unwrap();
    run_many(&on, "m").await;
    let second = granted(&on.store, &lease("old"), &claim(Phase::Claimed)).await;
    assert_eq!(page(&on, Kind::Lease, VisibleState::Claimed, None, 10).await, ["old"]);
    on.store.release(&lease("old"), &Release { grant: second, vouched: false }).await.unwrap();
    assert_eq!((page(&on, Kind::Lease, VisibleState::Claimed, None, 10).await.len(), lingering(&on)), (0, 0));
}

#[tokio::test]
async fn pages_mix_old_and_new_in_the_order_of_their_keys() {
    let on = OnDisk::open().await;
    for key in ["b", "d", "f"] {
        granted(&on.store, &execution(key), &fused()).await;
    }
    run_many(&on, "m").await;
    for key in ["a", "c", "e", "g"] {
        granted(&on.store, &execution(key), &fused()).await;
    }
    assert_eq!(lingering(&on), 3);
    let mut found: Vec<String> = Vec::new();
    loop {
        let after = found.last().map(String::as_str);
        let next = page(&on, Kind::Execution, VisibleState::Executing, after, 2).await;
        if next.is_empty() {
            break;
        }
        found.extend(next);
    }
    assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g"]);
}

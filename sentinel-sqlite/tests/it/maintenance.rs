//! Purging, and what must be cheap.

use std::time::Duration;

use sentinel_conformance::Harness as _;
use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Change, CoordinationStore, EventLimit, PURGE_REST, StoreError};
use sentinel_sqlite::SqliteStore;

use crate::harness::*;

const RETENTION: Duration = Duration::from_secs(60);

async fn purge(on: &OnDisk, limit: u32, dry_run: bool) -> Result<Purged, StoreError> {
    on.store.purge(&Purge { namespace: namespace(), limit, dry_run }).await
}

fn rows(on: &OnDisk, table: &str) -> i64 {
    on.plain().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_purge_takes_what_has_served_and_nothing_else() {
    let on = OnDisk::open().await;
    let kept = Claim { retention: Some(RETENTION), ..fused() };
    let served = once(&on.store, &execution("served"), &kept, b"x").await;
    once(&on.store, &execution("for ever"), &fused(), b"x").await;
    granted(&on.store, &execution("executing"), &kept).await;
    let freed = granted(&on.store, &lease("freed"), &claim(Phase::Claimed)).await;
    on.store.release(&lease("freed"), &Release { grant: freed, vouched: false }).await.unwrap();
    on.advance(PURGE_REST).await;
    assert_eq!(purge(&on, 10, false).await.unwrap(), Purged { records: 0, more: false });
    on.advance(Duration::from_micros(1)).await;
    assert_eq!(purge(&on, 10, true).await.unwrap(), Purged { records: 2, more: false });
    assert_eq!(purge(&on, 10, false).await.unwrap(), Purged { records: 2, more: false });
    for at in [execution("served"), lease("freed")] {
        assert_eq!(on.store.inspect(&at).await.unwrap().record, None);
        let history = on.store.history(&at, 10).await.unwrap();
        assert_eq!(history.iter().map(|event| &event.change).collect::<Vec<_>>(), [&Change::Purged]);
    }
    assert!(on.store.inspect(&execution("for ever")).await.unwrap().record.is_some());
    // The clock goes back, and the floor still holds: a purged token is never drawn again.
    on.clock.set(sentinel_core::StoreTime::from_micros(5));
    assert!(granted(&on.store, &execution("new"), &fused()).await.token > served.token);
}

#[tokio::test]
async fn the_event_of_a_purge_rests_and_goes() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &Claim { retention: Some(RETENTION), ..fused() }, b"x").await;
    on.advance(RETENTION + PURGE_REST).await;
    on.advance(Duration::from_micros(1)).await;
    assert_eq!(purge(&on, 10, false).await.unwrap().records, 1);
    on.advance(PURGE_REST).await;
    assert_eq!(purge(&on, 10, false).await.unwrap().records, 0);
    assert_eq!((rows(&on, "records"), on.store.history(&execution("a"), 10).await.unwrap().len()), (1, 1));
    on.advance(Duration::from_micros(1)).await;
    assert_eq!(purge(&on, 10, false).await.unwrap().records, 0);
    assert_eq!((rows(&on, "records"), rows(&on, "events"), rows(&on, "floors")), (0, 0, 1));
}

#[tokio::test]
async fn a_long_history_is_kept_in_order_and_goes_with_its_record() {
    let on = OnDisk::open().await;
    for _ in 0..20 {
        let grant = granted(&on.store, &lease("a"), &claim(Phase::Claimed)).await;
        on.advance(Duration::from_secs(1)).await;
        on.store.release(&lease("a"), &Release { grant, vouched: false }).await.unwrap();
    }
    let all = on.store.history(&lease("a"), 100).await.unwrap();
    assert_eq!(all.iter().map(|event| event.rev).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    for limit in 0..=40 {
        let newest = on.store.history(&lease("a"), limit).await.unwrap();
        assert_eq!(newest, all[40 - limit as usize..], "limit {limit}");
    }
    let moved = rows(&on, "events");
    assert!((2..=20).contains(&moved), "several to a row, and not all in the record: {moved}");
    on.advance(PURGE_REST + Duration::from_micros(1)).await;
    assert_eq!(purge(&on, 10, false).await.unwrap().records, 1);
    assert_eq!(rows(&on, "events"), 0);
}

#[tokio::test]
async fn a_busy_lease_keeps_a_bounded_history_from_which_the_record_is_rebuilt() {
    for max in [8, 9, 100] {
        let on = OnDisk::open().await;
        let limit = EventLimit::new(max).unwrap();
        let builder = SqliteStore::builder(on.path()).clock(on.clock.clone()).max_events(limit);
        let store = builder.open().await.unwrap();
        let mut most = 0;
        for n in 1..=300 {
            let grant = granted(&store, &lease("a"), &claim(Phase::Claimed)).await;
            store.release(&lease("a"), &Release { grant, vouched: false }).await.unwrap();
            let kept = store.history(&lease("a"), 1_000).await.unwrap();
            most = most.max(kept.len());
            assert!((2 * n < limit.max() || kept.len() >= limit.kept()) && kept.len() <= limit.max(), "{n}");
            let revs: Vec<_> = kept.iter().map(|event| event.rev).collect();
            assert!(revs.is_sorted() && revs.last() == Some(&(2 * n as u64)), "{revs:?}");
            assert_eq!(kept.iter().skip(1).filter(|event| event.base.is_some()).count(), 0);
            assert_eq!(
                kept[0].base.is_some(),
                revs[0] > 1,
                "the oldest one that is kept, if others were dropped"
            );
            let record = store.inspect(&lease("a")).await.unwrap().record.unwrap();
            assert_eq!(rebuild(&kept), Rebuilt::from(&record));
        }
        assert_eq!(most, limit.max());
        let bytes: i64 = on
            .plain()
            .query_row("SELECT coalesce(sum(length(lines)), 0) FROM events", [], |row| row.get(0))
            .unwrap();
        assert!(bytes < i64::from(max) * 400, "{bytes} bytes are kept in the table");
    }
}

#[tokio::test]
async fn a_number_of_a_deleted_row_that_is_given_again_brings_no_events_back() {
    let on = OnDisk::open().await;
    for _ in 0..20 {
        let grant = granted(&on.store, &lease("old"), &claim(Phase::Claimed)).await;
        on.store.release(&lease("old"), &Release { grant, vouched: false }).await.unwrap();
    }
    assert!(rows(&on, "events") > 1);
    // A row is deleted by hand. SQLite gives its number to the next one.
    on.plain().execute("DELETE FROM records WHERE key = 'old'", []).unwrap();
    granted(&on.store, &lease("new"), &claim(Phase::Claimed)).await;
    assert_eq!(on.store.history(&lease("new"), 1_000).await.unwrap().len(), 1);
    for _ in 0..20 {
        let grant = granted(&on.store, &lease("other"), &claim(Phase::Claimed)).await;
        on.store.release(&lease("other"), &Release { grant, vouched: false }).await.unwrap();
    }
    assert_eq!(on.store.history(&lease("other"), 1_000).await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_run_costs_no_row_but_its_own() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"x").await;
    assert_eq!(on.store.history(&execution("a"), 10).await.unwrap().len(), 2);
    assert_eq!((rows(&on, "records"), rows(&on, "events")), (1, 0));
}

/// A claim writes the page of its record and the one of its key, a completion the record's again; now and then a full page
/// is split.
#[tokio::test]
async fn a_run_adds_few_pages_to_the_log() {
    const RUNS: u64 = 50;
    let on = OnDisk::open().await;
    let page: u32 = on.plain().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let log = on.path().with_extension("db-wal");
    let frames = || (std::fs::metadata(&log).unwrap().len() - 32) / u64::from(24 + page);
    let before = frames();
    for n in 0..RUNS {
        once(&on.store, &execution(&format!("key {n:03}")), &fused(), b"x").await;
    }
    let added = frames() - before;
    assert!((3 * RUNS..4 * RUNS).contains(&added), "{added} pages for {RUNS} runs");
}

#[tokio::test]
async fn a_new_life_continues_the_history_of_a_purged_one() {
    let on = OnDisk::open().await;
    let kept = Claim { retention: Some(RETENTION), ..fused() };
    once(&on.store, &execution("a"), &kept, b"first").await;
    on.advance(RETENTION + PURGE_REST + RETENTION).await;
    assert_eq!(purge(&on, 10, false).await.unwrap().records, 1);
    let grant = once(&on.store, &execution("a"), &fused(), b"second").await;
    let history = on.store.history(&execution("a"), 10).await.unwrap();
    let names: Vec<_> = history.iter().map(|event| event.change.name()).collect();
    assert_eq!(names, ["purged", "claimed", "completed"]);
    assert_eq!((history[1].rev, history[1].from), (1, None));
    assert_eq!(history[2].token, grant.token);
}

#[tokio::test]
async fn a_purge_stops_at_its_limit_and_pages_beyond_one_transaction() {
    let on = OnDisk::open().await;
    let kept = Claim { retention: Some(RETENTION), ..fused() };
    let run = |n: usize| {
        let (store, claim) =
            (on.store.clone(), Claim { claim_id: sentinel_core::ClaimId::random(), ..kept.clone() });
        async move { once(&store, &execution(&format!("key {n}")), &claim, b"x").await }
    };
    let mut runs = tokio::task::JoinSet::new();
    (0..600).for_each(|n| drop(runs.spawn(run(n))));
    runs.join_all().await;
    on.advance(RETENTION + PURGE_REST + RETENTION).await;
    assert_eq!(purge(&on, 0, false).await.unwrap(), Purged { records: 0, more: true });
    assert_eq!(purge(&on, 10, false).await.unwrap(), Purged { records: 10, more: true });
    assert_eq!(purge(&on, 590, true).await.unwrap(), Purged { records: 590, more: false });
    assert_eq!(purge(&on, 589, false).await.unwrap(), Purged { records: 589, more: true });
    assert_eq!(purge(&on, 100, false).await.unwrap(), Purged { records: 1, more: false });
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_passed_over() {
    let on = OnDisk::open().await;
    let kept = Claim { retention: Some(RETENTION), ..fused() };
    once(&on.store, &execution("bad"), &kept, b"x").await;
    once(&on.store, &execution("good"), &Claim { claim_id: fused().claim_id, ..kept }, b"x").await;
    on.plain().execute("UPDATE records SET state = 'nonsense' WHERE key = 'bad'", []).unwrap();
    on.advance(RETENTION + PURGE_REST + RETENTION).await;
    assert_eq!(purge(&on, 10, false).await.unwrap(), Purged { records: 1, more: false });
    assert_eq!(rows(&on, "records"), 2);
}

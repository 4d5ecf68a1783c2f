//! Many callers of one store.

use std::time::Duration;

use sentinel_client::{LeaseOutcome, Sentinel};
use sentinel_conformance::Harness as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, ClaimId, CoordinationStore, ErrorKind, Key, Namespace};
use sentinel_sqlite::SqliteStore;
use tokio::task::JoinSet;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_callers_for_one_key_is_granted() {
    let on = OnDisk::open().await;
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        let store = on.store.clone();
        callers.spawn(async move { store.claim(&execution("a"), &fused()).await.unwrap().reply });
    }
    let replies = callers.join_all().await;
    let granted = replies.iter().filter(|reply| matches!(reply, ClaimReply::Granted(_))).count();
    let waiting = replies.iter().filter(|reply| matches!(reply, ClaimReply::InProgress { .. })).count();
    assert_eq!((granted, waiting), (1, 199));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_share_commits() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("first"), &fused(), b"x").await;
    // While another connection holds the lock, all of them come to wait for the writer.
    let holder = on.plain();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut callers = JoinSet::new();
    for n in 0..200 {
        let store = on.store.clone();
        callers.spawn(async move { granted(&store, &execution(&format!("key {n}")), &fused()).await });
    }
    // An event's stamp is the clock's, and this clock does not move: the commits are counted by the log's frames.
    let commits = || commits_in_log(&on);
    let before = commits();
    holder.execute_batch("ROLLBACK").unwrap();
    let grants = callers.join_all().await;
    assert_eq!(grants.len(), 200);
    let made = commits() - before;
    assert!((1..200).contains(&made), "{made} commits for 200 operations");
}

/// How many frames of the write-ahead log end a transaction: those whose header holds the database's size.
fn commits_in_log(on: &OnDisk) -> usize {
    let mut name = on.path().into_os_string();
    name.push("-wal");
    let log = std::fs::read(name).unwrap();
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let page = word(8) as usize;
    let salts = |at: usize| (word(at), word(at + 4));
    // Behind the frames of this log may be those of the one before, which have other salts.
    let frames = (32..log.len()).step_by(24 + page).take_while(|frame| salts(frame + 8) == salts(16));
    frames.filter(|frame| word(frame + 4) != 0).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resend_among_others_gets_the_same_grant() {
    let on = OnDisk::open().await;
    let wanted = Claim { claim_id: ClaimId::random(), ..fused() };
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (store, wanted) = (on.store.clone(), wanted.clone());
        callers.spawn(async move { granted(&store, &execution("a"), &wanted).await });
    }
    let grants = callers.join_all().await;
    assert!(grants.iter().all(|grant| *grant == grants[0]));
    assert_eq!(on.store.history(&execution("a"), 10).await.unwrap().len(), 1);
}

/// Each with connections of its own, as that many processes have. A store that finds the file busy gives up at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_that_take_turns_never_find_the_file_busy() {
    const STORES: usize = 24;
    const RUNS: usize = 20;
    let on = OnDisk::open().await;
    let mut runs = JoinSet::new();
    for n in 0..STORES {
        let builder = SqliteStore::builder(on.path()).clock(on.clock.clone());
        let builder = builder.busy_timeout(Duration::from_millis(1)).turn_timeout(Duration::from_secs(3600));
        let store = builder.open().await.unwrap();
        runs.spawn(async move {
            for run in 0..RUNS {
                once(&store, &execution(&format!("key {n} {run}")), &fused(), b"x").await;
            }
        });
    }
    assert_eq!(runs.join_all().await.len(), STORES);
}

#[tokio::test]
async fn a_caller_that_waits_too_long_for_a_turn_gets_busy() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"x").await;
    let builder = SqliteStore::builder(on.path()).turn_timeout(Duration::from_millis(20));
    let store = builder.open().await.unwrap();
    // A process that was stopped in its turn.
    let log = std::fs::File::open(on.path().with_extension("db-wal")).unwrap();
    log.lock().unwrap();
    let error = store.claim(&execution("b"), &fused()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Busy, Applied::No));
    assert!(error.is_worth_repeating() && error.to_string().contains("used the file for"), "{error}");
    drop(log);
    until_granted(&store).await;
}

async fn until_granted(store: &SqliteStore) {
    loop {
        match store.claim(&execution("b"), &fused()).await {
            Ok(reply) => return assert!(matches!(reply.reply, ClaimReply::Granted(_))),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Busy),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_that_wait_for_one_lease_are_served_one_after_the_other() {
    const CALLERS: usize = 2_000;
    let on = OnDisk::open().await;
    let sentinel = Sentinel::new(on.store.clone());
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let sentinel = sentinel.clone();
        callers.spawn(async move {
            let request =
                sentinel.lease("l").ttl(Duration::from_secs(3600)).hard_ttl(Duration::from_secs(3600));
            match request.wait(Duration::from_secs(3600)).acquire().await.unwrap() {
                LeaseOutcome::Held(lease) => lease.release().await.unwrap(),
                other => panic!("{other:?}"),
            };
        });
    }
    assert_eq!(callers.join_all().await.len(), CALLERS);
    // A claim and a release for each of them, and no failed attempt: waiting callers claim one after the other.
    let at = Address::lease(Namespace::new("default").unwrap(), Key::new("l").unwrap());
    let record = on.store.inspect(&at).await.unwrap().record.unwrap();
    assert_eq!(record.rev, 2 * CALLERS as u64);
}

//! Many callers of one store.

use sentinel_conformance::Harness as _;
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, CoordinationStore};
use tokio::task::JoinSet;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_callers_for_one_key_one_is_granted() {
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
async fn callers_that_come_together_share_commits() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("first"), &fused(), b"x").await;
    // While another connection holds the lock, all of them come to wait for the lane.
    let holder = on.plain();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut callers = JoinSet::new();
    for n in 0..200 {
        let store = on.store.clone();
        callers.spawn(async move { granted(&store, &execution(&format!("key {n}")), &fused()).await });
    }
    // An event's stamp is the clock's, and this clock stands still: the log's frames tell the commits instead.
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
    // Behind the frames of this log may stand those of the one before, which have other salts.
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

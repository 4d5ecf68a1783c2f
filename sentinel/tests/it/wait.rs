use std::sync::atomic::Ordering;

use sentinel::prelude::*;
use tokio::sync::oneshot;

use crate::keeper::Counting;
use crate::{Lied, SECOND, doubt, sentinel};

/// Starts a run that ends as the sender says.
fn start(sentinel: &Sentinel, key: &str) -> oneshot::Sender<Result<String, Lied>> {
    let (end, ended) = oneshot::channel();
    let once = sentinel.once(key).ttl(SECOND * 5).nothing_happened_if(|e: &Lied| e.0 == "nothing");
    tokio::spawn(once.run(|_| async move { ended.await.unwrap_or(Err(Lied("gone"))) }));
    end
}

async fn join(sentinel: Sentinel) -> Outcome<String, Lied> {
    let once = sentinel.once("k").wait(SECOND * 60);
    once.run(|_| async { Ok("ran after all".to_owned()) }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_the_answer_comes_at_once() {
    let sentinel = sentinel();
    let _end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let outcome = sentinel.once("k").run(|_| async { Ok::<String, Lied>(String::new()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::InProgress(other) if other.remaining <= SECOND * 5));
}

#[tokio::test(start_paused = true)]
async fn many_callers_wait_behind_one_watcher_and_get_the_result() {
    let store = Counting::new(true);
    let sentinel = Sentinel::new(store.clone());
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let joins: Vec<_> = (0..100).map(|_| tokio::spawn(join(sentinel.clone()))).collect();
    tokio::time::sleep(SECOND * 2).await;
    let looks = store.0.inspected.load(Ordering::SeqCst);
    assert!((1..=30).contains(&looks), "one watcher looked {looks} times, however many wait");
    end.send(Ok("receipt".to_owned())).unwrap();
    for join in joins {
        assert!(matches!(join.await.unwrap(), Outcome::Replayed(text) if text == "receipt"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_result_is_joined_too() {
    // Two clients share the store only: no wake-up within the process helps.
    let store = MemoryStore::new();
    let (theirs, ours) = (Sentinel::new(store.clone()), Sentinel::new(store));
    let end = start(&theirs, "k");
    tokio::task::yield_now().await;
    let joined = tokio::spawn(join(ours));
    tokio::time::sleep(SECOND).await;
    end.send(Ok("receipt".to_owned())).unwrap();
    assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "receipt"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_turns_uncertain_ends_the_wait() {
    let sentinel = sentinel();
    let _never_ends = start(&sentinel, "k");
    tokio::task::yield_now().await;
    assert!(matches!(join(sentinel.clone()).await, Outcome::Uncertain(_)));
    let _ = doubt(&sentinel, "other").await;
}

#[tokio::test(start_paused = true)]
async fn one_of_those_who_wait_runs_when_nothing_happened() {
    let sentinel = sentinel();
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let joins: Vec<_> = (0..10).map(|_| tokio::spawn(join(sentinel.clone()))).collect();
    tokio::time::sleep(SECOND).await;
    end.send(Err(Lied("nothing"))).unwrap();
    let mut ran = 0;
    for join in joins {
        match join.await.unwrap() {
            Outcome::Completed(_) => ran += 1,
            other => assert!(matches!(other, Outcome::Replayed(_))),
        }
    }
    assert_eq!(ran, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline() {
    let sentinel = sentinel();
    let (end, ended) = oneshot::channel::<()>();
    let once = sentinel.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 500);
    tokio::spawn(once.run(|_| async move { Ok::<_, Lied>(ended.await.is_ok()) }));
    tokio::task::yield_now().await;
    let started = tokio::time::Instant::now();
    assert!(matches!(join(sentinel.clone()).await, Outcome::InProgress(_)));
    assert!(started.elapsed() >= SECOND * 60);
    drop(end);
}

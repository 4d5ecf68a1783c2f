//! Before the process exits: what runs ends, what has ended is recorded, and what is left is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel::prelude::*;
use sentinel::{Kind, NotRun, State, StoreError, Trouble, Unfinished, Work};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::outage::{ALL, Refusing};
use crate::{Lied, SECOND, sentinel, state};

fn away() -> StoreError {
    StoreError::not_applied(Trouble::Unreachable, "connection refused")
}

/// A run that ends as the sender says, and whose caller has gone.
async fn detached(sentinel: &Sentinel, key: &str) -> oneshot::Sender<Result<(), Lied>> {
    let (end, ended) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let once = sentinel.once(key).ttl(SECOND * 30).hard_ttl(SECOND * 600);
    let once = once.nothing_happened_if(|e: &Lied| e.0 == "declined");
    let call = tokio::spawn(once.run(move |_| async move {
        begin.send(()).unwrap();
        ended.await.unwrap_or(Err(Lied("no end")))
    }));
    begun.await.unwrap();
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled(), "the caller has gone");
    end
}

fn left(unfinished: &[Unfinished]) -> Vec<(&str, Work)> {
    unfinished.iter().map(|left| (left.address.key.as_str(), left.work)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_without_work_is_drained_at_once() {
    let began = Instant::now();
    assert!(sentinel().drain(SECOND * 60).await.is_complete());
    assert!(began.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_caller_has_gone_is_waited_for_and_recorded() {
    let sentinel = sentinel();
    let end = detached(&sentinel, "k").await;
    let draining = tokio::spawn({
        let sentinel = sentinel.clone();
        async move { sentinel.drain(SECOND * 60).await }
    });
    sleep(SECOND * 10).await;
    assert!(!draining.is_finished());
    end.send(Ok(())).unwrap();
    assert!(draining.await.unwrap().is_complete());
    assert_eq!(state(&sentinel, "k").await, State::Completed, "recorded before drain has returned");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_end_of_the_time_is_named() {
    let sentinel = sentinel();
    let _end = detached(&sentinel, "k").await;
    let LeaseOutcome::Held(lease) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    let began = Instant::now();
    let drained = sentinel.drain(SECOND * 5).await;
    assert_eq!(began.elapsed(), SECOND * 5);
    let mut names = left(&drained.unfinished);
    names.sort_by_key(|(key, _)| *key);
    assert_eq!(names, [("k", Work::Run), ("l", Work::Lease)]);
    assert!(drained.unfinished.iter().any(|left| left.to_string().contains("has not returned")));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_is_named_and_not_waited_for() {
    let sentinel = sentinel();
    let LeaseOutcome::Held(_lease) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    let began = Instant::now();
    let drained = sentinel.drain(SECOND * 60).await;
    assert!(began.elapsed().is_zero());
    assert_eq!(left(&drained.unfinished), [("l", Work::Lease)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_dropped_is_released_first() {
    let store = Refusing::new(ALL);
    let sentinel = Sentinel::new(store.clone());
    let request = sentinel.lease("l").ttl(SECOND * 30).hard_ttl(SECOND * 600);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    store.0.refuse(away());
    drop(lease);
    let drained = sentinel.drain(SECOND * 3).await;
    assert_eq!(left(&drained.unfinished), [("l", Work::Release)]);
    store.0.admit();
    assert!(sentinel.drain(SECOND * 10).await.is_complete());
    let record = sentinel.inspect(Kind::Lease, "l").await.unwrap().record.unwrap();
    assert_eq!(record.state, State::Free);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_result_and_a_background_release_are_waited_for() {
    for (ends, work, end) in
        [(Ok(()), Work::Result, State::Completed), (Err(Lied("declined")), Work::Release, State::Free)]
    {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone()).patience(SECOND);
        let sender = detached(&sentinel, "k").await;
        store.0.refuse(away());
        sender.send(ends).unwrap();
        let drained = sentinel.drain(SECOND * 20).await;
        let [left] = &drained.unfinished[..] else { panic!("{drained:?}") };
        assert_eq!((left.work, left.given_up), (work, false), "{left}");
        assert!(left.to_string().contains("connection refused"), "{left}");
        store.0.admit();
        assert!(sentinel.drain(SECOND * 20).await.is_complete());
        assert_eq!(state(&sentinel, "k").await, end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_its_caller_has_left_is_cancelled_first() {
    let store = Refusing::new(&["cancel"]);
    let slow = sentinel_conformance::Plan::quiet()
        .every("claim", sentinel_conformance::Fault::Delay(sentinel_conformance::Wait::Time(SECOND * 2)));
    let sentinel = Sentinel::new(Arc::new(sentinel_conformance::Faulty::new(store.clone(), slow)));
    store.0.refuse(away());
    let once = sentinel.once("k").ttl(SECOND * 30).run(|_| async { Ok::<_, Lied>(()) });
    assert!(tokio::time::timeout(SECOND, once).await.is_err());
    let drained = sentinel.drain(SECOND * 5).await;
    assert_eq!(left(&drained.unfinished), [("k", Work::Cancel)]);
    store.0.admit();
    assert!(sentinel.drain(SECOND * 5).await.is_complete());
    assert_eq!(state(&sentinel, "k").await, State::Free);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_any_more_and_who_waits_is_told() {
    let sentinel = sentinel();
    let end = detached(&sentinel, "k").await;
    let runs = Arc::new(AtomicU32::new(0));
    let call = |key: &str, wait| {
        let runs = runs.clone();
        sentinel.once(key).wait(wait).run(move |_| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Lied>(())
        })
    };
    let waiting = tokio::spawn(call("k", SECOND * 600));
    let LeaseOutcome::Held(lease) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    let queued = tokio::spawn(sentinel.lease("l").wait(SECOND * 600).acquire());
    sleep(SECOND).await;
    let _ = sentinel.clone().drain(SECOND).await;
    assert!(matches!(waiting.await.unwrap().unwrap(), Outcome::NotRun(NotRun::Draining)));
    assert!(matches!(queued.await.unwrap().unwrap(), LeaseOutcome::NotHeld(NotRun::Draining)));
    assert!(matches!(call("new", SECOND).await.unwrap(), Outcome::NotRun(NotRun::Draining)));
    let refused = sentinel.lease("m").acquire().await.unwrap();
    assert!(matches!(refused, LeaseOutcome::NotHeld(NotRun::Draining)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    assert!(crate::seen(&sentinel, "new").await.record.is_none(), "nothing was sent");
    lease.release().await.unwrap();
    end.send(Ok(())).unwrap();
    assert!(sentinel.drain(SECOND).await.is_complete());
}

//! Before the process exits, `drain` waits for running functions and unconfirmed results, and names unfinished work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel::drain::{Unfinished, Work};
use sentinel::lease::ReleaseOutcome;
use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::record::{Kind, State};
use sentinel::store::{ErrorKind, StoreError};
use sentinel_conformance::{Fault, FaultPlan, Faulty, Latency};
use sentinel_testbed::until;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::keeper::runtime;
use crate::outage::{ALL, Refusing};
use crate::{Lied, SECOND, sentinel, state};

fn away() -> StoreError {
    StoreError::not_applied(ErrorKind::Unreachable, "connection refused")
}

/// A run that ends when and how the sender chooses, and whose caller has gone.
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
async fn drain_waits_for_a_run_whose_caller_has_gone_and_it_is_recorded() {
    let sentinel = sentinel();
    let end = detached(&sentinel, "k").await;
    let draining = tokio::spawn({
        let sentinel = sentinel.clone();
        async move { sentinel.drain(SECOND * 60).await }
    });
    sleep(SECOND * 10).await;
    assert!(!draining.is_finished());
    end.send(Ok(())).unwrap();
    let began = Instant::now();
    assert!(draining.await.unwrap().is_complete());
    assert!(began.elapsed() < SECOND, "as soon as it has returned, and not at the end of the time");
    assert_eq!(state(&sentinel, "k").await, State::Completed, "recorded before drain has returned");
}

#[tokio::test(start_paused = true)]
async fn drain_names_the_work_that_is_left_when_its_time_is_over() {
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
async fn drain_names_a_held_lease_and_does_not_wait_for_it() {
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
async fn drain_waits_for_unconfirmed_results_releases_and_abandons() {
    for (ends, work, end) in [
        (Ok(()), Work::Result, State::Completed),
        (Err(Lied("declined")), Work::Release, State::Free),
        (Err(Lied("reset by peer")), Work::Abandon, State::Executing),
    ] {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone()).retry_timeout(SECOND);
        let sender = detached(&sentinel, "k").await;
        store.0.refuse(away());
        sender.send(ends).unwrap();
        let drained = sentinel.drain(SECOND * 20).await;
        let [left] = &drained.unfinished[..] else { panic!("{drained:?}") };
        assert_eq!((left.work, left.given_up), (work, false), "{left}");
        assert!(left.to_string().contains("connection refused"), "{left}");
        store.0.admit();
        assert!(sentinel.drain(SECOND * 20).await.is_complete());
        let record = crate::seen(&sentinel, "k").await.record.unwrap();
        assert_eq!((record.state, record.doubt.is_some()), (end, work == Work::Abandon));
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_the_claim_of_a_departed_caller_is_cancelled() {
    let store = Refusing::new(&["cancel"]);
    let slow = FaultPlan::none().every("claim", Fault::Delay(Latency::Time(SECOND * 2)));
    let sentinel = Sentinel::new(Arc::new(Faulty::new(store.clone(), slow)));
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
async fn a_draining_client_grants_nothing_and_ends_the_calls_that_wait() {
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

#[tokio::test(start_paused = true)]
async fn drain_waits_for_a_lease_that_is_being_released() {
    let store = Refusing::new(&["release"]);
    let sentinel = Sentinel::new(store.clone());
    let LeaseOutcome::Held(lease) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    store.0.refuse(away());
    let releasing = tokio::spawn(lease.release());
    sleep(SECOND).await;
    let began = Instant::now();
    let drained = sentinel.drain(SECOND * 3).await;
    assert_eq!((left(&drained.unfinished), began.elapsed()), (vec![("l", Work::Release)], SECOND * 3));
    store.0.admit();
    assert!(sentinel.drain(SECOND * 10).await.is_complete());
    assert!(matches!(releasing.await.unwrap(), Ok(ReleaseOutcome::Released)));
}

#[tokio::test(start_paused = true)]
async fn a_claim_granted_while_draining_does_not_run_and_is_released() {
    let slow = FaultPlan::none().every("claim", Fault::Delay(Latency::Time(SECOND * 2)));
    let sentinel = Sentinel::new(Faulty::new(Arc::new(MemoryStore::new()), slow));
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let run = tokio::spawn(sentinel.once("k").run(move |_| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Lied>(())
    }));
    let lease = tokio::spawn(sentinel.lease("l").acquire());
    sleep(SECOND).await;
    let began = Instant::now();
    let drained = sentinel.drain(SECOND * 60).await;
    assert!(drained.is_complete() && began.elapsed() >= SECOND, "{drained:?}");
    for kind in [Kind::Execution, Kind::Lease] {
        let key = if kind == Kind::Lease { "l" } else { "k" };
        let record = sentinel.inspect(kind, key).await.unwrap().record.unwrap();
        assert_eq!(record.state, State::Free, "{kind:?}");
    }
    assert!(matches!(run.await.unwrap().unwrap(), Outcome::NotRun(NotRun::Draining)));
    assert!(matches!(lease.await.unwrap().unwrap(), LeaseOutcome::NotHeld(NotRun::Draining)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn drain_ends_a_call_that_waits_for_an_unreachable_store_at_once() {
    let store = Refusing::new(&["claim"]);
    store.0.refuse(away());
    let sentinel = Sentinel::new(store);
    let waiting = tokio::spawn(sentinel.once("k").wait(SECOND * 600).run(|_| async { Ok::<_, Lied>(()) }));
    let queued = tokio::spawn(sentinel.lease("l").wait(SECOND * 600).acquire());
    sleep(SECOND).await;
    let began = Instant::now();
    assert!(sentinel.drain(SECOND * 60).await.is_complete());
    assert!(matches!(waiting.await.unwrap().unwrap(), Outcome::NotRun(NotRun::Draining)));
    assert!(matches!(queued.await.unwrap().unwrap(), LeaseOutcome::NotHeld(NotRun::Draining)));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn drain_names_a_claim_that_will_not_run_as_a_cancel() {
    let lost = StoreError::ambiguous(ErrorKind::LostReply, "the connection broke");
    for (operations, error) in [(&["begin", "cancel"], away()), (&["claim", "cancel"], lost)] {
        let store = Refusing::new(operations);
        store.0.refuse(error);
        let sentinel = Sentinel::new(store).retry_timeout(SECOND);
        let once = sentinel.once("k").prepare(|_| async { Ok::<_, Lied>(()) });
        let call = tokio::spawn(once.run(|_, ()| async { Ok(()) }));
        let mut named = Vec::new();
        while !call.is_finished() {
            named.extend(sentinel.unfinished().iter().map(|left| left.work));
            sleep(SECOND / 20).await;
        }
        assert!(named.contains(&Work::Cancel), "{operations:?}: {named:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_names_a_cancel_and_a_release_that_were_given_up() {
    let gone = || StoreError::not_applied(ErrorKind::NotInitialised, "the tables were dropped");
    let store = Refusing::new(&["begin", "cancel", "release"]);
    let sentinel = Sentinel::new(store.clone());
    let LeaseOutcome::Held(lease) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    store.0.refuse(gone());
    drop(lease);
    let once = sentinel.once("k").prepare(|_| async { Ok::<_, Lied>(()) });
    assert!(matches!(once.run(|_, ()| async { Ok(()) }).await.unwrap(), Outcome::NotRun(_)));
    let drained = sentinel.drain(SECOND).await;
    assert_eq!(left(&drained.unfinished), [("l", Work::Release), ("k", Work::Cancel)]);
    assert!(drained.unfinished.iter().all(|left| left.given_up), "{drained:?}");
}

#[tokio::test(start_paused = true)]
async fn the_newest_reports_of_work_that_was_given_up_are_kept() {
    let store = Refusing::new(&["complete"]);
    store.0.refuse(StoreError::not_applied(ErrorKind::NotInitialised, "the tables were dropped"));
    let sentinel = Sentinel::new(store);
    for n in 0..=100 {
        let once = sentinel.once(format!("k{n}")).run(|_| async { Ok::<_, Lied>(()) });
        assert!(matches!(once.await.unwrap(), Outcome::Unconfirmed(Ok(()))));
    }
    let unfinished = sentinel.unfinished();
    assert_eq!(unfinished.len(), 100);
    assert_eq!((left(&unfinished)[0].0, left(&unfinished)[99].0), ("k1", "k100"));
}

#[test]
fn drain_waits_for_work_that_an_ended_runtime_left_behind() {
    let store = Refusing::new(&["abandon"]);
    store.0.elsewhere.store(true, Ordering::SeqCst);
    let sentinel = Sentinel::new(store.clone());
    let ending = runtime();
    let (begin, begun) = oneshot::channel();
    let once = sentinel.once::<Lied>("k").ttl(SECOND * 600).run(|_| async {
        begin.send(()).unwrap();
        std::future::pending::<Result<(), Lied>>().await
    });
    drop(ending.spawn(once));
    ending.block_on(begun).unwrap();
    store.0.refuse(away());
    drop(ending);
    until("the abandon was refused again and again", || store.0.refused.load(Ordering::SeqCst) >= 2);
    let drain = |at_most| runtime().block_on(sentinel.drain(at_most));
    assert_eq!(left(&drain(SECOND / 100).unfinished), [("k", Work::Abandon)]);
    store.0.admit();
    assert!(drain(SECOND * 60).is_complete());
    let record = runtime().block_on(crate::seen(&sentinel, "k")).record.unwrap();
    assert!(record.state == State::Executing && record.doubt.is_some(), "{record:?}");
}

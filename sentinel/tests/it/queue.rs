//! Many callers of one process wait for one key.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sentinel::prelude::*;
use tokio::time::{Instant, sleep};

use crate::harness::Harness;
use crate::{Lied, SECOND, sentinel};
use sentinel_conformance::FaultPlan;

#[tokio::test(start_paused = true)]
async fn callers_that_wait_for_a_lease_are_served_in_the_order_in_which_they_came() {
    let sentinel = sentinel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let LeaseOutcome::Held(first) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    let waiting: Vec<_> = (0..100)
        .map(|n| {
            let (sentinel, order) = (sentinel.clone(), order.clone());
            tokio::spawn(async move {
                sleep(SECOND * n / 1000).await;
                let request = sentinel.lease("l").wait(SECOND * 600);
                let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
                order.lock().unwrap().push(n);
                sleep(SECOND / 1000).await;
                lease.release().await.unwrap();
            })
        })
        .collect();
    sleep(SECOND).await;
    first.release().await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn only_the_first_waiting_caller_sends_claims() {
    let harness = Harness::new(FaultPlan::none());
    let request = harness.ours.lease("l").ttl(SECOND * 3000);
    let LeaseOutcome::Held(first) = request.acquire().await.unwrap() else { panic!("not held") };
    let callers = 2_000;
    let held = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..callers)
        .map(|_| {
            let (ours, held) = (harness.ours.clone(), held.clone());
            tokio::spawn(async move {
                let request = ours.lease("l").ttl(SECOND * 3000).wait(SECOND * 600);
                let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
                held.fetch_add(1, Ordering::SeqCst);
                lease.release().await.unwrap();
            })
        })
        .collect();
    sleep(SECOND * 10).await;
    let before = harness.wire.sent("claim");
    assert!(before <= callers + 50, "{before} claims for {callers} callers that only wait");
    let began = Instant::now();
    first.release().await.unwrap();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(held.load(Ordering::SeqCst), callers);
    let claims = harness.wire.sent("claim") - before;
    assert!(claims <= callers + callers / 10, "{claims} claims for {callers} turns");
    assert!(began.elapsed() < SECOND * 60, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_next_caller_is_served_when_the_first_goes_away_or_gives_up() {
    let sentinel = sentinel();
    let LeaseOutcome::Held(first) = sentinel.lease("l").acquire().await.unwrap() else { panic!("not held") };
    let wait = |seconds| tokio::spawn(sentinel.lease("l").wait(SECOND * seconds).acquire());
    let (gone, impatient) = (wait(600), wait(5));
    sleep(SECOND).await;
    let last = wait(600);
    sleep(SECOND).await;
    gone.abort();
    assert!(matches!(impatient.await.unwrap().unwrap(), LeaseOutcome::InProgress(_)));
    first.release().await.unwrap();
    let began = Instant::now();
    assert!(matches!(last.await.unwrap().unwrap(), LeaseOutcome::Held(_)));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_queue_that_lapses_or_is_freed_elsewhere_goes_to_the_next() {
    let store = MemoryStore::new();
    let (ours, theirs) = (Sentinel::new(store.clone()), Sentinel::new(store));
    // The first of ours gets it and never gives it back; it lapses.
    let request = ours.lease("l").ttl(SECOND * 5);
    let LeaseOutcome::Held(lost) = request.acquire().await.unwrap() else { panic!("not held") };
    let wait =
        |client: &Sentinel| tokio::spawn(client.lease("l").ttl(SECOND * 5).wait(SECOND * 60).acquire());
    let (second, third) = (wait(&ours), wait(&ours));
    let LeaseOutcome::Held(second) = second.await.unwrap().unwrap() else { panic!("not held") };
    // Another process frees it.
    let (_, reply) = theirs.evict(sentinel::record::Kind::Lease, "l", second.token()).evict().await.unwrap();
    assert!(matches!(reply, sentinel::store::operation::EvictReply::Evicted { .. }));
    let began = Instant::now();
    assert!(matches!(third.await.unwrap().unwrap(), LeaseOutcome::Held(_)));
    assert!(began.elapsed() < SECOND * 3, "{:?}", began.elapsed());
    drop((lost, second));
}

#[tokio::test(start_paused = true)]
async fn all_callers_that_wait_for_an_execution_get_its_result() {
    let harness = Harness::new(FaultPlan::none());
    let once = harness.ours.once("k").ttl(SECOND * 600);
    let running = tokio::spawn(once.run(|_| async {
        sleep(SECOND * 10).await;
        Ok::<_, Lied>(7)
    }));
    tokio::task::yield_now().await;
    let joined: Vec<_> = (0..500)
        .map(|_| tokio::spawn(harness.ours.once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>(0) })))
        .collect();
    assert!(matches!(running.await.unwrap().unwrap(), Outcome::Completed(7)));
    let began = Instant::now();
    for joined in joined {
        assert!(matches!(joined.await.unwrap().unwrap(), Outcome::Replayed(7)));
    }
    assert!(began.elapsed() < SECOND);
}

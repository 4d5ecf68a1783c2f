//! How long the client repeats requests to an unreachable store, and how it handles a grant whose reply arrives too
//! late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel::drain::{Unfinished, Work};
use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::record::State;
use sentinel::store::{ErrorKind, StoreError};
use sentinel_conformance::{Fault, FaultPlan, Faulty, Latency, Layered};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::Harness;
use crate::outage::{ALL, Refusing};
use crate::{Lied, SECOND, state};

fn away() -> StoreError {
    StoreError::not_applied(ErrorKind::Unreachable, "connection refused")
}

/// The unfinished work, and whether the client has given it up.
fn left(sentinel: &Sentinel) -> Vec<(Work, bool)> {
    sentinel.unfinished().iter().map(|Unfinished { work, given_up, .. }| (*work, *given_up)).collect()
}

/// A call with a hard ttl of 30 s, whose function ends like this at once; from then on the store is unreachable.
async fn ends_while_away(
    sentinel: &Sentinel,
    store: &Arc<Layered<Refusing>>,
    ends: Result<(), Lied>,
    confirm_within: Duration,
) -> Outcome<(), Lied> {
    let once = sentinel.once("k").ttl(SECOND * 30).confirm_within(confirm_within);
    let refusing = store.clone();
    let once = once.nothing_happened_if(|e: &Lied| e.0 == "declined").run(move |_| async move {
        refusing.0.refuse(away());
        ends
    });
    once.await.unwrap()
}

const ENDS: [(Result<(), Lied>, Work); 3] = [
    (Ok(()), Work::Result),
    (Err(Lied("declined")), Work::Release),
    (Err(Lied("reset by peer")), Work::Abandon),
];

#[tokio::test(start_paused = true)]
async fn a_report_is_given_up_ten_minutes_after_the_hard_deadline() {
    for (ends, work) in ENDS {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone());
        let began = Instant::now();
        let _outcome = ends_while_away(&sentinel, &store, ends, SECOND).await;
        sleep(SECOND * 629 - began.elapsed()).await;
        assert_eq!(left(&sentinel), [(work, false)]);
        // The last attempt may have been made just before.
        sleep(SECOND * 5).await;
        assert_eq!(left(&sentinel), [(work, true)]);
        let sent = store.0.refused.load(Ordering::SeqCst);
        sleep(SECOND * 600).await;
        assert_eq!(store.0.refused.load(Ordering::SeqCst), sent, "nothing is sent any more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_confirmation_at_most_as_long_as_requested() {
    for (ends, work) in ENDS {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone()).retry_timeout(Duration::MAX);
        let began = Instant::now();
        let call = ends_while_away(&sentinel, &store, ends, Duration::MAX);
        let outcome = timeout(SECOND * 635, call).await.unwrap();
        assert!(began.elapsed() >= SECOND * 629, "{:?}", began.elapsed());
        let expected = match work {
            Work::Result => matches!(outcome, Outcome::Unconfirmed(Ok(()))),
            Work::Release => matches!(outcome, Outcome::Failed(_)),
            _ => matches!(outcome, Outcome::RanUncertain(_)),
        };
        assert!(expected, "{outcome:?}");
        assert_eq!(left(&sentinel), [(work, true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_after_that_time_is_sent_once() {
    let store = Refusing::new(&["complete"]);
    store.0.refuse(away());
    let sentinel = Sentinel::new(store.clone());
    let once = sentinel.once("k").ttl(SECOND).run(|_| async {
        sleep(SECOND * 700).await;
        Ok::<_, Lied>(())
    });
    assert!(matches!(once.await.unwrap(), Outcome::Unconfirmed(Ok(()))));
    assert_eq!((left(&sentinel), store.0.refused.load(Ordering::SeqCst)), (vec![(Work::Result, true)], 1));
}

#[tokio::test(start_paused = true)]
async fn the_cancel_of_a_departed_caller_is_sent_for_the_same_time() {
    let store = Refusing::new(&["cancel"]);
    store.0.refuse(away());
    let slow = FaultPlan::none().every("claim", Fault::Delay(Latency::Time(SECOND * 2)));
    let sentinel = Sentinel::new(Arc::new(Faulty::new(store.clone(), slow)));
    let leave = async |key| {
        let call = sentinel.once(key).ttl(SECOND * 30).run(|_| async { Ok::<_, Lied>(()) });
        assert!(timeout(SECOND, call).await.is_err());
    };
    leave("k").await;
    sleep(SECOND * 600).await;
    assert_eq!(left(&sentinel), [(Work::Cancel, false)]);
    store.0.admit();
    sleep(SECOND * 5).await;
    assert_eq!((state(&sentinel, "k").await, left(&sentinel)), (State::Free, vec![]));

    store.0.refuse(away());
    leave("never").await;
    sleep(SECOND * 640).await;
    assert_eq!(left(&sentinel), [(Work::Cancel, true)]);
}

#[tokio::test(start_paused = true)]
async fn a_release_of_a_lease_is_sent_until_the_lease_has_lapsed_by_itself() {
    let store = Refusing::new(&["release"]);
    let sentinel = Sentinel::new(store.clone()).retry_timeout(SECOND * 5);
    let request = sentinel.lease("l").ttl(SECOND * 10).hard_ttl(SECOND * 3600);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    // Long after the end of its first ttl, which heartbeats have moved.
    sleep(SECOND * 60).await;
    let lapses = lease.remaining();
    assert!(lapses > SECOND * 5, "{lapses:?}");
    store.0.refuse(away());
    drop(lease);
    sleep(lapses + SECOND * 4).await;
    assert_eq!(left(&sentinel), [(Work::Release, false)]);
    // The retry timeout, and the last pause.
    sleep(SECOND * 4).await;
    assert_eq!(left(&sentinel), [(Work::Release, true)]);
}

/// A call that waits, with a lease of 5 s, and counts its run.
async fn waits(harness: &Harness, at_most: Duration) -> Outcome<String, Lied> {
    let runs = harness.runs.clone();
    let once = harness.ours.once("k").ttl(SECOND * 5).wait(at_most).run(|_| async move {
        runs.fetch_add(1, Ordering::SeqCst);
        Ok("ours".to_owned())
    });
    timeout(SECOND * 600, once).await.unwrap().unwrap()
}

fn later(harness: &Harness, when: Duration, plan: FaultPlan) {
    let network = harness.network.clone();
    tokio::spawn(async move {
        sleep(when).await;
        network.then(|_| plan);
    });
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_whose_unknown_grant_is_over_claims_again() {
    let harness = Harness::new(FaultPlan::none());
    let (begin, begun) = tokio::sync::oneshot::channel();
    let holder = harness.other.once("k").ttl(SECOND * 600).nothing_happened_if(|_: &Lied| true);
    tokio::spawn(holder.run(|_| async {
        begin.send(()).unwrap();
        sleep(SECOND * 5).await;
        Err::<String, _>(Lied("declined"))
    }));
    begun.await.unwrap();
    // It has seen the holder and waits for its turn. From now on replies are lost.
    later(&harness, SECOND * 2, FaultPlan::none().every("claim", Fault::LoseReply));
    later(&harness, SECOND * 20, FaultPlan::none());
    let outcome = waits(&harness, SECOND * 60).await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    assert_eq!(harness.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_cancels_its_unknown_grant_before_it_claims_again() {
    let lost = || FaultPlan::none().every("cancel", Fault::LoseRequest);
    let harness = Harness::new(lost().every("claim", Fault::LoseReply));
    later(&harness, SECOND * 15, lost());
    later(&harness, SECOND * 30, FaultPlan::none());
    let outcome = waits(&harness, SECOND * 60).await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Expired)), "{outcome:?}");
    sleep(SECOND * 20).await;
    assert_eq!(
        (harness.runs(), harness.state().await),
        (0, State::Free),
        "it is cancelled in the background"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_does_not_claim_again() {
    let harness = Harness::new(FaultPlan::none().nth("claim", 1, Fault::Delay(Latency::Time(SECOND * 8))));
    let outcome = waits(&harness, SECOND * 6).await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Expired)), "{outcome:?}");
    assert_eq!((harness.runs(), harness.wire.sent("claim"), harness.state().await), (0, 1, State::Free));
}

//! A network that loses, delays and repeats messages: an ambiguous call never runs, and a call that ran never runs
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::outcome::{Lost, NotRun};
use sentinel::prelude::*;
use sentinel::record::{Address, Kind, State};
use sentinel::store::operation::{EvictReply, Stamped};
use sentinel::store::{Applied, ErrorKind, StoreError};
use sentinel_conformance::{Fault, FaultPlan, Latency, Layer, Layered};

use crate::harness::Harness;
use crate::{Lied, SECOND};

#[tokio::test(start_paused = true)]
async fn after_a_lost_reply_the_same_request_is_sent_again() {
    for op in ["claim", "complete"] {
        for fault in
            [Fault::LoseReply, Fault::LoseRequest, Fault::Repeat, Fault::RepeatAfter(Latency::Yields(9))]
        {
            let harness = Harness::new(FaultPlan::none().nth(op, 1, fault));
            assert!(matches!(harness.pay().await, Outcome::Completed(_)), "{op} {fault:?}");
            assert_eq!((harness.runs(), harness.state().await), (1, State::Completed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_stays_ambiguous_never_runs() {
    for fault in [Fault::LoseReply, Fault::LoseRequest, Fault::ArriveAfter(Latency::Time(SECOND * 5))] {
        let harness = Harness::new(FaultPlan::none().every("begin", fault));
        let outcome = harness.prepare_and_pay().await;
        let Outcome::NotRun(NotRun::Store(error)) = outcome else { panic!("{fault:?}: {outcome:?}") };
        assert_eq!(error.applied(), Applied::Ambiguous);
        assert_eq!(
            (harness.runs(), harness.state().await),
            (0, State::Free),
            "{fault:?}: cancelled by its claim id"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_stays_ambiguous_never_runs_and_is_cancelled() {
    for fault in [Fault::LoseReply, Fault::LoseRequest, Fault::ArriveAfter(Latency::Time(SECOND * 5))] {
        let harness = Harness::new(FaultPlan::none().every("claim", fault));
        assert!(matches!(harness.pay().await, Outcome::NotRun(NotRun::Store(_))), "{fault:?}");
        assert_eq!((harness.runs(), harness.state().await), (0, State::Free), "{fault:?}");
        tokio::time::sleep(SECOND * 10).await;
        assert_eq!(harness.state().await, State::Free, "{fault:?}: a late duplicate is refused");
        assert!(matches!(crate::charge(&harness.other, "k").await, Outcome::Completed(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_proven_not_applied_is_reported_at_once() {
    let harness = Harness::new(FaultPlan::none().every("claim", Fault::NotApplied));
    let Outcome::NotRun(NotRun::Store(error)) = harness.pay().await else { panic!("ran") };
    assert_eq!(error.applied(), Applied::No);
    assert_eq!((harness.network.count("claim"), harness.network.count("cancel")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_attempt_stays_ambiguous_after_later_attempts_fail() {
    let plan = FaultPlan::none().every("claim", Fault::NotApplied).nth("claim", 1, Fault::LoseReply);
    let harness = Harness::new(plan);
    let Outcome::NotRun(NotRun::Store(error)) = harness.pay().await else { panic!("ran") };
    assert_eq!(error.applied(), Applied::Ambiguous);
    assert_eq!((harness.runs(), harness.state().await), (0, State::Free), "the granted claim was cancelled");
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_completion_is_reported_and_sent_again() {
    let harness = Harness::new(FaultPlan::none().every("complete", Fault::LoseRequest));
    assert!(matches!(harness.pay().await, Outcome::Unconfirmed(Ok(receipt)) if receipt == "receipt"));
    assert_eq!(harness.state().await, State::Executing);
    harness.network.then(|_| FaultPlan::none());
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(
        (harness.runs(), harness.state().await),
        (1, State::Completed),
        "recorded late, never run again"
    );
    assert!(matches!(harness.pay().await, Outcome::Replayed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_completion_reaches_a_store_that_was_unreachable() {
    let harness = Harness::new(FaultPlan::none().nth("complete", 1, Fault::NotApplied).nth(
        "complete",
        2,
        Fault::NotApplied,
    ));
    assert!(matches!(harness.pay().await, Outcome::Completed(_)));
    assert_eq!(harness.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn unanswered_heartbeats_are_unknown_until_the_local_deadline() {
    let harness = Harness::new(FaultPlan::none().every("heartbeat", Fault::LoseRequest));
    let started = tokio::time::Instant::now();
    let request = harness.ours.lease("l").ttl(SECOND * 3).hard_ttl(SECOND * 60);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    lease.cancelled().cancelled().await;
    assert_eq!(lease.lost(), Some(Lost::HeartbeatTimeout));
    assert!(started.elapsed() >= SECOND * 3, "lost after {:?}", started.elapsed());
    assert!(harness.network.count("heartbeat") >= 3, "the lease was claimed again and again");

    let once = harness.ours.once("k").ttl(SECOND * 3).hard_ttl(SECOND * 60);
    let outcome = once.run(move |run: Run| async move {
        run.contact_lost().cancelled().await;
        Ok::<_, Lied>(run.lost().is_none() && run.remaining().is_zero())
    });
    assert!(
        matches!(outcome.await.unwrap(), Outcome::Completed(true)),
        "no other call can take an execution over"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_its_authority_during_its_preparation_does_not_start() {
    // The store extended the lease and would accept a begin. The worker received no reply, and its signal has fired.
    let harness = Harness::new(FaultPlan::none().every("heartbeat", Fault::LoseReply));
    let once = harness.ours.once("k").ttl(SECOND * 3).hard_ttl(SECOND * 60).prepare(|_| async {
        tokio::time::sleep(SECOND * 5).await;
        Ok(())
    });
    let runs = harness.runs.clone();
    let outcome = once.run(|_, ()| async move {
        runs.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Lied>(())
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::NotRun(NotRun::Expired)));
    assert_eq!((harness.runs(), harness.state().await), (0, State::Free));
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_caller_that_goes_away_is_cancelled() {
    let harness = Harness::new(FaultPlan::none().nth("claim", 1, Fault::Delay(Latency::Time(SECOND * 3))));
    assert!(tokio::time::timeout(SECOND, harness.pay()).await.is_err());
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(harness.wire.sent("cancel"), 1, "it is not known whether the claim arrived");
    assert_eq!((harness.runs(), harness.state().await), (0, State::Free));
    assert!(matches!(crate::charge(&harness.other, "k").await, Outcome::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_without_a_reply_continues_in_the_background() {
    let harness =
        Harness::new(FaultPlan::none().every("claim", Fault::LoseReply).every("cancel", Fault::LoseRequest));
    assert!(matches!(harness.pay().await, Outcome::NotRun(NotRun::Store(_))));
    assert_eq!(crate::state(&harness.other, "k").await, State::Executing);
    harness.network.then(|_| FaultPlan::none());
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!((harness.runs(), harness.state().await), (0, State::Free));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_will_not_run_cancels_its_claim_once_before_it_returns() {
    let plan = || FaultPlan::none().every("cancel", Fault::Delay(Latency::Time(SECOND / 2)));
    let late = plan().nth("claim", 1, Fault::Delay(Latency::Time(SECOND * 3)));
    let harness = Harness::new(late.clone());
    let lease = harness.ours.lease("l").ttl(SECOND).acquire().await.unwrap();
    assert!(matches!(lease, LeaseOutcome::NotHeld(NotRun::Expired)), "granted, and over since it was sent");
    let record = harness.other.inspect(Kind::Lease, "l").await.unwrap().record.unwrap();
    assert_eq!((record.state, harness.wire.sent("cancel")), (State::Free, 1));

    for (plan, claims) in [(late, 1), (plan().every("claim", Fault::LoseReply), 2)] {
        let harness = Harness::new(plan);
        let once = harness.ours.once("k").ttl(SECOND).run(|_| async { Ok::<_, Lied>(()) });
        assert!(matches!(once.await.unwrap(), Outcome::NotRun(_)));
        assert!(harness.wire.sent("claim") >= claims);
        assert_eq!((crate::state(&harness.other, "k").await, harness.wire.sent("cancel")), (State::Free, 1));
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(harness.wire.sent("cancel"), 1, "the store has the cancel already");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_another_call_claimed_since_is_not_cancelled() {
    let harness = Harness::new(FaultPlan::none());
    let operator = harness.other.clone();
    let once = harness.ours.once("k").prepare(|run: Run| async move {
        let (_, reply) = operator.evict(Kind::Execution, "k", run.token()).evict().await.unwrap();
        assert!(matches!(reply, EvictReply::Evicted { .. }));
        Ok(())
    });
    let outcome = once.run(|_, ()| async { Ok::<_, Lied>(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Superseded(_))), "{outcome:?}");
    assert_eq!(harness.wire.sent("cancel"), 0);
}

/// A store that never answers a claim.
#[derive(Debug)]
struct Mute(Arc<dyn CoordinationStore>);

#[async_trait]
impl Layer for Mute {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let reply = op.clone().send(&*self.0, address).await;
        match op {
            Op::Claim(_) => std::future::pending().await,
            _ => reply,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_never_arrives_is_a_lost_reply() {
    let sentinel = Sentinel::new(Layered(Mute(Arc::new(MemoryStore::new()))));
    let outcome = sentinel.once("k").run(|_| async { Ok::<_, Lied>(()) }).await.unwrap();
    let Outcome::NotRun(NotRun::Store(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply));
    assert_eq!(crate::state(&sentinel, "k").await, State::Free, "what was granted was cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_release_got_no_reply_is_released() {
    let harness = Harness::new(FaultPlan::none().nth("release", 1, Fault::LoseReply));
    let LeaseOutcome::Held(lease) = harness.ours.lease("l").acquire().await.unwrap() else {
        panic!("not held")
    };
    lease.release().await.unwrap();
    let record = harness.other.inspect(Kind::Lease, "l").await.unwrap().record.unwrap();
    assert_eq!(record.state, State::Free);
}

/// Many workers, one key, every kind of fault: the function runs at most once for each vouched release, and no outcome
/// is wrong about it.
#[tokio::test(start_paused = true)]
async fn under_any_network_fault_nothing_runs_twice_and_no_outcome_is_wrong() {
    many_workers(Harness::new).await;
}

#[tokio::test(start_paused = true)]
async fn behind_a_replay_cache_nothing_runs_twice_and_no_outcome_is_wrong() {
    many_workers(Harness::with_cache).await;
}

async fn many_workers(harness: fn(FaultPlan) -> Harness) {
    for seed in 0..300 {
        let harness = Arc::new(harness(FaultPlan::seeded(seed)));
        let workers: Vec<_> = (0..5).map(|n| tokio::spawn(worker(harness.clone(), n, seed))).collect();
        let mut vouched = 0;
        for worker in workers {
            let (outcome, ran) = worker.await.unwrap();
            assert_eq!(outcome.ran(), ran, "seed {seed}: {outcome:?}");
            vouched += u32::from(matches!(outcome, Outcome::Failed(Failure::NothingHappened(_))));
        }
        assert!(harness.runs() <= 1 + vouched, "seed {seed}: {} runs", harness.runs());
    }
}

async fn worker(harness: Arc<Harness>, n: u64, seed: u64) -> (Outcome<String, Lied>, bool) {
    let (ran, runs) = (Arc::new(AtomicU32::new(0)), harness.runs.clone());
    let mine = ran.clone();
    let function = move || async move {
        mine.fetch_add(1, Ordering::SeqCst);
        runs.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        match (n + seed) % 7 {
            0 => Err(Lied("nothing")),
            1 => Err(Lied("reset")),
            _ => Ok(format!("receipt {n}")),
        }
    };
    let once = harness.ours.once("k").ttl(SECOND * 10).nothing_happened_if(|e: &Lied| e.0 == "nothing");
    let outcome = match n % 2 {
        0 => once.wait(SECOND * 3).run(move |_| function()).await,
        _ => once.prepare(|_| async { Ok(()) }).run(move |_, ()| function()).await,
    };
    (outcome.unwrap(), ran.load(Ordering::SeqCst) > 0)
}

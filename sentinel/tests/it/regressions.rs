//! Named regressions of the worker's part. Each describes one failure of the model or of an earlier system of this
//! kind, and the rule of spec §4 that was missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::record::{Kind, State};
use sentinel::store::{ManualClock, StoreTime};
use sentinel_conformance::{Fault, FaultPlan, Latency, Layered};
use tokio::sync::oneshot;

use crate::harness::{Harness, Wire};
use crate::{Lied, SECOND, charge, state};

/// A run that has started, and continues until it is released.
struct Running {
    call: tokio::task::JoinHandle<Result<Outcome<String, Lied>, sentinel::Error>>,
    open: oneshot::Sender<()>,
}

impl Running {
    async fn start(sentinel: &Sentinel, text: &'static str) -> Self {
        let (open, gate) = oneshot::channel::<()>();
        let (sender, started) = oneshot::channel::<()>();
        let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 600).wait(SECOND * 60);
        let call = tokio::spawn(once.run(move |_| async move {
            sender.send(()).unwrap();
            gate.await.unwrap();
            Ok(text.to_owned())
        }));
        started.await.unwrap();
        Self { call, open }
    }

    async fn end(self) -> Outcome<String, Lied> {
        self.open.send(()).unwrap();
        self.call.await.unwrap().unwrap()
    }
}

/// A claim id was made of host, process and thread. Two calls of one worker shared it, each treated the other's grant
/// as its own, and both ran. Each call has an id of its own; only a request that is sent again repeats it.
#[tokio::test(start_paused = true)]
async fn two_calls_never_share_a_claim_id() {
    let harness = Harness::new(FaultPlan::none().nth("claim", 1, Fault::LoseReply));
    let clone = harness.ours.clone().worker("the same label").unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    let call = |n: usize| {
        let (key, runs) = (if n.is_multiple_of(2) { "k".to_owned() } else { format!("k{n}") }, runs.clone());
        clone.once(key).run(move |run: Run| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok::<_, Lied>(run.claim_id().to_string())
        })
    };
    let calls: Vec<_> = (0..32).map(|n| tokio::spawn(call(n))).collect();
    let mut ran = HashSet::new();
    for call in calls {
        if let Outcome::Completed(id) = call.await.unwrap().unwrap() {
            assert!(ran.insert(id), "two runs under one claim id");
        }
    }
    for _ in 0..2 {
        let LeaseOutcome::Held(lease) = clone.lease("k").acquire().await.unwrap() else { panic!("not held") };
        lease.release().await.unwrap();
    }
    let sent = harness.wire.claim_ids();
    let distinct: HashSet<_> = sent.iter().collect();
    assert_eq!((sent.len(), distinct.len()), (35, 34), "one was sent twice, after its reply was lost");
    assert_eq!((ran.len(), runs.load(Ordering::SeqCst)), (17, 17), "one for each key");
}

/// A begin got no reply, the worker assumed that it had been applied, and ran; it had not been. Here it was applied,
/// the store is unreachable from then on, and not even the cancel arrives. The function still does not run, and other
/// callers see the key as uncertain and not as free.
#[tokio::test(start_paused = true)]
async fn a_worker_does_not_run_on_an_ambiguous_begin() {
    let plan = FaultPlan::none().every("begin", Fault::LoseReply).every("cancel", Fault::LoseRequest);
    let harness = Harness::new(plan);
    let outcome = harness.prepare_and_pay().await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Store(_))), "{outcome:?}");
    assert_eq!((harness.runs(), harness.state().await), (0, State::Executing));
    tokio::time::sleep(SECOND * 20).await;
    assert!(matches!(charge(&harness.other, "k").await, Outcome::Uncertain(_)), "no heartbeat extends it");
    assert_eq!((harness.runs(), harness.wire.sent("release"), harness.wire.sent("complete")), (0, 0, 0));
}

/// The same of the fused form, where the claim is the begin.
#[tokio::test(start_paused = true)]
async fn a_worker_does_not_run_on_an_ambiguous_fused_claim() {
    let plan = FaultPlan::none().every("claim", Fault::LoseReply).every("cancel", Fault::LoseRequest);
    let harness = Harness::new(plan);
    let outcome = harness.pay().await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Store(_))), "{outcome:?}");
    tokio::time::sleep(SECOND * 20).await;
    assert!(matches!(charge(&harness.other, "k").await, Outcome::Uncertain(_)));
    assert_eq!(harness.runs(), 0);
}

/// A guard freed the key when its task was dropped: the runtime shut down in the middle of the side effect, and the
/// next process repeated it. However the runtime ends, the key becomes uncertain and is never free.
#[test]
fn a_dropped_run_that_started_is_not_released() {
    let multi =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (runtime, in_background) in [(single(), false), (single(), true), (multi(), false), (multi(), true)] {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
        let store = MemoryStore::with_clock(clock.clone());
        let runs = Arc::new(AtomicU32::new(0));
        let (wire, counted) = (Wire { store: Arc::new(store.clone()), sent: Arc::default() }, runs.clone());
        let ours = Sentinel::new(Layered(wire.clone()));
        let (sender, started) = oneshot::channel::<()>();
        let caller = runtime.spawn(ours.once("k").run(move |_| async move {
            counted.fetch_add(1, Ordering::SeqCst);
            sender.send(()).unwrap();
            std::future::pending::<Result<String, Lied>>().await
        }));
        runtime.block_on(started).unwrap();
        if in_background {
            runtime.shutdown_background()
        } else {
            drop(runtime)
        }
        single().block_on(async {
            drop(caller.await);
            let other = Sentinel::new(store);
            assert_eq!(state(&other, "k").await, State::Executing);
            // A runtime that shuts down in the background drops its tasks when it gets to it. The clock does not move
            // meanwhile: the key is uncertain because the guard reported it, not because its lease lapsed.
            let uncertain = async {
                while !matches!(charge(&other, "k").await, Outcome::Uncertain(_)) {
                    tokio::time::sleep(SECOND / 1000).await;
                }
            };
            tokio::time::timeout(SECOND * 60, uncertain).await.expect("the key becomes uncertain");
            clock.advance(SECOND * 3600);
            assert!(matches!(charge(&other, "k").await, Outcome::Uncertain(_)));
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!((wire.sent("release"), wire.sent("cancel")), (0, 0));
    }
}

/// The first attempt of a call got no reply, and its receiver was gone. The connection pool then released its grant,
/// while the next attempt of the same call ran under it. Only the task that owns the call releases anything: here
/// attempts are lost, repeated and late, then the caller goes away as well, and nothing is sent but the result.
#[tokio::test(start_paused = true)]
async fn a_departed_callers_attempt_does_not_release_the_next_one() {
    let late = Fault::ArriveAfter(Latency::Time(SECOND * 5));
    for fault in [Fault::LoseReply, late, Fault::Repeat, Fault::RepeatAfter(Latency::Time(SECOND * 5))] {
        let harness = Harness::new(FaultPlan::none().nth("claim", 1, fault));
        let running = Running::start(&harness.ours, "ours").await;
        running.call.abort();
        harness.network.wait_for_late_requests().await;
        tokio::time::sleep(SECOND * 20).await;
        assert_eq!(harness.state().await, State::Executing, "{fault:?}");
        assert!(matches!(charge(&harness.other, "k").await, Outcome::InProgress(_)), "{fault:?}");
        running.open.send(()).unwrap();
        let joined =
            harness.other.once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>("again".to_owned()) });
        assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "ours"), "{fault:?}");
        assert_eq!((harness.wire.sent("release"), harness.wire.sent("cancel")), (0, 0), "{fault:?}");
        assert_eq!(harness.wire.sent("complete"), 1, "{fault:?}");
    }
}

/// The result was not confirmed, and the worker ran the function again to get a confirmation. Here the function is
/// invoked once, whether its complete succeeds or fails, and however often the call is repeated.
#[tokio::test(start_paused = true)]
async fn an_ambiguous_complete_does_not_run_again() {
    for fault in [Fault::LoseReply, Fault::LoseRequest, Fault::ArriveAfter(Latency::Time(SECOND * 30))] {
        let harness = Harness::new(FaultPlan::none().every("complete", fault));
        let outcome = harness.pay().await;
        assert!(
            matches!(outcome, Outcome::Unconfirmed(Ok(ref receipt)) if receipt == "receipt"),
            "{outcome:?}"
        );
        for _ in 0..3 {
            let again = harness.pay().await;
            assert!(matches!(again, Outcome::InProgress(_) | Outcome::Replayed(_)), "{fault:?}: {again:?}");
            tokio::time::sleep(SECOND * 5).await;
        }
        harness.network.then(|_| FaultPlan::none());
        tokio::time::sleep(SECOND * 5).await;
        assert!(
            matches!(harness.pay().await, Outcome::Replayed(receipt) if receipt == "receipt"),
            "{fault:?}"
        );
        assert_eq!((harness.runs(), harness.state().await), (1, State::Completed), "{fault:?}");
    }
}

/// What a caller may use as the result. There is no wildcard, so that a new outcome must be classified here.
fn value(outcome: Outcome<String, Lied>) -> Option<String> {
    match outcome {
        Outcome::Completed(value) | Outcome::CompletedNotStored(value, _) | Outcome::Replayed(value) => {
            Some(value)
        }
        Outcome::Unconfirmed(_) | Outcome::Superseded(..) | Outcome::RanUncertain(_) => {
            panic!("this call ran")
        }
        Outcome::Failed(_)
        | Outcome::InProgress(_)
        | Outcome::Reconciling(_)
        | Outcome::Uncertain(_)
        | Outcome::NotRun(_) => None,
    }
}

/// "There is a record" was read as "it is done". Through the whole life of a key, with and without waiting, no outcome
/// has a value before there is a result, and nothing runs to produce one.
#[tokio::test(start_paused = true)]
async fn in_progress_is_never_read_as_done() {
    let harness = Harness::new(FaultPlan::none());
    let waits =
        || harness.ours.once("k").wait(SECOND).run(|_| async { Ok::<_, Lied>("second run".to_owned()) });
    let (prepared, gate) = oneshot::channel::<()>();
    let (begun, started) = oneshot::channel::<()>();
    let first = harness.other.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 30);
    let first = first.prepare(|_| async move { gate.await.map_err(|_| Lied("no gate")) });
    let first = tokio::spawn(first.run(|_, ()| async move {
        begun.send(()).unwrap();
        std::future::pending::<Result<String, Lied>>().await
    }));
    tokio::time::sleep(SECOND).await;
    assert_eq!(harness.state().await, State::Claimed);
    assert_eq!((value(harness.pay().await), value(waits().await.unwrap())), (None, None), "claimed");
    prepared.send(()).unwrap();
    started.await.unwrap();
    assert_eq!((value(harness.pay().await), value(waits().await.unwrap())), (None, None), "executing");
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!((value(harness.pay().await), value(waits().await.unwrap())), (None, None), "uncertain");
    let Ok(sentinel::reconcile::ReconcileOutcome::Taken(held)) =
        harness.other.reconciler("k").reconcile().await
    else {
        panic!("not taken")
    };
    assert_eq!((value(harness.pay().await), value(waits().await.unwrap())), (None, None), "reconciling");
    let _ = held.force_complete(&"it happened").await.unwrap();
    assert_eq!(value(harness.pay().await).as_deref(), Some("it happened"));
    assert_eq!(harness.runs(), 0);
    first.abort();
}

/// The store answered a claim or a begin, but the reply was delayed until the lease was nearly over or over, and the
/// worker started at the same time as the next one. The lease is measured from when the request was sent, and after its
/// end nothing starts.
#[tokio::test(start_paused = true)]
async fn a_late_begin_does_not_start_the_function() {
    let slow = |op, by| Harness::new(FaultPlan::none().nth(op, 1, Fault::Delay(Latency::Time(by))));
    let ran = Arc::new(AtomicU32::new(0));
    let function = || {
        let ran = ran.clone();
        move || async move { Ok::<_, Lied>(ran.fetch_add(1, Ordering::SeqCst)) }
    };
    let (claim, begin) = (slow("claim", SECOND * 4), slow("begin", SECOND * 2));
    let (fused, begun) = (function(), function());
    let fused = claim.ours.once("k").ttl(SECOND * 3).run(move |_| fused());
    let two_steps = begin.ours.once("k").ttl(SECOND * 3).prepare(|_| async { Ok(()) });
    let two_steps = two_steps.run(move |_, ()| begun());
    for (outcome, harness) in [(fused.await, &claim), (two_steps.await, &begin)] {
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::NotRun(NotRun::Expired)), "{outcome:?}");
        assert_eq!(harness.state().await, State::Free, "cancelled at once");
        assert!(matches!(charge(&harness.other, "k").await, Outcome::Completed(_)));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// A call gave up and cancelled its claim. The cancel was delayed, arrived while another call was running the key, and
/// freed it. A cancel names its own call: however late and however often it arrives, it never cancels another one.
#[tokio::test(start_paused = true)]
async fn a_cancel_does_not_overtake_a_later_call() {
    for claim in [Fault::LoseRequest, Fault::LoseReply] {
        let late = Fault::ArriveAfter(Latency::Time(SECOND * 5));
        let plan = FaultPlan::none().every("claim", claim);
        let harness = Harness::new((1..=20).fold(plan, |plan, nth| plan.nth("cancel", nth, late)));
        assert!(matches!(harness.pay().await, Outcome::NotRun(NotRun::Store(_))), "{claim:?}");
        let running = Running::start(&harness.other, "theirs").await;
        harness.network.wait_for_late_requests().await;
        assert!(harness.wire.sent("cancel") > 20, "{claim:?}: sent again and again");
        assert_eq!(harness.state().await, State::Executing, "{claim:?}");
        harness.network.then(|_| FaultPlan::none());
        assert!(
            matches!(harness.pay().await, Outcome::InProgress(_)),
            "{claim:?}: a later call of ours, too"
        );
        assert!(matches!(running.end().await, Outcome::Completed(_)), "{claim:?}");
        assert!(matches!(harness.pay().await, Outcome::Replayed(text) if text == "theirs"), "{claim:?}");
        let events = harness.other.history(Kind::Execution, "k", 100).await.unwrap();
        assert_eq!(events.last().unwrap().change.name(), "completed", "{claim:?}");
        assert_eq!(harness.runs(), 0);
    }
}

//! Named regressions of the worker's half: each tells the story of one failure that the model or an earlier system of
//! this kind had, and the rule of spec §4 that it lacked.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel::prelude::*;
use sentinel::{Kind, ManualClock, NotRun, State, StoreTime};
use sentinel_conformance::{Fault, Layered, Plan, Wait};
use tokio::sync::oneshot;

use crate::rig::{Rig, Wire};
use crate::{Lied, SECOND, charge, state};

/// A run that has started, and goes on until it is let go.
struct Running {
    call: tokio::task::JoinHandle<Result<Outcome<String, Lied>, sentinel::Error>>,
    open: oneshot::Sender<()>,
}

impl Running {
    async fn start(sentinel: &Sentinel, text: &'static str) -> Self {
        let (open, gate) = oneshot::channel::<()>();
        let (tell, started) = oneshot::channel::<()>();
        let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 600).wait(SECOND * 60);
        let call = tokio::spawn(once.run(move |_| async move {
            tell.send(()).unwrap();
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

/// A claim id was made of host, process and thread. Two calls of one worker shared it, each took the other's grant for its
/// own, and both ran. Each call has an id of its own; only a request that is sent again repeats it.
#[tokio::test(start_paused = true)]
async fn two_calls_never_share_a_claim_id() {
    let rig = Rig::new(Plan::quiet().nth("claim", 1, Fault::LoseReply));
    let clone = rig.ours.clone().worker("the same label").unwrap();
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
    let sent = rig.wire.claim_ids();
    let distinct: HashSet<_> = sent.iter().collect();
    assert_eq!((sent.len(), distinct.len()), (35, 34), "one was sent twice, after its reply was lost");
    assert_eq!((ran.len(), runs.load(Ordering::SeqCst)), (17, 17), "one for each key");
}

/// A begin got no reply, the worker guessed that it had come through, and ran; it had not. Here it did come through, the
/// store is out of reach from then on, and not even the cancel arrives: the function does not run all the same, and what
/// others are told is doubt and not "free".
#[tokio::test(start_paused = true)]
async fn a_worker_does_not_run_on_an_ambiguous_begin() {
    let plan = Plan::quiet().every("begin", Fault::LoseReply).every("cancel", Fault::LoseRequest);
    let rig = Rig::new(plan);
    let outcome = rig.prepare_and_pay().await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Store(_))), "{outcome:?}");
    assert_eq!((rig.runs(), rig.state().await), (0, State::Executing));
    tokio::time::sleep(SECOND * 20).await;
    assert!(matches!(charge(&rig.beside, "k").await, Outcome::Uncertain(_)), "no heartbeat keeps it up");
    assert_eq!((rig.runs(), rig.wire.sent("release"), rig.wire.sent("complete")), (0, 0, 0));
}

/// The same of the fused form, where the claim is the begin.
#[tokio::test(start_paused = true)]
async fn a_worker_does_not_run_on_an_ambiguous_fused_claim() {
    let plan = Plan::quiet().every("claim", Fault::LoseReply).every("cancel", Fault::LoseRequest);
    let rig = Rig::new(plan);
    let outcome = rig.pay().await;
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Store(_))), "{outcome:?}");
    tokio::time::sleep(SECOND * 20).await;
    assert!(matches!(charge(&rig.beside, "k").await, Outcome::Uncertain(_)));
    assert_eq!(rig.runs(), 0);
}

/// A guard freed the key when its task was dropped: the runtime shut down in the middle of the side effect, and the next
/// process did it again. Whatever becomes of the runtime, the key ends in doubt and is never free.
#[test]
fn a_drop_guard_does_not_release_what_started() {
    let multi =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (runtime, in_background) in [(single(), false), (single(), true), (multi(), false), (multi(), true)] {
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_700_000_000_000_000)));
        let store = MemoryStore::with_clock(clock.clone());
        let runs = Arc::new(AtomicU32::new(0));
        let (wire, counted) = (Wire { store: Arc::new(store.clone()), sent: Arc::default() }, runs.clone());
        let ours = Sentinel::new(Layered(wire.clone()));
        let (tell, started) = oneshot::channel::<()>();
        let caller = runtime.spawn(ours.once("k").run(move |_| async move {
            counted.fetch_add(1, Ordering::SeqCst);
            tell.send(()).unwrap();
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
            let beside = Sentinel::new(store);
            assert_eq!(state(&beside, "k").await, State::Executing);
            // A runtime that shuts down in the background drops its tasks when it gets to it. The clock stands still
            // meanwhile: the key is uncertain because the guard said so, not because its lease lapsed.
            let told = async {
                while !matches!(charge(&beside, "k").await, Outcome::Uncertain(_)) {
                    tokio::time::sleep(SECOND / 1000).await;
                }
            };
            tokio::time::timeout(SECOND * 60, told).await.expect("doubt that is told");
            clock.advance(SECOND * 3600);
            assert!(matches!(charge(&beside, "k").await, Outcome::Uncertain(_)));
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!((wire.sent("release"), wire.sent("cancel")), (0, 0));
    }
}

/// The first attempt of a call got no answer; its receiver was gone, and what stood for it at the pool released "its"
/// grant, while the next attempt of the same call ran under it. Only the task that owns the call gives anything back: here
/// attempts are lost, repeated and late, then the caller goes away as well, and nothing is sent but the result.
#[tokio::test(start_paused = true)]
async fn nothing_is_given_back_for_a_caller_that_is_gone_while_the_next_attempt_runs() {
    let late = Fault::ArriveAfter(Wait::Time(SECOND * 5));
    for fault in [Fault::LoseReply, late, Fault::Repeat, Fault::RepeatAfter(Wait::Time(SECOND * 5))] {
        let rig = Rig::new(Plan::quiet().nth("claim", 1, fault));
        let running = Running::start(&rig.ours, "ours").await;
        running.call.abort();
        rig.network.settle().await;
        tokio::time::sleep(SECOND * 20).await;
        assert_eq!(rig.state().await, State::Executing, "{fault:?}");
        assert!(matches!(charge(&rig.beside, "k").await, Outcome::InProgress(_)), "{fault:?}");
        running.open.send(()).unwrap();
        let joined =
            rig.beside.once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>("again".to_owned()) });
        assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "ours"), "{fault:?}");
        assert_eq!((rig.wire.sent("release"), rig.wire.sent("cancel")), (0, 0), "{fault:?}");
        assert_eq!(rig.wire.sent("complete"), 1, "{fault:?}");
    }
}

/// The result got no confirmation, and the worker ran the function once more to have one. However its complete fares, and
/// however often the call is made again, the function was invoked once.
#[tokio::test(start_paused = true)]
async fn an_ambiguous_complete_does_not_run_again() {
    for fault in [Fault::LoseReply, Fault::LoseRequest, Fault::ArriveAfter(Wait::Time(SECOND * 30))] {
        let rig = Rig::new(Plan::quiet().every("complete", fault));
        let outcome = rig.pay().await;
        assert!(
            matches!(outcome, Outcome::Unconfirmed(Ok(ref receipt)) if receipt == "receipt"),
            "{outcome:?}"
        );
        for _ in 0..3 {
            let again = rig.pay().await;
            assert!(matches!(again, Outcome::InProgress(_) | Outcome::Replayed(_)), "{fault:?}: {again:?}");
            tokio::time::sleep(SECOND * 5).await;
        }
        rig.network.then(|_| Plan::quiet());
        tokio::time::sleep(SECOND * 5).await;
        assert!(matches!(rig.pay().await, Outcome::Replayed(receipt) if receipt == "receipt"), "{fault:?}");
        assert_eq!((rig.runs(), rig.state().await), (1, State::Completed), "{fault:?}");
    }
}

/// What a caller may take for the result: without a wildcard, so that an answer that is added must be judged here.
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

/// "There is a record" was read as "it is done". Through the whole life of a key, with and without waiting, no answer has
/// a value before there is a result, and nothing runs to make one.
#[tokio::test(start_paused = true)]
async fn in_progress_is_never_read_as_done() {
    let rig = Rig::new(Plan::quiet());
    let waits = || rig.ours.once("k").wait(SECOND).run(|_| async { Ok::<_, Lied>("second run".to_owned()) });
    let (prepared, gate) = oneshot::channel::<()>();
    let (begun, started) = oneshot::channel::<()>();
    let first = rig.beside.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 30);
    let first = first.prepare(|_| async move { gate.await.map_err(|_| Lied("no gate")) });
    let first = tokio::spawn(first.run(|_, ()| async move {
        begun.send(()).unwrap();
        std::future::pending::<Result<String, Lied>>().await
    }));
    tokio::time::sleep(SECOND).await;
    assert_eq!(rig.state().await, State::Claimed);
    assert_eq!((value(rig.pay().await), value(waits().await.unwrap())), (None, None), "claimed");
    prepared.send(()).unwrap();
    started.await.unwrap();
    assert_eq!((value(rig.pay().await), value(waits().await.unwrap())), (None, None), "executing");
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!((value(rig.pay().await), value(waits().await.unwrap())), (None, None), "uncertain");
    let Ok(sentinel::Reconciled::Taken(held)) = rig.beside.reconciler("k").reconcile().await else {
        panic!("not taken")
    };
    assert_eq!((value(rig.pay().await), value(waits().await.unwrap())), (None, None), "reconciling");
    let _ = held.force_complete(&"it happened").await.unwrap();
    assert_eq!(value(rig.pay().await).as_deref(), Some("it happened"));
    assert_eq!(rig.runs(), 0);
    first.abort();
}

/// The store answered a claim or a begin, but the answer was so long under way that the lease was nearly over or over:
/// the worker started beside the next one. The time is measured from when the request was sent, and past it nothing starts.
#[tokio::test(start_paused = true)]
async fn a_late_begin_does_not_start_the_function() {
    let slow = |op, by| Rig::new(Plan::quiet().nth(op, 1, Fault::Delay(Wait::Time(by))));
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
    for (outcome, rig) in [(fused.await, &claim), (two_steps.await, &begin)] {
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::NotRun(NotRun::Expired)), "{outcome:?}");
        assert_eq!(rig.state().await, State::Free, "given back at once");
        assert!(matches!(charge(&rig.beside, "k").await, Outcome::Completed(_)));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// A call gave up and withdrew its claim. The withdrawal was held up, arrived while another call was running the key, and
/// freed it. A cancel names its own call: however late and however often it arrives, it never meets another's.
#[tokio::test(start_paused = true)]
async fn a_cancel_does_not_overtake_a_later_call() {
    for claim in [Fault::LoseRequest, Fault::LoseReply] {
        let late = Fault::ArriveAfter(Wait::Time(SECOND * 5));
        let plan = Plan::quiet().every("claim", claim);
        let rig = Rig::new((1..=20).fold(plan, |plan, nth| plan.nth("cancel", nth, late)));
        assert!(matches!(rig.pay().await, Outcome::NotRun(NotRun::Store(_))), "{claim:?}");
        let running = Running::start(&rig.beside, "theirs").await;
        rig.network.settle().await;
        assert!(rig.wire.sent("cancel") > 20, "{claim:?}: sent again and again");
        assert_eq!(rig.state().await, State::Executing, "{claim:?}");
        rig.network.then(|_| Plan::quiet());
        assert!(matches!(rig.pay().await, Outcome::InProgress(_)), "{claim:?}: a later call of ours, too");
        assert!(matches!(running.end().await, Outcome::Completed(_)), "{claim:?}");
        assert!(matches!(rig.pay().await, Outcome::Replayed(text) if text == "theirs"), "{claim:?}");
        let told = rig.beside.history(Kind::Execution, "k", 100).await.unwrap();
        assert_eq!(told.last().unwrap().change.name(), "completed", "{claim:?}");
        assert_eq!(rig.runs(), 0);
    }
}

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel::prelude::*;
use sentinel::reconcile::{AutoReconciler, AutoReconcilerHandle, ProbeResult, UncertainKey};
use sentinel::record::{Kind, Label, OpId, Payload, RecordedResult, State};

use sentinel_conformance::{Fault, FaultPlan};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::harness::Harness;
use crate::{Lied, SECOND, charge, doubt, seen, sentinel, state};

#[tokio::test(start_paused = true)]
async fn a_success_is_completed_with_its_evidence() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let mut probe = sentinel.reconcile_with("psp-probe", |key: UncertainKey| async move {
        assert_eq!(key.key.as_str(), "k");
        assert!(key.idempotency_key.starts_with("snl_"));
        ProbeResult::happened(&"charge 17", "the provider lists charge 17").unwrap()
    });
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "charge 17"));
    let events = sentinel.history(Kind::Execution, "k", 10).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(last.operator.as_ref().unwrap().as_str(), "psp-probe");
    assert_eq!(last.reason.as_ref().unwrap().as_str(), "the provider lists charge 17");
    assert_eq!(probe.pass().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_absence_is_reset_only_after_late_effects_and_a_second_probe() {
    let sentinel = sentinel();
    let run = sentinel.once::<Lied>("k").ttl(SECOND).hard_ttl(SECOND * 60);
    let frozen = tokio::spawn(run.run(|_| std::future::pending::<Result<(), _>>()));
    tokio::time::sleep(SECOND / 10).await;
    // The worker freezes: its client is dropped, and no heartbeats are sent for it any more.
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let mut probe = sentinel.reconcile_with("probe", move |key: UncertainKey| {
        let probes = counted.clone();
        async move {
            if key.fenced {
                probes.fetch_add(1, Ordering::SeqCst);
            }
            ProbeResult::did_not_happen("no such charge")
        }
    });
    frozen.abort();
    assert_eq!(probe.pass().await.unwrap(), 0, "alive: not even listed");
    tokio::time::sleep(SECOND * 61).await;
    assert_eq!(probe.pass().await.unwrap(), 0, "past its hard deadline, an effect may still land");
    assert_eq!(state(&sentinel, "k").await, State::Executing, "not even taken");
    past_late_effects().await;
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert_eq!(probes.load(Ordering::SeqCst), 1, "probed again after the old worker was fenced out");
    assert_eq!(state(&sentinel, "k").await, State::Free);
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
}

/// Longer than the default of late effects.
async fn past_late_effects() {
    tokio::time::sleep(SECOND * 61).await;
}

/// A probe that finds nothing before `lands`, and the effect from then on.
fn late_booking(sentinel: &Sentinel, lands: Instant) -> AutoReconciler {
    sentinel.reconcile_with("probe", move |_| async move {
        match Instant::now() < lands {
            true => ProbeResult::did_not_happen("the provider lists nothing"),
            false => ProbeResult::happened(&"charge 17", "the provider lists charge 17").unwrap(),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_lands_after_the_timeout_is_found_and_not_repeated() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let handle = late_booking(&sentinel, Instant::now() + SECOND * 3).every(SECOND).start();
    tokio::time::sleep(SECOND * 200).await;
    handle.stop().await;
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "charge 17"));
}

#[tokio::test(start_paused = true)]
async fn two_probes_that_find_nothing_are_the_grace_apart() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    past_late_effects().await;
    // The first probe finds nothing. The second one finds an effect that lands within the grace.
    let mut probe = late_booking(&sentinel, Instant::now() + SECOND * 29).grace(SECOND * 30);
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "charge 17"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_recorded_only_after_late_effects_and_a_second_probe() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let mut probe = sentinel.reconcile_with("probe", move |key: UncertainKey| {
        let probe = counted.fetch_add(1, Ordering::SeqCst);
        let result = RecordedResult::failure(Some(402), Payload::new("text/plain", "declined"));
        assert_eq!(key.effects_may_land, probe == 0);
        async move { ProbeResult::Happened { result, evidence: Label::lossy("the provider declined") } }
    });
    assert_eq!(probe.pass().await.unwrap(), 0, "an effect may still land");
    past_late_effects().await;
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert_eq!(probes.load(Ordering::SeqCst), 3, "one that does not count, and two that agree");
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn probes_that_disagree_decide_nothing() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    past_late_effects().await;
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let mut probe = sentinel.reconcile_with("probe", move |_| {
        let probe = counted.fetch_add(1, Ordering::SeqCst);
        let code = Some(i32::try_from(probe).unwrap());
        let result = RecordedResult::failure(code, Payload::new("text/plain", "declined"));
        async move {
            ProbeResult::Happened {
                result,
                evidence: Label::lossy("declined, each time with another reason"),
            }
        }
    });
    assert_eq!(probe.pass().await.unwrap(), 0);
    assert_eq!(state(&sentinel, "k").await, State::Reconciling);
}

#[tokio::test(start_paused = true)]
async fn an_abandon_after_the_first_probe_restarts_its_time() {
    let harness = Harness::new(FaultPlan::none().every("heartbeat", Fault::LoseRequest));
    let slow = harness.ours.once::<Lied>("k").ttl(SECOND).hard_ttl(SECOND * 2).late_effects(SECOND);
    // The function outlives its hard deadline, and ends with an unknown outcome while the probe runs.
    let ends = Arc::new(tokio::sync::Notify::new());
    let waits = ends.clone();
    let slow = tokio::spawn(slow.run(move |_| async move {
        waits.notified().await;
        Err::<String, _>(Lied("it ended late"))
    }));
    tokio::time::sleep(SECOND * 10).await;
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let mut probe = harness.other.reconcile_with("probe", move |key: UncertainKey| {
        let ends = ends.clone();
        let probe = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if !key.fenced {
                ends.notify_one();
                tokio::time::sleep(SECOND / 10).await;
            }
            assert!(probe < 3);
            ProbeResult::did_not_happen("the provider lists nothing")
        }
    });
    assert_eq!(probe.pass().await.unwrap(), 0, "the probe was made before the run ended");
    assert!(matches!(slow.await.unwrap().unwrap(), Outcome::RanUncertain(_)));
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert_eq!(probes.load(Ordering::SeqCst), 3, "two more probes, both after the last effect");
}

#[tokio::test(start_paused = true)]
async fn before_the_hard_deadline_a_worker_that_only_lost_contact_is_not_fenced_out() {
    let harness = Harness::new(FaultPlan::none().every("heartbeat", Fault::LoseRequest));
    let slow = harness.ours.once("k").ttl(SECOND).hard_ttl(SECOND * 60).run(|_| async {
        tokio::time::sleep(SECOND * 20).await;
        Ok::<_, Lied>("the truth".to_owned())
    });
    let slow = tokio::spawn(slow);
    tokio::time::sleep(SECOND * 5).await;
    assert!(matches!(charge(&harness.other, "k").await, Outcome::Uncertain(_)));
    let mut probe =
        harness.other.reconcile_with("probe", |_| async { ProbeResult::did_not_happen("not there yet") });
    assert_eq!(probe.pass().await.unwrap(), 0);
    assert_eq!(
        state(&harness.other, "k").await,
        State::Executing,
        "not even taken: its result may still arrive"
    );
    assert!(matches!(slow.await.unwrap().unwrap(), Outcome::Completed(text) if text == "the truth"));
}

#[tokio::test(start_paused = true)]
async fn a_success_found_by_the_second_probe_is_recorded() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    past_late_effects().await;
    let mut probe = sentinel.reconcile_with("probe", |key: UncertainKey| async move {
        match key.fenced {
            false => ProbeResult::did_not_happen("not there yet"),
            true => ProbeResult::happened(&"late charge", "now it is").unwrap(),
        }
    });
    assert_eq!(probe.pass().await.unwrap(), 1);
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "late charge"));
}

/// A reconciler whose probe finds nothing, and how often it was called.
fn unknowing(sentinel: &Sentinel) -> (AutoReconciler, Arc<AtomicU32>) {
    let probes = Arc::new(AtomicU32::new(0));
    let counted = probes.clone();
    let probe = sentinel.reconcile_with("probe", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { ProbeResult::StillUnknown }
    });
    (probe, probes)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_still_unknown_is_probed_again_with_growing_pauses() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let (probe, probes) = unknowing(&sentinel);
    let handle = probe.every(SECOND).longest_pause(SECOND * 100).start();
    tokio::time::sleep(SECOND * 300).await;
    handle.stop().await;
    let probes = probes.load(Ordering::SeqCst);
    assert!((4..=25).contains(&probes), "{probes} probes in 300 s");
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Uncertain(_)));
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_that_crashed_after_taking_a_key_continues_with_it() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    past_late_effects().await;
    let mut crashes = sentinel.reconcile_with("probe", |key: UncertainKey| async move {
        assert!(!key.fenced, "the probe crashes when it is called again");
        ProbeResult::did_not_happen("no such charge")
    });
    assert_eq!(crashes.pass().await.unwrap(), 0);
    assert_eq!(state(&sentinel, "k").await, State::Reconciling);
    let mut next = sentinel.reconcile_with("probe", |_| async { ProbeResult::did_not_happen("still none") });
    assert_eq!(next.pass().await.unwrap(), 1);
    assert_eq!(state(&sentinel, "k").await, State::Free);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_another_operator_is_not_touched() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let _ = sentinel.reconciler("k").operator("ada").reconcile().await.unwrap();
    let mut probe = sentinel.reconcile_with("probe", |_| async { ProbeResult::did_not_happen("none") });
    assert_eq!(probe.pass().await.unwrap(), 0);
    assert_eq!(state(&sentinel, "k").await, State::Reconciling);
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_one_page_are_decided_in_one_pass() {
    let sentinel = sentinel();
    for n in 0..101 {
        let _ = doubt(&sentinel, &format!("k{n}")).await;
    }
    let probe = |_| async { ProbeResult::happened(&(), "all of them").unwrap() };
    assert_eq!(sentinel.reconcile_with("probe", probe).pass().await.unwrap(), 101);
}

#[tokio::test(start_paused = true)]
async fn each_decision_has_an_id_and_a_token_of_its_own() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    past_late_effects().await;
    let (store, in_doubt) = (sentinel.clone(), seen(&sentinel, "k").await.record.unwrap().token);
    let mut probe = sentinel.reconcile_with("probe", move |key: UncertainKey| {
        let store = store.clone();
        async move {
            assert_eq!(key.token, seen(&store, "k").await.record.unwrap().token);
            assert_eq!(key.fenced, key.token > in_doubt);
            ProbeResult::did_not_happen("no such charge")
        }
    });
    assert_eq!(probe.pass().await.unwrap(), 1);
    let events = sentinel.history(Kind::Execution, "k", 10).await.unwrap();
    let ids: HashSet<OpId> = events.iter().filter_map(|event| event.op_id).collect();
    assert_eq!(ids.len(), 2, "one for the taking, one for the reset: {events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_pause_of_an_unknown_key_equals_the_interval_of_the_reconciler() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let (probe, probes) = unknowing(&sentinel);
    let mut probe = probe.every(SECOND);
    // Between half and all of it: one second, then two.
    for (pause, expected) in [(0, 1), (400, 1), (600, 2), (900, 2), (1_100, 3)] {
        tokio::time::advance(SECOND * pause / 1_000).await;
        probe.pass().await.unwrap();
        assert_eq!(probes.load(Ordering::SeqCst), expected, "after another {pause} ms");
    }
}

/// A reconciler that works on the first of two keys, how to let it continue, and how often it has probed.
async fn busy(sentinel: &Sentinel) -> (AutoReconcilerHandle, Arc<Semaphore>, Arc<AtomicU32>) {
    for key in ["a", "b"] {
        let _ = doubt(sentinel, key).await;
    }
    let (gate, probes) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (opens, counted) = (gate.clone(), probes.clone());
    let probe = sentinel.reconcile_with("probe", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let opens = opens.clone();
        async move {
            opens.acquire().await.unwrap().forget();
            ProbeResult::happened(&"found", "the provider lists it").unwrap()
        }
    });
    let handle = probe.every(SECOND).start();
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(probes.load(Ordering::SeqCst), 1);
    (handle, gate, probes)
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_that_is_stopped_finishes_its_current_key_and_no_other() {
    let sentinel = sentinel();
    let (handle, gate, probes) = busy(&sentinel).await;
    let stopping = tokio::spawn(handle.stop());
    tokio::time::sleep(SECOND * 5).await;
    assert!(!stopping.is_finished(), "it waits for the current key");
    gate.add_permits(2);
    stopping.await.unwrap();
    let states = [state(&sentinel, "a").await, state(&sentinel, "b").await];
    assert_eq!(states, [State::Completed, State::Executing]);
    assert_eq!(probes.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_ends_when_its_handle_is_dropped() {
    let sentinel = sentinel();
    let (handle, gate, probes) = busy(&sentinel).await;
    drop(handle);
    gate.add_permits(2);
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(probes.load(Ordering::SeqCst), 1);
}

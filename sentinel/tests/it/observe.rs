use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use sentinel::prelude::*;
use sentinel_conformance::{Fault, FaultPlan, Latency};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

use crate::harness::Harness;
use crate::{Lied, SECOND, charge, doubt, sentinel};

type Metrics = HashMap<String, DebugValue>;

/// The metrics that were recorded during some work.
fn measured(work: impl Future<Output = ()>) -> Metrics {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || in_runtime(work));
    let named = |key: &metrics::Key| {
        let mut labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        labels.sort();
        format!("{}{{{}}}", key.name(), labels.join(","))
    };
    let snapshot = snapshotter.snapshot().into_vec();
    snapshot.into_iter().map(|(key, _, _, value)| (named(key.key()), value)).collect()
}

pub(crate) fn in_runtime(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::pause();
        work.await;
    });
}

fn count(seen: &Metrics, name: &str) -> u64 {
    match seen.get(name) {
        Some(DebugValue::Counter(n)) => *n,
        other => panic!("{name} is {other:?}; there are {:?}", seen.keys()),
    }
}

#[test]
fn requests_are_timed_and_those_that_got_no_answer_are_counted() {
    let seen = measured(async {
        let plan = FaultPlan::none().nth("claim", 1, Fault::Delay(Latency::Time(SECOND * 2)));
        let harness =
            Harness::new(plan.nth("complete", 1, Fault::LoseReply).every("heartbeat", Fault::LoseRequest));
        let once = harness.ours.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 60);
        let run = once.run(|run: Run| async move {
            run.cancelled().cancelled().await;
            Ok::<_, Lied>(())
        });
        assert!(matches!(run.await.unwrap(), Outcome::Completed(())));
    });
    let Some(DebugValue::Histogram(times)) =
        seen.get("sentinel_operation_seconds{namespace=default,operation=claim,store=memory}")
    else {
        panic!("{:?}", seen.keys())
    };
    assert!(matches!(times[..], [time] if (2.0..2.1).contains(&time.0)), "{times:?}");
    assert_eq!(
        count(&seen, "sentinel_store_errors_total{namespace=default,operation=complete,store=memory}"),
        1
    );
    assert!(count(&seen, "sentinel_heartbeat_failures_total{}") >= 3);
}

/// Records the field `key` of each event.
#[derive(Debug, Default, Clone)]
struct Keys(Arc<Mutex<Vec<String>>>);

impl Visit for Keys {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if ["key", "sentinel.key"].contains(&field.name()) {
            self.0.lock().unwrap().push(value.to_owned());
        }
    }
}

impl tracing::Subscriber for Keys {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// While there is one subscriber only, `tracing` decides by that of the current thread whether an event is ever of
/// interest, and remembers it for all threads. A test without a subscriber would then silence those that have one.
pub(crate) fn keep_callsites_enabled() {
    static OTHERS: OnceLock<[tracing::Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [Keys::default(), Keys::default()].map(tracing::Dispatch::new));
}

#[test]
fn keys_are_traced_only_if_the_client_enables_it() {
    for (traced, shown) in [(false, "-"), (true, "private")] {
        let keys = Keys::default();
        keep_callsites_enabled();
        tracing::subscriber::with_default(keys.clone(), || {
            in_runtime(async {
                let sentinel = if traced { sentinel().trace_keys() } else { sentinel() };
                let _ = charge(&sentinel, "private").await;
            });
        });
        let keys = keys.0.lock().unwrap();
        assert!(!keys.is_empty() && keys.iter().all(|key| key == shown), "{keys:?}");
        assert!(!traced || keys.len() > 3, "the span, its events and the requests have the key: {keys:?}");
    }
}

#[test]
fn transitions_and_outcomes_are_measured() {
    let seen = measured(async {
        let sentinel = sentinel();
        let _ = charge(&sentinel, "k").await;
        let _ = charge(&sentinel, "k").await;
        let _ = doubt(&sentinel, "d").await;
        let lease = sentinel.lease("l").ttl(SECOND).acquire().await.unwrap();
        let LeaseOutcome::Held(lease) = lease else { panic!("not held") };
        lease.cancelled().cancelled().await;
    });
    let of = |labels: &str| format!("sentinel_transitions_total{{namespace=billing,{labels},store=memory}}");
    assert_eq!(count(&seen, &of("operation=claim,reply=granted")), 3);
    assert_eq!(count(&seen, &of("operation=complete,reply=recorded")), 1);
    assert_eq!(count(&seen, &of("operation=abandon,reply=abandoned")), 1);
    let of = |outcome: &str| format!("{{namespace=billing,outcome={outcome},store=memory}}");
    for outcome in ["completed", "replayed", "ran_uncertain"] {
        assert_eq!(count(&seen, &format!("sentinel_outcomes_total{}", of(outcome))), 1);
    }
    assert!(seen.contains_key(&format!("sentinel_run_seconds{}", of("ran_uncertain"))));
    assert!(!seen.contains_key(&format!("sentinel_run_seconds{}", of("replayed"))), "nothing ran");
    assert_eq!(count(&seen, "sentinel_lapses_total{why=hard_deadline}"), 1);
    assert!(seen.contains_key("sentinel_operation_seconds{namespace=billing,operation=claim,store=memory}"));
}

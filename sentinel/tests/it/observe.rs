use std::collections::HashMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use sentinel::prelude::*;
use sentinel::{Finding, UncertainKey};

use crate::{SECOND, charge, doubt, sentinel};

#[test]
fn transitions_outcomes_and_the_age_of_doubt_are_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let work = async {
        tokio::time::pause();
        let sentinel = sentinel();
        let _ = charge(&sentinel, "k").await;
        let _ = charge(&sentinel, "k").await;
        let _ = doubt(&sentinel, "d").await;
        tokio::time::advance(SECOND * 7).await;
        let mut probe = sentinel.reconcile_with("probe", |_: UncertainKey| async { Finding::StillUnknown });
        probe.pass().await.unwrap();
        let lease = sentinel.lease("l").ttl(SECOND).acquire().await.unwrap();
        let LeaseOutcome::Held(lease) = lease else { panic!("not held") };
        lease.cancelled().cancelled().await;
    };
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work);
    });
    let mut seen: HashMap<String, DebugValue> = HashMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let mut labels: Vec<_> = key.key().labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        labels.sort();
        seen.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), value);
    }
    let count = |name: &str| match seen.get(name) {
        Some(DebugValue::Counter(n)) => *n,
        other => panic!("{name} is {other:?}; there are {:?}", seen.keys()),
    };
    assert_eq!(count("sentinel_transitions_total{operation=claim,reply=granted}"), 4);
    assert_eq!(count("sentinel_transitions_total{operation=complete,reply=recorded}"), 1);
    assert_eq!(count("sentinel_transitions_total{operation=abandon,reply=abandoned}"), 1);
    assert_eq!(count("sentinel_outcomes_total{outcome=completed}"), 1);
    assert_eq!(count("sentinel_outcomes_total{outcome=replayed}"), 1);
    assert_eq!(count("sentinel_outcomes_total{outcome=doubtful}"), 1);
    assert_eq!(count("sentinel_lapses_total{why=hard_deadline}"), 1);
    let age = seen.get("sentinel_oldest_uncertain_seconds{namespace=billing}");
    assert!(matches!(age, Some(DebugValue::Gauge(age)) if age.0 >= 7.0), "{age:?}");
    assert!(seen.contains_key("sentinel_operation_seconds{operation=claim}"));
}

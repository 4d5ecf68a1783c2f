//! The table of metrics, and what a recorder gets.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use sentinel::prelude::*;
use sentinel::reconcile::{DecisionOutcome, ReconcileOutcome};
use sentinel::signals::{MAX_NAMESPACES, METRICS, Metric, MetricKind, MetricUnit, OTHER_NAMESPACES};
use sentinel_testbed::promtool;

use crate::observe::in_runtime;
use crate::{SECOND, charge, doubt};

/// A recorder for Prometheus, with the buckets of the table.
pub(super) fn recorder() -> PrometheusRecorder {
    let histograms = METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram);
    let with_buckets = histograms.fold(PrometheusBuilder::new(), |builder, metric| {
        let name = Matcher::Full(metric.name.to_owned());
        builder.set_buckets_for_metric(name, metric.buckets).unwrap()
    });
    with_buckets.build_recorder()
}

/// What Prometheus would scrape after some work.
fn scraped(work: impl Future<Output = ()>) -> String {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || in_runtime(work));
    recorder.handle().render()
}

/// The value of a series, whose labels are given in any order.
pub(super) fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    text.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, list) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| list.contains(&format!("{label}=\"{value}\""));
        (found == name && labels.iter().all(has)).then(|| value.parse().ok())?
    })
}

#[test]
fn names_end_in_their_unit_and_no_label_names_a_key_or_a_person() {
    let forbidden = ["key", "token", "worker", "principal", "tenant", "operator", "user"];
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is listed twice", metric.name);
        assert!(metric.name.starts_with("sentinel_"), "{metric:?}");
        let end = match metric.unit {
            MetricUnit::Occurrences => "_total",
            MetricUnit::Seconds => "_seconds",
            MetricUnit::Keys => "_keys",
            MetricUnit::Bytes => "_bytes",
            MetricUnit::Number => metric.name.trim_start_matches("sentinel_http"),
            MetricUnit::Flag => "_trusted",
        };
        assert!(metric.name.ends_with(end), "{} does not end in {end}", metric.name);
        assert_eq!(metric.kind == MetricKind::Counter, end == "_total", "{metric:?}");
        assert_eq!(metric.kind == MetricKind::Histogram, !metric.buckets.is_empty(), "{metric:?}");
        assert!(metric.buckets.is_sorted(), "{metric:?}");
        assert!(metric.help.ends_with('.') && !metric.since.is_empty(), "{metric:?}");
        for label in metric.labels {
            assert!(!forbidden.contains(&label.name), "{} has the label {}", metric.name, label.name);
        }
    }
}

/// Everything that a client can report in one short life.
async fn a_busy_life() {
    let sentinel = Sentinel::new(MemoryStore::new()).store_name("main").unwrap().namespace("pay").unwrap();
    let _ = charge(&sentinel, "k").await;
    let _ = charge(&sentinel, "k").await;
    let _ = doubt(&sentinel, "d").await;
    let running = sentinel.once::<std::io::Error>("slow").run(|_| async {
        tokio::time::sleep(SECOND).await;
        Ok(())
    });
    let wait = sentinel.once::<std::io::Error>("slow").wait(SECOND * 5).run(|_| async { Ok(()) });
    let (ran, waited) = tokio::join!(running, wait);
    assert!(
        matches!(ran.unwrap(), Outcome::Completed(())) && matches!(waited.unwrap(), Outcome::Replayed(()))
    );
    let taken = sentinel.reconciler("d").operator("ada").even_if_alive().reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taken else { panic!("not taken") };
    let decided = held.force_complete(&"receipt").await.unwrap();
    assert!(matches!(decided, DecisionOutcome::Done { .. }));
}

#[test]
fn every_series_of_a_client_is_in_the_table_and_promtool_accepts_it() {
    let text = scraped(a_busy_life());
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, list) = series.split_once('{').unwrap_or((series, "}"));
        let ends = ["_bucket", "_sum", "_count"].iter().find_map(|end| Metric::find(name.strip_suffix(end)?));
        let metric = Metric::find(name).or(ends).unwrap_or_else(|| panic!("{name} is not in METRICS"));
        seen.insert(metric.name);
        let pairs = list.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
        let labels: BTreeSet<&str> = pairs.map(|pair| pair.split_once('=').unwrap().0).collect();
        let mut expected: BTreeSet<&str> = metric.labels.iter().map(|label| label.name).collect();
        if name.ends_with("_bucket") {
            expected.insert("le");
        }
        assert_eq!(labels, expected, "{line}");
        for (label, value) in list.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('=')) {
            let label = metric.labels.iter().find(|one| one.name == label);
            let values = label.map_or(&[][..], |label| label.values);
            assert!(values.is_empty() || values.contains(&value.trim_matches('"')), "{line}");
        }
    }
    for metric in METRICS {
        let is_elsewhere =
            ["oldest", "_keys", "trusted", "survey", "http"].iter().any(|word| metric.name.contains(word));
        assert!(is_elsewhere || seen.contains(metric.name), "the client does not report {}", metric.name);
        assert!(
            is_elsewhere || text.contains(&format!("# HELP {} ", metric.name)),
            "{} has no help",
            metric.name
        );
    }
    check_metrics(&text);
}

/// `promtool check metrics` accepts this text.
#[track_caller]
pub(super) fn check_metrics(text: &str) {
    let mut tool: Command = promtool(&std::env::temp_dir());
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = tool.spawn().unwrap();
    running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = running.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && out.is_empty() && err.is_empty(), "{out}{err}\n{text}");
}

#[test]
fn the_first_uncertain_run_of_a_process_is_an_increase() {
    let recorder = recorder();
    let labels = [("store", "memory"), ("namespace", "billing"), ("outcome", "ran_uncertain")];
    let read = || value(&recorder.handle().render(), "sentinel_outcomes_total", &labels);
    metrics::with_local_recorder(&recorder, || {
        in_runtime(async {
            assert_eq!(read(), None);
            let sentinel = crate::sentinel();
            assert_eq!(read(), Some(0.0), "the series must exist before anything ran");
            let _ = doubt(&sentinel, "k").await;
            assert_eq!(read(), Some(1.0));
        });
    });
}

#[test]
fn every_counter_with_a_closed_set_of_labels_exists_from_the_start() {
    let text = scraped(async {
        let _ = crate::sentinel();
    });
    // The HTTP layer counts by route, and no client knows the routes.
    let of_client = |metric: &&Metric| !metric.name.starts_with("sentinel_http");
    for metric in METRICS.iter().filter(of_client).filter(|metric| metric.kind == MetricKind::Counter) {
        let last = metric.labels.last();
        let values = last.map_or(&[][..], |label| label.values);
        for value in values {
            let labels = [(last.unwrap().name, *value)];
            assert_eq!(self::value(&text, metric.name, &labels), Some(0.0), "{}: {value}", metric.name);
        }
        assert!(values.len() > 1 || value(&text, metric.name, &[]) == Some(0.0), "{}", metric.name);
    }
}

#[test]
fn a_recorder_that_is_installed_late_gets_what_follows() {
    let recorder = recorder();
    in_runtime(async {
        // No recorder so far.
        let sentinel = crate::sentinel();
        let _ = charge(&sentinel, "k").await;
        let text = metrics::with_local_recorder(&recorder, || {
            let _ = answered_at_once(charge(&sentinel, "k"));
            recorder.handle().render()
        });
        let of = |outcome| value(&text, "sentinel_outcomes_total", &[("outcome", outcome)]);
        assert_eq!((of("completed"), of("replayed"), of("unconfirmed")), (Some(0.0), Some(1.0), Some(0.0)));
    });
}

/// Polls a call that the store in this process answers at once.
fn answered_at_once<T>(work: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};
    let mut work = std::pin::pin!(work);
    match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a replay in memory needs no waiting"),
    }
}

#[test]
fn namespaces_beyond_the_limit_share_one_label() {
    let text = scraped(async {
        let sentinel = Sentinel::new(MemoryStore::new());
        for n in 0..MAX_NAMESPACES + 20 {
            let _ = charge(&sentinel.clone().namespace(format!("tenant-{n}")).unwrap(), "k").await;
        }
    });
    let completed = |namespace: &str| {
        value(&text, "sentinel_outcomes_total", &[("namespace", namespace), ("outcome", "completed")])
    };
    assert_eq!(completed("tenant-0"), Some(1.0));
    // `default` has a label from the start.
    assert_eq!(completed(&format!("tenant-{}", MAX_NAMESPACES - 1)), None);
    assert_eq!(completed(OTHER_NAMESPACES), Some(21.0));
}

#[test]
fn the_outcome_of_a_run_whose_caller_has_gone_is_counted() {
    let text = scraped(async {
        let sentinel = crate::sentinel();
        let call = tokio::spawn(sentinel.once::<crate::Lied>("k").run(|_| async {
            tokio::time::sleep(SECOND).await;
            Err::<(), _>(crate::Lied("gone wrong"))
        }));
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
        assert!(sentinel.drain(SECOND * 60).await.is_complete());
    });
    let labels = [("namespace", "billing"), ("outcome", "ran_uncertain")];
    assert_eq!(value(&text, "sentinel_outcomes_total", &labels), Some(1.0));
}

#[test]
fn the_table_in_the_operations_guide_is_the_table_of_metrics() {
    let labels = |metric: &Metric| {
        let names: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
        if names.is_empty() { String::new() } else { format!("{{{}}}", names.join(",")) }
    };
    let rows = METRICS.iter().map(|metric| {
        format!("| `{}{}` | {} | {} |\n", metric.name, labels(metric), metric.kind.as_str(), metric.help)
    });
    let table = format!("| Metric | Kind | What it shows |\n|---|---|---|\n{}", rows.collect::<String>());
    is_in_the_guide("metrics", &table);
}

/// The guide for operators has this text between two markers.
#[track_caller]
pub(super) fn is_in_the_guide(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
    let between = guide.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let (found, _) = between.unwrap_or_else(|| panic!("docs/operations.md has no `{begin}`"));
    assert!(found == text, "docs/operations.md must have this between the markers of {name}:\n{text}");
}

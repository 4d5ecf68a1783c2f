//! The files name only metrics and labels that exist, and every metric is shown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sentinel::signals::{METRICS, Metric, MetricKind};
use serde_json::Value;

use super::promql::Named;

/// Labels that Prometheus adds to every series, or to those of a histogram.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

/// Metrics that are on no panel, and why.
const NOT_SHOWN: [(&str, &str); 2] = [
    ("sentinel_survey_seconds", "a slow survey matters when it fails, and then its age is shown"),
    (
        "sentinel_http_buffered_bytes",
        "it is limited in each process, and a request over the limit is shown as busy",
    ),
];

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("observability")
}

pub(super) fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

pub(super) fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/sentinel.json")).unwrap()
}

/// The panels that are no headings of rows.
pub(super) fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

pub(super) fn expressions(panel: &Value) -> Vec<&str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()).collect()
}

/// An alert rule, as far as these tests need it: the file is read line by line, because it has no other form.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) alert: String,
    pub(super) expr: String,
    pub(super) runbook: String,
}

pub(super) fn rules() -> Vec<Rule> {
    let text = read("alerts/sentinel.yml");
    let rules = text.split("      - alert: ").skip(1).map(|rule| {
        let (_, rest) = rule.split_once("expr: ").unwrap();
        let (expr, _) = rest.split_once("        for: ").unwrap();
        let (_, runbook) = rule.split_once("runbook_url:").unwrap();
        Rule {
            alert: rule.lines().next().unwrap().to_owned(),
            expr: expr.trim_start_matches(">-").split_whitespace().collect::<Vec<_>>().join(" "),
            runbook: runbook.split_whitespace().next().unwrap().to_owned(),
        }
    });
    rules.collect()
}

/// The metric of a series, which may be a part of a histogram.
fn metric_of(series: &str) -> Option<&'static Metric> {
    let ends = ["_bucket", "_sum", "_count"];
    let of_histogram = || {
        let base = ends.iter().find_map(|end| series.strip_suffix(end))?;
        Metric::find(base).filter(|metric| metric.kind == MetricKind::Histogram)
    };
    Metric::find(series).filter(|metric| metric.kind != MetricKind::Histogram).or_else(of_histogram)
}

/// Refuses metrics, labels and values of labels that do not exist. Returns the metrics.
#[track_caller]
fn check(expression: &str) -> BTreeSet<&'static str> {
    let named = Named::of(expression);
    let mut metrics = BTreeSet::new();
    let mut groupable: BTreeSet<&str> = OF_PROMETHEUS.into();
    for (series, matchers) in &named.metrics {
        let metric = metric_of(series).unwrap_or_else(|| panic!("{series} is no metric: {expression}"));
        metrics.insert(metric.name);
        groupable.extend(metric.labels.iter().map(|label| label.name));
        for (label, values) in matchers {
            let known = metric.labels.iter().find(|one| one.name == label);
            assert!(known.is_some() || OF_PROMETHEUS.contains(&label.as_str()), "{series} has no {label}");
            let listed = known.map_or(&[][..], |label| label.values);
            let unknown = values.iter().find(|value| !listed.is_empty() && !listed.contains(&value.as_str()));
            assert_eq!(unknown, None, "{label} is never this: {expression}");
        }
    }
    assert!(!metrics.is_empty(), "{expression}");
    let strange = named.grouped.iter().find(|label| !groupable.contains(label.as_str()));
    assert_eq!(strange, None, "no metric here has this label: {expression}");
    metrics
}

#[test]
fn every_rule_names_metrics_and_labels_that_exist() {
    let rules = rules();
    assert_eq!(rules.len(), 7);
    for rule in rules {
        check(&rule.expr);
        assert!(rule.alert.starts_with("Sentinel"), "{rule:?}");
    }
}

#[test]
fn every_panel_names_metrics_and_labels_that_exist_and_every_metric_is_shown() {
    let dashboard = dashboard();
    let shown: BTreeSet<&str> = panels(&dashboard)
        .into_iter()
        .flat_map(expressions)
        .flat_map(|expression| check(expression))
        .collect();
    for metric in METRICS {
        let is_exception = NOT_SHOWN.iter().any(|(name, _)| *name == metric.name);
        assert_eq!(shown.contains(metric.name), !is_exception, "{}", metric.name);
    }
}

#[test]
#[should_panic(expected = "is no metric")]
fn an_expression_with_an_unknown_metric_is_refused() {
    check("sum(rate(sentinel_contacts_lost_total[5m]))");
}

#[test]
#[should_panic(expected = "has no kind")]
fn an_expression_with_an_unknown_label_is_refused() {
    check(r#"sentinel_lapses_total{kind="lease"}"#);
}

#[test]
#[should_panic(expected = "never this")]
fn an_expression_with_an_unknown_value_is_refused() {
    check(r#"sentinel_outcomes_total{outcome=~"ran_uncertain|unsure"}"#);
}

#[test]
fn every_panel_has_a_sentence_a_place_and_the_variables() {
    let dashboard = dashboard();
    let rows: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    assert_eq!(rows, ["Uncertain", "Runs", "Store"]);
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "namespace"]);
    let panels = panels(&dashboard);
    assert!((14..=22).contains(&panels.len()), "{} panels", panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let sentence = panel["description"].as_str().unwrap();
        assert!(sentence.len() > 20 && sentence.ends_with('.'), "{sentence}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(x < 24 && taken.insert((x, y)), "{} overlaps", panel["title"]);
        }
        for expression in expressions(panel) {
            let named = Named::of(expression);
            for (series, matchers) in &named.metrics {
                assert!(matchers.contains_key("job"), "{expression}");
                let has_namespace =
                    metric_of(series).unwrap().labels.iter().any(|label| label.name == "namespace");
                assert_eq!(matchers.contains_key("namespace"), has_namespace, "{expression}");
            }
        }
    }
}

/// Panels with the threshold of an alert.
const THRESHOLDS: [(&str, &str); 7] = [
    ("Oldest uncertain key", "SentinelUncertainWaiting"),
    ("Oldest uncertain key by namespace", "SentinelUncertainWaiting"),
    ("Oldest taken key", "SentinelReconcilingForgotten"),
    ("Share of calls with an unknown outcome", "SentinelUncertainRate"),
    ("Requests without an answer", "SentinelStoreFailing"),
    ("Contact lost", "SentinelContactLost"),
    ("Time since the last survey", "SentinelMetricsStale"),
];

#[test]
fn thresholds_of_panels_are_those_of_the_alerts() {
    let (dashboard, rules) = (dashboard(), rules());
    for (title, alert) in THRESHOLDS {
        let panel = *panels(&dashboard).iter().find(|panel| panel["title"] == title).unwrap();
        let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
        let shown = steps.last().unwrap()["value"].as_f64().unwrap();
        let rule = rules.iter().find(|rule| rule.alert == alert).unwrap();
        // The first number after the first comparison, which may be a product.
        let (_, after) = rule.expr.split_once("> ").unwrap();
        let words = after.split_whitespace().take_while(|word| !["and", "or"].contains(word));
        let factors = words.filter_map(|word| word.parse::<f64>().ok());
        assert_eq!(factors.product::<f64>(), shown, "{title}: {}", rule.expr);
    }
    let trusted = *panels(&dashboard).iter().find(|panel| panel["title"] == "Store is trusted").unwrap();
    let steps = trusted["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["color"], &steps[1]["value"]), (&"red".into(), &1.into()));
}

#[test]
fn every_alert_has_a_section_in_the_runbook() {
    let guide = std::fs::read_to_string(folder().join("../../docs/operations.md")).unwrap();
    for rule in rules() {
        let (page, anchor) = rule.runbook.split_once('#').unwrap();
        assert!(page.ends_with("/docs/operations.md"), "{page}");
        let heading = guide.lines().filter_map(|line| line.strip_prefix("### "));
        assert!(heading.map(str::to_lowercase).any(|heading| heading == anchor), "no section {anchor}");
        assert_eq!(anchor, rule.alert.to_lowercase());
    }
}

#[test]
fn the_folder_that_readers_find_is_the_one_that_is_published() {
    let linked = std::fs::canonicalize(folder().join("../../observability")).unwrap();
    assert_eq!(linked, std::fs::canonicalize(folder()).unwrap());
}

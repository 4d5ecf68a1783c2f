//! The alert rules pass their tests, and each of their conditions has a test that fails without it.

use std::path::Path;
use std::process::Output;

use sentinel_testbed::promtool;
use tempfile::TempDir;

use super::files::{dashboard, expressions, panels, read, rules};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    promtool(folder).args(arguments).output().unwrap()
}

/// Runs the tests of the rules on a changed copy of them.
fn tested(rules: &str) -> Output {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("sentinel.yml"), rules).unwrap();
    std::fs::write(folder.path().join("sentinel.test.yml"), read("alerts/sentinel.test.yml")).unwrap();
    run(folder.path(), &["test", "rules", "sentinel.test.yml"])
}

#[track_caller]
fn passes(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let folder = super::files::folder().join("alerts");
    passes(&run(&folder, &["check", "rules", "sentinel.yml"]));
    passes(&tested(&read("alerts/sentinel.yml")));
}

/// Changes that remove one condition of an alert: what is replaced, and by what.
const MUTANTS: [(&str, &str, &str); 27] = [
    ("SentinelUncertainWaiting", "> 300", "> 30"),
    ("SentinelUncertainWaiting", "> 300", "> 3000"),
    ("SentinelUncertainWaiting", "for: 1m", "for: 0m"),
    ("SentinelUncertainWaiting", "job, store, namespace", "job, store"),
    ("SentinelReconcilingForgotten", "> 4 * 3600", "> 3000"),
    ("SentinelReconcilingForgotten", "> 4 * 3600", "> 40 * 3600"),
    ("SentinelReconcilingForgotten", "for: 5m", "for: 0m"),
    ("SentinelUncertainRate", "> 0.01", "> 0.001"),
    ("SentinelUncertainRate", "> 0.01", "> 0.1"),
    ("SentinelUncertainRate", "> 5", "> 0"),
    ("SentinelUncertainRate", "> 5", "> 5000"),
    ("SentinelUncertainRate", "ran_uncertain|unconfirmed", "unconfirmed"),
    ("SentinelUncertainRate", "|unconfirmed", ""),
    ("SentinelUncertainRate", "|superseded", ""),
    ("SentinelUncertainRate", "ran_uncertain|", "ran_uncertain|uncertain|"),
    ("SentinelUncertainRate", "for: 5m", "for: 0m"),
    ("SentinelStoreFailing", "> 0.05", "> 0.001"),
    ("SentinelStoreFailing", "> 0.05", "> 0.5"),
    ("SentinelStoreFailing", "+ sum by (job, operation) (rate(sentinel_store_errors_total[5m]))", ""),
    ("SentinelStoreFailing", "for: 5m", "for: 0m"),
    ("SentinelContactLost", "sentinel_contact_lost_total", "sentinel_heartbeat_failures_total"),
    ("SentinelContactLost", "[5m]", "[1h]"),
    ("SentinelContactLost", "for: 1m", "for: 0m"),
    ("SentinelStoreDistrusted", "== 0", "== 1"),
    ("SentinelStoreDistrusted", "for: 0m", "for: 5m"),
    ("SentinelMetricsStale", "> 120", "> 12"),
    ("SentinelMetricsStale", "or absent(sentinel_survey_last_success_timestamp_seconds)", ""),
];

#[test]
fn each_condition_of_a_rule_has_a_test_that_fails_without_it() {
    let text = read("alerts/sentinel.yml");
    for (alert, from, to) in MUTANTS {
        let begin = text.find(&format!("- alert: {alert}\n")).unwrap();
        let length = text[begin + 1..].find("- alert: ").map_or(text.len() - begin, |next| next + 1);
        let rule = &text[begin..begin + length];
        let changed = rule.replace(from, to);
        assert_ne!(rule, changed, "{alert} has no {from}");
        let output = tested(&text.replace(rule, &changed));
        let report = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "no test detects {from} -> {to} in {alert}");
        // The tests fail, not the file.
        assert!(report.contains("FAILED") && report.contains("exp:"), "{from} -> {to} in {alert}: {report}");
    }
    let untouched = rules().into_iter().find(|rule| !MUTANTS.iter().any(|(alert, ..)| *alert == rule.alert));
    assert!(untouched.is_none(), "{untouched:?}");
}

/// Panels are queries, not rules: each becomes a rule here, so that its syntax is checked.
#[test]
fn promtool_accepts_every_expression_of_the_dashboard() {
    let dashboard = dashboard();
    let expressions: Vec<&str> = panels(&dashboard).into_iter().flat_map(expressions).collect();
    let mut rules = String::from("groups:\n- name: panels\n  rules:\n");
    for (at, expression) in expressions.iter().enumerate() {
        let expression = expression.replace("$__rate_interval", "5m").replace('\'', "''");
        rules += &format!("  - {{record: 'panel:{at}', expr: '{expression}'}}\n");
    }
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("panels.yml"), rules).unwrap();
    passes(&run(folder.path(), &["check", "rules", "panels.yml"]));
}

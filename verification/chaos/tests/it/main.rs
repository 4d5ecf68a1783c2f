//! Schedules of faults on real servers, as many as fit into a test run; and workers that break a rule, which must be
//! detected.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics with what is wrong")]

use std::process::{Command, Output};

fn soak(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentinel-chaos")).args(args).output().unwrap()
}

/// Runs schedules, of which none may be broken.
fn all_schedules_pass(store: &str, schedules: u32) {
    let output = soak(&["--store", store, "--schedules", &schedules.to_string()]);
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    println!("{printed}");
    assert!(printed.contains(&format!("{store}: none broken, {schedules} schedules")), "{printed}");
}

/// Workers that break a rule are detected, and the report shows how to repeat the schedule.
fn is_detected(mutation: &str, words: &[&str]) {
    let output = soak(&["--store", "sqlite", "--schedules", "40", "--mutation", mutation]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "it was not detected: {printed}");
    assert!(words.iter().any(|words| printed.contains(words)), "{printed}");
    assert!(printed.contains("cargo xtask soak --store sqlite --schedules 1 --seed "), "{printed}");
    let kept = printed.lines().find_map(|line| line.strip_prefix("journals and effects are kept in "));
    std::fs::remove_dir_all(kept.unwrap()).unwrap();
}

#[test]
fn sqlite_keeps_its_promises_while_all_of_its_processes_are_killed() {
    all_schedules_pass("sqlite", 20);
}

#[test]
fn postgres_keeps_its_promises_while_it_is_killed_or_overloaded_or_unreachable() {
    all_schedules_pass("postgres", 20);
}

#[test]
fn redis_keeps_its_promises_or_reports_data_loss() {
    all_schedules_pass("redis", 20);
}

#[test]
fn a_failover_keeps_the_promises_or_reports_data_loss() {
    all_schedules_pass("failover", 4);
}

#[test]
fn a_run_without_a_grant_is_detected() {
    is_detected("runs-without-grant", &["functions started where", "had never begun"]);
}

#[test]
fn a_late_begin_is_detected() {
    is_detected("begins-late", &["had never begun", "functions started where"]);
}

#[test]
fn a_result_that_was_never_recorded_is_detected() {
    let reports = ["returned completed", "returned failed", "recorded, and it is not"];
    is_detected("records-nothing", &reports);
}

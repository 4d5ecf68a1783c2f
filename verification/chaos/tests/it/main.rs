//! Schedules of faults on real servers, as many as fit into a test run; and workers that break a rule, which must be noticed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says by panicking what is wrong")]

use std::process::{Command, Output};

fn soak(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sentinel-chaos")).args(args).output().unwrap()
}

/// So many schedules, of which none may be broken.
fn none_is_broken(store: &str, schedules: u32) {
    let output = soak(&["--store", store, "--schedules", &schedules.to_string()]);
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    println!("{told}");
    assert!(told.contains(&format!("{store}: none broken, {schedules} schedules")), "{told}");
}

/// Workers that break a rule do not get away with it, and whoever reads of it can look for himself.
fn is_noticed(sabotage: &str, words: &[&str]) {
    let output = soak(&["--store", "sqlite", "--schedules", "40", "--sabotage", sabotage]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "nobody noticed: {told}");
    assert!(words.iter().any(|words| told.contains(words)), "{told}");
    assert!(told.contains("cargo xtask soak --store sqlite --schedules 1 --seed "), "{told}");
    let kept = told.lines().find_map(|line| line.strip_prefix("journals and effects are kept in "));
    std::fs::remove_dir_all(kept.unwrap()).unwrap();
}

#[test]
fn sqlite_keeps_its_promises_while_all_of_its_processes_are_killed() {
    none_is_broken("sqlite", 20);
}

#[test]
fn postgres_keeps_its_promises_while_it_is_killed_and_starved_and_cut_off() {
    none_is_broken("postgres", 20);
}

#[test]
fn redis_keeps_its_promises_or_tells_what_it_lost() {
    none_is_broken("redis", 20);
}

#[test]
fn a_failover_keeps_the_promises_or_tells_what_it_lost() {
    none_is_broken("failover", 4);
}

#[test]
fn a_run_without_a_grant_is_noticed() {
    is_noticed("runs-without-grant", &["functions started where", "had never begun"]);
}

#[test]
fn a_stale_worker_that_is_let_through_is_noticed() {
    is_noticed("begins-late", &["had never begun", "functions started where"]);
}

#[test]
fn a_result_that_was_never_recorded_is_noticed() {
    let told = ["was told completed", "was told failed", "told that it is recorded, and it is not"];
    is_noticed("records-nothing", &told);
}

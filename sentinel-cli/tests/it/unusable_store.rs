//! A store that cannot be used is 69, and nothing runs.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Signal, geteuid};

use crate::world::{Ran, World, until};

/// What only reads.
pub(crate) const READS: [&[&str]; 4] =
    [&["inspect", "k"], &["history", "k", "--json"], &["list"], &["purge", "--dry-run"]];

/// Every command but `doctor` and `init` exits 69 with a reason, and nothing runs.
pub(crate) fn refuse(world: &World, store: &str) -> Vec<Ran> {
    let mut ran = refuse_changes(world, store);
    ran.extend(READS.map(|command| is_refused(world, store, command)));
    ran
}

/// Every command that changes something, but `init`, exits 69 with a reason, and nothing runs.
pub(crate) fn refuse_changes(world: &World, store: &str) -> Vec<Ran> {
    let commands: [&[&str]; 7] = [
        &["once", "k", "--wait", "1s", "--", "touch", "ran"],
        &["lease", "k", "--", "touch", "ran"],
        &["reconcile", "k"],
        &["force-complete", "k", "--token", "1", "--response", "x"],
        &["reset-to-claimed", "k", "--token", "1"],
        &["evict", "k", "--expect", "1"],
        &["purge"],
    ];
    let ran = commands.iter().map(|command| is_refused(world, store, command)).collect();
    assert!(!world.path("ran").exists());
    ran
}

/// So does `init`.
pub(crate) fn all_refuse(world: &World, store: &str) -> Vec<Ran> {
    let mut ran = refuse(world, store);
    ran.push(is_refused(world, store, &["init"]));
    ran
}

/// On a store that is not set up, every command but `doctor` names `init`, and makes nothing. `made` returns what is in
/// the store's place.
pub(crate) fn needs_init(world: &World, made: impl Fn() -> String) {
    for ran in refuse(world, world.store()) {
        assert!(ran.err().contains("sentinel init"), "{ran:?}");
    }
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 1 && doctor.out().contains("sentinel init"), "{doctor:?}");
    let doctor = world.run(&["doctor", "--json"]).json();
    assert!(doctor["accepted"] == false && doctor["latency_us"].is_null() && doctor["store_now"].is_null());
    assert_eq!(made(), "", "something was made");
    assert_eq!(world.run(&["init"]).code(), 0);
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}

fn is_refused(world: &World, store: &str, command: &[&str]) -> Ran {
    let ran = world.run(&[&["--store", store], command].concat());
    assert_eq!(ran.code(), 69, "{command:?}: {}", ran.err());
    assert!(ran.bytes().is_empty() && !ran.err().is_empty(), "{command:?}");
    ran
}

#[test]
fn a_directory_that_is_missing() {
    let world = World::sqlite();
    let store = format!("sqlite:{}", world.path("missing/store.db").display());
    all_refuse(&world, &store);
    assert_eq!(world.run(&["doctor", "--store", &store]).code(), 69);
    assert!(!world.path("missing").exists());
}

#[test]
fn a_directory_instead_of_a_file() {
    let world = World::sqlite();
    all_refuse(&world, &format!("sqlite:{}", world.path("").join(".").display()));
}

#[test]
fn a_file_that_is_no_store() {
    let world = World::sqlite();
    std::fs::write(world.path("text"), "this is not a database, and long enough to see that\n".repeat(100))
        .unwrap();
    let store = format!("sqlite:{}", world.path("text").display());
    all_refuse(&world, &store);
    assert_ne!(world.run(&["doctor", "--store", &store]).code(), 0);
    assert!(world.read("text").starts_with("this is not"), "it was overwritten");
}

#[test]
fn a_file_without_permission() {
    let world = World::sqlite();
    world.once("k", &[], "true");
    let directory = world.path("closed");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o000)).unwrap();
    let store = format!("sqlite:{}", directory.join("store.db").display());
    // To root every file is open.
    if !geteuid().is_root() {
        all_refuse(&world, &store);
    }
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn a_result_that_cannot_be_recorded_exits_76() {
    let world = World::sqlite();
    let script = "echo $$ > pid; echo x > runs; until [ -e go ]; do sleep 0.05; done; echo done";
    let running = world.start(&["once", "k", "--", "sh", "-c", script]);
    until("it runs", || !world.read("runs").is_empty());
    // The file is locked from now on.
    let other = rusqlite::Connection::open(world.path("store.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::fs::write(world.path("go"), "").unwrap();
    until("the program has reaped the command", || world.has_reaped());
    // It would wait until the file is free.
    let ran = running.ended_by(Signal::TERM);
    assert_eq!((ran.code(), ran.out().as_str()), (76, "done\n"), "{ran:?}");
    assert!(ran.err().contains("did not confirm"), "{ran:?}");
    other.execute_batch("ROLLBACK").unwrap();
    until("the key is in doubt", || world.inspect("k")["state"] == "uncertain");
}

//! A store that cannot be used is 69, and nothing runs.

use std::os::unix::fs::PermissionsExt;

use rustix::process::geteuid;

use crate::world::{Ran, World, until};

fn all_refuse(world: &World, store: &str) {
    let commands: [&[&str]; 9] = [
        &["once", "k", "--wait", "1s", "--", "touch", "ran"],
        &["lease", "k", "--", "touch", "ran"],
        &["inspect", "k"],
        &["history", "k", "--json"],
        &["list"],
        &["reconcile", "k"],
        &["force-complete", "k", "--token", "1", "--response", "x"],
        &["purge"],
        &["init"],
    ];
    for command in commands {
        let ran: Ran = world.run(&[&["--store", store], command].concat());
        assert_eq!(ran.code(), 69, "{command:?}: {}", ran.err());
        assert!(ran.bytes().is_empty() && !ran.err().is_empty(), "{command:?}");
    }
    assert!(!world.path("ran").exists());
}

#[test]
fn a_directory_that_is_missing() {
    let world = World::new();
    let store = format!("sqlite:{}", world.path("missing/store.db").display());
    all_refuse(&world, &store);
    assert_eq!(world.run(&["doctor", "--store", &store]).code(), 69);
    assert!(!world.path("missing").exists());
}

#[test]
fn a_directory_instead_of_a_file() {
    let world = World::new();
    all_refuse(&world, &format!("sqlite:{}", world.path("").join(".").display()));
}

#[test]
fn a_file_that_is_no_store() {
    let world = World::new();
    std::fs::write(world.path("text"), "this is not a database, and long enough to see that\n".repeat(100))
        .unwrap();
    let store = format!("sqlite:{}", world.path("text").display());
    all_refuse(&world, &store);
    assert_ne!(world.run(&["doctor", "--store", &store]).code(), 0);
    assert!(world.read("text").starts_with("this is not"), "it was overwritten");
}

#[test]
fn a_file_without_permission() {
    let world = World::new();
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
fn a_store_that_this_build_does_not_have() {
    let world = World::new();
    for store in ["postgres://host/db", "redis://host", "rediss://u:p@host:6379/0"] {
        all_refuse(&world, store);
    }
}

#[test]
fn a_result_that_cannot_be_recorded_is_doubt() {
    let world = World::new();
    let script = "echo x > runs; until [ -e go ]; do sleep 0.05; done; echo done";
    let running = world.start(&["once", "k", "--", "sh", "-c", script]);
    until("it runs", || !world.read("runs").is_empty());
    // Somebody keeps the file locked from now on.
    let other = rusqlite::Connection::open(world.path("store.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::fs::write(world.path("go"), "").unwrap();
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (76, "done\n"), "{ran:?}");
    assert!(ran.err().contains("did not confirm"), "{ran:?}");
    other.execute_batch("ROLLBACK").unwrap();
    until("the key is in doubt", || world.inspect("k")["state"] == "uncertain");
}

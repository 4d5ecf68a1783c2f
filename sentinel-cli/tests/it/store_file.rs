//! A SQLite file: who creates it, where it may lie, and what happens when it is moved.

use std::process::Command;

use crate::world::{World, until};

const READS: &[&[&str]] =
    &[&["list"], &["inspect", "k"], &["history", "k"], &["purge", "--dry-run"], &["doctor"]];
const OTHERS: &[&[&str]] = &[
    &["purge"],
    &["reconcile", "k"],
    &["evict", "k", "--expect", "7"],
    &["force-complete", "k", "--token", "7", "--response", "x"],
    &["reset-to-claimed", "k", "--token", "7"],
];

#[test]
fn only_once_lease_and_init_create_a_file() {
    for arguments in [READS, OTHERS].concat() {
        let world = World::sqlite();
        let ran = world.run(arguments);
        assert_eq!(ran.code(), 69, "{arguments:?}: {ran:?}");
        assert!(ran.out().is_empty() && ran.err().contains("store.db"), "{arguments:?}: {ran:?}");
        assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 0, "{arguments:?} made something");
        // An empty file is no store either, and stays empty.
        std::fs::write(world.path("store.db"), "").unwrap();
        let ran = world.run(arguments);
        let (expected, text) = if arguments == ["doctor"] { (1, ran.out()) } else { (69, ran.err()) };
        assert!(ran.code() == expected && text.contains("holds nothing yet"), "{arguments:?}: {ran:?}");
        assert_eq!(std::fs::metadata(world.path("store.db")).unwrap().len(), 0, "{arguments:?} set it up");
    }
    for arguments in [&["once", "k", "--", "true"][..], &["lease", "k", "--", "true"], &["init"]] {
        let world = World::sqlite();
        assert_eq!(world.run(arguments).code(), 0, "{arguments:?}");
        assert!(world.path("store.db").exists());
        assert_eq!(world.run(&["list"]).code(), 0);
        assert_eq!(world.run(&["doctor"]).code(), 0);
        std::fs::write(world.path("empty.db"), "").unwrap();
        let on = |store| world.run(&[&["--store", store], arguments].concat()).code();
        assert_eq!(on("sqlite:empty.db?sentinel_create=false"), 69, "{arguments:?}");
        assert_eq!(on("sqlite:empty.db"), 0, "{arguments:?}");
    }
}

#[test]
fn the_default_file_is_not_created_by_a_read() {
    let world = World::sqlite();
    let default = |arguments: &[&str]| {
        let ran = world.command(arguments).env_remove("SENTINEL_STORE").output().unwrap();
        ran.status.code()
    };
    assert_eq!(default(&["list"]), Some(69));
    assert!(!world.path("state").exists());
    assert_eq!(default(&["once", "k", "--", "true"]), Some(0));
    assert_eq!(default(&["list"]), Some(0));
}

#[test]
fn an_address_is_taken_literally_or_refused() {
    let world = World::sqlite();
    let bad = [
        "sqlite:x.db\n",
        "sqlite:x.db ",
        " sqlite:x.db",
        "sqlite: x.db",
        "sqlite:x\u{7}.db",
        "sqlite:q.db?mode=rwc",
        "sqlite:q.db?",
        "\tsqlite:q.db",
        "memory:\n",
        "postgres://u@h/db\n",
        "postgres://u@h/db ",
        "redis://h\n",
        "rediss://h\r",
        "redis-cluster://h\n",
        "redis-sentinel://h?sentinelServiceName=a\n",
        "redis+unix:///a.sock\n",
    ];
    for address in bad {
        for arguments in [&["once", "k", "--", "true"][..], &["list"], &["init"]] {
            let ran = world.command(arguments).env("SENTINEL_STORE", address).output().unwrap();
            assert_eq!(ran.status.code(), Some(64), "{address:?}: {ran:?}");
        }
    }
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 0, "something was made");
    let literal =
        world.command(&["once", "k", "--", "true"]).env("SENTINEL_STORE", "sqlite:a b%20#.db").output();
    assert_eq!(literal.unwrap().status.code(), Some(0));
    assert!(world.path("a b%20#.db").exists());
}

#[test]
fn a_file_that_is_moved_or_copied_after_its_processes_ended_has_all_records() {
    let world = World::sqlite();
    for n in 0..5 {
        assert_eq!(world.once(&format!("k{n}"), &[], "echo $SENTINEL_KEY").code(), 0);
    }
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 1, "the file, and no log beside it");
    std::fs::copy(world.path("store.db"), world.path("copy.db")).unwrap();
    std::fs::rename(world.path("store.db"), world.path("moved.db")).unwrap();
    for name in ["copy.db", "moved.db"] {
        for n in 0..5 {
            let key = format!("k{n}");
            let arguments = ["--store", &format!("sqlite:{name}"), "once", &key, "--", "echo", "again"];
            let ran = world.run(&arguments);
            assert_eq!((ran.code(), ran.out()), (0, format!("{key}\n")), "{name}");
        }
    }
}

#[test]
fn a_file_that_a_killed_process_left_is_refused_without_its_log() {
    let world = World::sqlite();
    let running = world.start(&["once", "k", "--", "sleep", "600"]);
    until("it executes", || world.inspect("k")["state"] == "executing");
    running.send(rustix::process::Signal::KILL);
    running.ended();
    std::fs::rename(world.path("store.db"), world.path("moved.db")).unwrap();
    let moved = |arguments: &[&str]| world.run(&[&["--store", "sqlite:moved.db"], arguments].concat());
    for arguments in [&["once", "k", "--", "touch", "ran"][..], &["list"], &["init"]] {
        let ran = moved(arguments);
        assert!(ran.code() == 69 && ran.err().contains("its log"), "{arguments:?}: {ran:?}");
    }
    let doctor = moved(&["doctor"]);
    assert_eq!((doctor.code(), doctor.out().matches("BAD").count()), (1, 1), "{doctor:?}");
    // Where the file was, none is created: that would delete the log.
    assert_eq!(world.once("k", &[], "touch ran").code(), 69);
    std::fs::rename(world.path("store.db-wal"), world.path("moved.db-wal")).unwrap();
    // The lease of the killed process is live, or has lapsed.
    let ran = moved(&["once", "k", "--", "touch", "ran"]);
    assert!(matches!(ran.code(), 75 | 76), "{ran:?}");
    assert!(!world.path("ran").exists());
}

#[test]
fn doctor_reports_a_second_name_of_the_file() {
    let world = World::sqlite();
    assert_eq!(world.once("k", &[], "true").code(), 0);
    std::fs::hard_link(world.path("store.db"), world.path("link.db")).unwrap();
    let ran = world.once("k", &[], "true");
    assert!(ran.code() == 69 && ran.err().contains("has 2 hard links"), "{ran:?}");
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 1 && doctor.out().contains("BAD  names"), "{doctor:?}");
    let accepted = format!("{}?sentinel_allow_other_names=true", world.store());
    assert_eq!(world.run(&["--store", &accepted, "once", "k", "--", "true"]).code(), 0);
    assert_eq!(world.run(&["--store", &accepted, "doctor"]).code(), 0);
}

/// Runs a script as root of mount points of its own; None where this system does not let us.
#[cfg(target_os = "linux")]
fn with_own_mounts(world: &World, script: &str) -> Option<std::process::Output> {
    let unshared = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script]).current_dir(world.path(""));
        command.env("SENTINEL", env!("CARGO_BIN_EXE_sentinel")).env("SENTINEL_STORE", world.store());
        command.output().ok()
    };
    let probe = unshared("mount --bind . .")?;
    if probe.status.success() { unshared(script) } else { None }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_mounted_without_its_directory_is_refused() {
    let world = World::sqlite();
    assert_eq!(world.once("k", &[], "true").code(), 0);
    let script = "touch inside.db; mount --bind store.db inside.db; set +e; \
                  $SENTINEL --store sqlite:inside.db once k -- echo ran; echo once $?; \
                  $SENTINEL --store sqlite:inside.db doctor; echo doctor $?; \
                  $SENTINEL --store 'sqlite:inside.db?sentinel_allow_other_names=true' once k -- true; \
                  echo accepted $?";
    let Some(ran) = with_own_mounts(&world, script) else { return };
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.contains("once 69") && out.contains("doctor 1") && out.contains("BAD  names"), "{ran:?}");
    assert!(out.contains("accepted 0") && !out.contains("ran\n"), "{ran:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn reads_work_on_a_read_only_file_system() {
    let world = World::sqlite();
    assert_eq!(world.once("k", &[], "echo done").code(), 0);
    let script = "mount --bind . .; mount -o remount,ro,bind .; cd \"$PWD\"; set +e; \
                  $SENTINEL list; echo list $?; $SENTINEL inspect k; echo inspect $?; $SENTINEL history k; \
                  echo history $?; $SENTINEL purge --dry-run; echo purge $?; \
                  $SENTINEL once new -- echo ran; echo once $?; \
                  $SENTINEL doctor; echo doctor $?";
    let Some(ran) = with_own_mounts(&world, script) else { return };
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    for expected in ["list 0", "inspect 0", "history 0", "purge 0", "once 69", "doctor 1", "done"] {
        assert!(out.contains(expected), "{expected}: {ran:?}");
    }
    assert!(!out.contains("ran\n"), "{ran:?}");
}

#[test]
fn an_ipv6_address_in_brackets_is_connected_to() {
    let world = World::sqlite();
    // Not every system has IPv6. What the address is read as, tests of the stores check everywhere.
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for url in [format!("postgres://u@[::1]:{port}/db"), format!("redis://[::1]:{port}")] {
        let mut child = world.command(&["inspect", "k"]).env("SENTINEL_STORE", &url).spawn().unwrap();
        until(&format!("{url} is connected to"), || listener.accept().is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

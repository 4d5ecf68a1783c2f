//! Bad arguments are 64, nothing is sent, and no password is shown.

use crate::world::World;

const BAD: &[&[&str]] = &[
    &[],
    &["--json"],
    &["nonsense"],
    &["once"],
    &["once", "k"],
    &["once", "k", "--"],
    &["once", "k", "true"],
    &["once", "--", "true"],
    &["once", "", "--", "true"],
    &["once", "a\nb", "--", "true"],
    &["once", "k", "--bogus", "--", "true"],
    &["once", "k", "--ttl", "10", "--", "true"],
    &["once", "k", "--ttl", "1.5s", "--", "true"],
    &["once", "k", "--ttl", "-1s", "--", "true"],
    &["once", "k", "--ttl", "9ms", "--", "true"],
    &["once", "k", "--ttl", "2h", "--hard-ttl", "1h", "--", "true"],
    &["once", "k", "--ttl", "10s", "--hard-ttl", "5s", "--", "true"],
    &["once", "k", "--hard-ttl", "367d", "--", "true"],
    &["once", "k", "--wait", "5", "--", "true"],
    &["once", "k", "--retention", "0s", "--", "true"],
    &["once", "k", "--fingerprint", "", "--", "true"],
    &["once", "k", "--about", "", "--", "true"],
    &["once", "k", "--cause", "", "--", "true"],
    &["once", "k", "--failed-on", "0", "--", "true"],
    &["once", "k", "--failed-on", "64", "--", "true"],
    &["once", "k", "--failed-on", "3,75", "--", "true"],
    &["once", "k", "--failed-on", "256", "--", "true"],
    &["once", "k", "--failed-on", "", "--", "true"],
    &["once", "k", "--nothing-happened-on", "3,,4", "--", "true"],
    &["once", "k", "--failed-on", "3,4", "--nothing-happened-on", "4", "--", "true"],
    &["lease", "k", "--retention", "1d", "--", "true"],
    &["--namespace", "A", "inspect", "k"],
    &["--namespace", "", "inspect", "k"],
    &["inspect", "k", "--kind", "job"],
    &["inspect"],
    &["list", "--state", "absent"],
    &["list", "--limit", "0"],
    &["list", "--limit", "1001"],
    &["history", "k", "--limit", "x"],
    &["reconcile", "k", "--expect", "x"],
    &["reconcile", "k", "--even-if-alive"],
    &["reconcile", "k", "--steal"],
    &["reconcile", "k", "--op", "short"],
    &["force-complete", "k", "--response", "x"],
    &["force-complete", "k", "--token", "1"],
    &["force-complete", "k", "--token", "0", "--response", "x"],
    &["force-complete", "k", "--token", "1", "--response", "x", "--failed", "70"],
    &["force-complete", "k", "--token", "1", "--response", "x", "--status", "199"],
    &["force-complete", "k", "--token", "1", "--response", "x", "--status", "600"],
    &["force-complete", "k", "--token", "1", "--response", "x", "--status", "402", "--failed", "3"],
    &["reset-to-claimed", "k"],
    &["evict", "k"],
    &["evict", "k", "--expect", "99999999999999999999"],
    &["once", "k", "--nothing-happened-on", "74", "--", "true"],
    &["list", "--idempotency-key", "snl_x"],
    &["list", "--idempotency-key", "snl_861c709bf72f282a74a757b45fea70c44114bf0e", "--after", "k"],
    &["why"],
    &["why", "k", "--all"],
    &["because"],
    &["because", ""],
    &["because", "r", "--store", "sqlite:a", "--store", "sqlite:b"],
    &["because", "r", "--store", "a=sqlite:a", "--store", "sqlite:b"],
    &["because", "r", "--store", "a=sqlite:a", "--store", "a=sqlite:b"],
    &["because", "r", "--store", "a=mysql://h/db"],
    &["inspect", "k", "--store", "sqlite:a", "--store", "sqlite:b"],
    &["settle", "k"],
    &["settle", "k", "--happened", "x", "--did-not-happen"],
    &["settle", "k", "--did-not-happen", "--content-type", "text/plain"],
    &["probe"],
    &["probe", "--"],
    &["probe", "--every", "5", "--", "true"],
    &["man", "nonsense"],
    &["completions", "tcsh-like"],
    &["--store", "mysql://h/db", "inspect", "k"],
    &["--store", "nonsense", "inspect", "k"],
    &["--store", "postgres://", "inspect", "k"],
    &["--store", "postgres://h:port/db", "inspect", "k"],
    &["--store", "postgres:h", "inspect", "k"],
    &["--store", "postgres://h/db?sslmode=maybe", "inspect", "k"],
    &["--store", "postgres://h/db?sslmod=require", "inspect", "k"],
    &["--store", "postgres://h/db?sentinel_schema=a-b", "inspect", "k"],
    &["--store", "postgres://h/db?sentinel_table_prefix=%20", "init", "--print-sql"],
    &["--store", "redis://", "inspect", "k"],
    &["--store", "redis://h/x", "inspect", "k"],
    &["--store", "redis:h", "inspect", "k"],
    &["--store", "redis://h?timeout=3", "inspect", "k"],
    &["--store", "redis://h?sentinel_key_prefix=%20", "inspect", "k"],
    &["--store", "rediss://h?sentinel_ca=missing.pem", "inspect", "k"],
    &["--store", "redis+unix://", "inspect", "k"],
    &["--store", "redis://h", "init", "--print-sql"],
    &["init", "--print-sql"],
    &["--store", "sqlite:", "inspect", "k"],
    &["--store", "sqlite::memory:", "once", "k", "--", "true"],
    &["--store", "", "inspect", "k"],
];

#[test]
fn bad_arguments_are_64_and_touch_no_store() {
    let world = World::sqlite();
    for arguments in BAD {
        let ran = world.run(arguments);
        assert_eq!(ran.code(), 64, "{arguments:?}: {}", ran.err());
        assert!(ran.bytes().is_empty() && !ran.err().is_empty(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(world.path("")).unwrap().count(), 0, "something was made");
}

#[test]
fn help_and_version_exit_0_and_every_command_has_an_example() {
    let world = World::sqlite();
    for arguments in [&["--help"][..], &["--version"], &["help"], &["-h"], &["once", "--help"]] {
        let ran = world.run(arguments);
        assert_eq!(ran.code(), 0, "{arguments:?}");
        assert!(!ran.bytes().is_empty() && ran.err().is_empty(), "{arguments:?}");
    }
    let commands = "once lease inspect history list why settle probe reconcile force-complete reset-to-claimed evict \
                    purge init doctor completions man";
    for command in commands.split_whitespace() {
        let help = world.run(&[command, "--help"]).out();
        assert!(
            help.contains("Example:\n") && help.contains(&format!("sentinel {command}")),
            "{command}: {help}"
        );
    }
}

#[test]
fn completions_and_the_manual_need_no_store() {
    let world = World::sqlite();
    let bash = world.command(&["completions", "bash"]).env("SENTINEL_STORE", "nonsense").output().unwrap();
    assert!(bash.status.success() && String::from_utf8_lossy(&bash.stdout).contains("reset-to-claimed"));
    let man = world.run(&["man"]).out();
    assert!(
        man.contains(".TH sentinel") && man.contains("COMMAND RECONCILE") && man.contains("accept"),
        "{man}"
    );
}

#[test]
fn global_options_stand_anywhere_before_the_command_that_is_run() {
    let world = World::sqlite();
    let store = format!("sqlite:{}", world.path("other.db").display());
    let ran = world.run(&[
        "once",
        "--namespace",
        "ns",
        "k",
        "--store",
        &store,
        "--worker",
        "w",
        "--",
        "echo",
        "--json",
    ]);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "--json\n"));
    let seen = world.run(&["inspect", "--json", "k", "--namespace=ns", "--store", &store]).json();
    assert_eq!((seen["worker"].as_str(), seen["namespace"].as_str()), (Some("w"), Some("ns")));
}

#[test]
fn the_environment_replaces_missing_options_and_an_empty_variable_counts_as_unset() {
    let world = World::sqlite();
    let mut command = world.command(&["once", "k", "--", "true"]);
    let ran = command.env("SENTINEL_NAMESPACE", "ns").env("SENTINEL_WORKER", "w").output().unwrap();
    assert!(ran.status.success());
    assert_eq!(world.run(&["inspect", "k", "--namespace", "ns", "--json"]).json()["worker"], "w");
    let mut command = world.command(&["once", "k", "--", "true"]);
    command.env("SENTINEL_NAMESPACE", "").env("SENTINEL_WORKER", "").env("SENTINEL_STORE", "");
    assert!(command.output().unwrap().status.success());
    use std::os::unix::fs::PermissionsExt as _;
    assert!(world.path("state/sentinel/sentinel.db").exists(), "the default file was not used");
    let mode = std::fs::metadata(world.path("state/sentinel")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn no_password_is_ever_shown() {
    let world = World::sqlite();
    let urls = [
        ("postgres://me:hunter2@127.0.0.1:1/db", 69),
        ("postgres://127.0.0.1:1/db?user=me&password=hunter2", 69),
        ("rediss://me:hunter2@127.0.0.1:1", 69),
        ("redis://me:hunter2@127.0.0.1:1/0", 69),
        ("redis-sentinel://127.0.0.1:1?sentinelServiceName=a&sentinelPassword=hunter2", 69),
        ("redis://me:hunter2", 64),
        ("redis://127.0.0.1:1?password=hunter2", 64),
        ("postgres://me:hunter2@host:port/db", 64),
        ("postgres://me:hunter2", 64),
        ("postgres://me:hun hunter2@host", 64),
        ("mysql://me:hunter2@host", 64),
        ("me:hunter2@host", 64),
    ];
    for (url, code) in urls {
        for arguments in
            [&["--store", url, "once", "k", "--", "touch", "ran"][..], &["doctor", "--store", url]]
        {
            let ran = world.run(arguments);
            assert_eq!(ran.code(), code, "{arguments:?}: {}", ran.err());
            assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
        }
        let misplaced = world.run(&["inspect", "k", "--sotre", url]);
        assert!(misplaced.code() == 64 && !format!("{misplaced:?}").contains("hunter2"), "{misplaced:?}");
        let help = world.command(&["once", "--help"]).env("SENTINEL_STORE", url).output().unwrap();
        assert!(!format!("{help:?}").contains("hunter2"));
    }
    let twice = world.run(&["inspect", "k", "postgres://me:hunter2@host/db"]);
    assert!(twice.code() == 64 && !twice.err().contains("hunter2"), "{twice:?}");
    assert!(!world.path("ran").exists());
}

#[test]
fn a_long_ttl_raises_the_hard_ttl_unless_that_is_given() {
    let world = World::sqlite();
    for command in ["once", "lease"] {
        let shows = format!("{} inspect k --json --kind \"$0\"", crate::world::SENTINEL);
        let kind = if command == "once" { "execution" } else { "lease" };
        let run = |options: &[&str]| {
            let arguments = [&[command, "k"], options, &["--", "sh", "-c", &shows, kind]].concat();
            world.run(&arguments)
        };
        let time = |record: &serde_json::Value, name: &str| -> jiff::Timestamp {
            record[name].as_str().unwrap().parse().unwrap()
        };
        let refused = run(&["--ttl", "2h", "--hard-ttl", "1h"]);
        assert_eq!(refused.code(), 64, "{refused:?}");
        let ran = run(&["--ttl", "2h"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        let record = ran.json();
        let term = time(&record, "hard_until").duration_since(time(&record, "claimed_at"));
        assert!(term.as_secs() >= 7_200, "{record}");
    }
}

//! Messages name what was not right, and what to do.

use sentinel_testbed::Redis;

use crate::world::World;

/// An address at which nothing listens.
const NOTHING_THERE: &str = "127.0.0.1:1";

#[test]
fn a_store_that_cannot_be_reached_is_named() {
    let world = World::sqlite();
    for (url, server) in [
        (format!("postgres://app:hunter2@{NOTHING_THERE}/db"), NOTHING_THERE),
        ("postgres:///db?host=/nonexistent".to_owned(), "/nonexistent, port 5432"),
        (format!("redis://:hunter2@{NOTHING_THERE}"), NOTHING_THERE),
        ("redis+unix:///nonexistent.sock".to_owned(), "/nonexistent.sock"),
        ("sqlite:/nonexistent/a.db".to_owned(), "/nonexistent/a.db"),
    ] {
        let ran = world.run(&["inspect", "k", "--store", &url]);
        let err = ran.err();
        assert!(ran.code() == 69 && err.contains("cannot be reached") && err.contains(server), "{ran:?}");
        assert!(!err.contains("Os {") && !err.contains("kind:") && !err.contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_wrong_password_is_no_wrong_address() {
    let world = World::at(crate::world::server());
    let url = crate::world::server().url_for("postgres", "wrong", "postgres");
    let no_database = crate::world::server().url().replace("/postgres", "/no_such_database");
    let redis = Redis::start(sentinel_testbed::redis::Options::default().password("secret"));
    let wrong = redis.url().replace("secret", "wrong");
    for url in [&*url, &no_database, &wrong] {
        let ran = world.run(&["inspect", "k", "--store", url]);
        if ran.code() == 69 && ran.err().contains("not initialised") {
            // This server admits everyone who connects from this host.
            continue;
        }
        let err = ran.err();
        assert!(
            ran.code() == 69 && err.contains("denied access") && err.contains("check the user"),
            "{ran:?}"
        );
        assert!(!err.contains("address is right") && !err.contains("at line"), "{ran:?}");
    }
}

each_store!(what_doctor_measures_has_one_unit);
fn what_doctor_measures_has_one_unit(world: World) {
    world.run(&["init"]);
    let doctor = world.run(&["doctor"]).out();
    for unit in ["µs", " us\n", "ns\n", "ns "] {
        let measured = doctor.lines().filter(|line| line.starts_with("  ok "));
        let wrong: Vec<&str> = measured.filter(|line| format!("{line}\n").contains(unit)).collect();
        assert!(
            wrong.iter().all(|line| line.contains("transactions") || line.contains("sessions")),
            "{wrong:?}"
        );
    }
    assert!(doctor.contains("a read takes 0.") || doctor.contains(" ms, the median of 5"), "{doctor}");
    let columns: Vec<&str> = doctor.lines().filter(|line| line.starts_with("  ok ")).collect();
    assert!(columns.len() > 5, "{doctor}");
}

#[test]
fn the_clock_of_a_file_is_a_date() {
    let world = World::sqlite();
    world.run(&["init"]);
    let doctor = world.run(&["doctor"]).out();
    let clock = doctor.lines().find(|line| line.contains(" clock ")).unwrap();
    assert!(clock.ends_with(" UTC") && clock.contains("20") && clock.contains(':'), "{clock}");
}

#[test]
fn an_option_that_is_refused_is_the_one_that_was_given() {
    let world = World::sqlite();
    for (options, message) in [
        (&["--ttl", "367d"][..], "--ttl must be at most 366 days, is 367.00 days"),
        (&["--ttl", "5ms"], "--ttl must be at least 10ms, is 5ms"),
        (&["--hard-ttl", "400d"], "--hard-ttl must be at most 366 days, is 400.00 days"),
        (&["--ttl", "2h", "--hard-ttl", "1h"], "--hard-ttl 1h is below --ttl 2h"),
    ] {
        let ran = world.run(&[&["once", "k"], options, &["--", "true"]].concat());
        assert_eq!((ran.code(), ran.err().trim()), (64, &*format!("sentinel: {message}")));
    }
    assert_eq!(world.once("k", &["--ttl", "2h"], "true").code(), 0);
}

#[test]
fn the_command_that_sets_a_store_up_names_the_store() {
    let world = World::at(crate::world::server());
    let url = world.store().to_owned();
    let ran = world.run(&["inspect", "k", "--store", &url]);
    let err = ran.err();
    let command = err.split('`').find(|part| part.starts_with("sentinel init --store ")).unwrap_or_default();
    assert_eq!(ran.code(), 69, "{ran:?}");
    assert!(command.contains(&format!("sentinel_schema={}", world.schema())), "{command}");
}

#[test]
fn a_store_in_memory_is_refused_with_its_reason() {
    let world = World::sqlite();
    let ran = world.run(&["once", "k", "--store", "memory:", "--", "touch", "ran"]);
    assert!(ran.code() == 64 && ran.err().contains("would find it empty"), "{ran:?}");
}

#[test]
fn one_command_has_a_page_of_its_own() {
    let world = World::sqlite();
    let page = world.run(&["man", "once"]);
    assert!(
        page.code() == 0 && page.out().contains("sentinel-once") && page.out().contains("nothing"),
        "{page:?}"
    );
    assert!(!page.out().contains("COMMAND RECONCILE"));
    let none = world.run(&["man", "nonsense"]);
    assert!(none.code() == 64 && none.err().contains("force-complete"), "{none:?}");
}

const COMMANDS: &str = "once lease inspect history list why namespaces settle probe reconcile force-complete \
                        reset-to-claimed evict purge init doctor completions man";

#[test]
fn no_line_of_a_help_is_wider_than_100_columns() {
    let world = World::sqlite();
    for command in COMMANDS.split_whitespace().map(Some).chain([None]) {
        let arguments: Vec<&str> = command.into_iter().chain(["--help"]).collect();
        for line in world.run(&arguments).out().lines() {
            // A usage and an example are one line each.
            let is_one_line = line.starts_with("Usage:") || line.trim_start().starts_with("sentinel ");
            assert!(is_one_line || line.chars().count() <= 100, "{arguments:?}: {line}");
        }
    }
}

#[test]
fn what_init_prints_about_itself_is_true_for_a_file() {
    let world = World::sqlite();
    let help = world.run(&["init", "--help"]).out();
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(words.join(" ").contains("A SQLite store needs no init"), "{help}");
    assert_eq!(world.once("k", &[], "true").code(), 0);
}

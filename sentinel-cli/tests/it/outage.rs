//! A store that refuses for a while, or is away for a while: the command goes on, and its result is recorded.

use std::time::Duration;

use rustix::process::Signal;
use sentinel_testbed::{Mode, Postgres, postgres::Options};

use crate::world::{World, until};

/// Runs until the file `go` is there, and leaves the file `ended` behind.
const WAITS: &str =
    "echo $$ > pid; echo run >> effects; until [ -e go ]; do sleep 0.05; done; touch ended; echo charged";

fn of_its_own() -> (Postgres, World) {
    let server = Postgres::start(Options::default().conf("log_connections = on"));
    let world = World::at(&server);
    assert_eq!(world.run(&["init"]).code(), 0);
    (server, world)
}

fn read_only(server: &Postgres, on: bool) {
    server.psql(&format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
    server.psql("SELECT pg_reload_conf()");
    until("the server has read its settings", || {
        server.psql("SHOW default_transaction_read_only") == if on { "on" } else { "off" }
    });
}

/// Lets time pass in which nothing can be seen to happen.
fn pass(time: Duration) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < time {
        std::thread::park_timeout(time);
    }
}

/// Something refuses the result of a command several times, as the log of the server shows, and then no more.
fn a_refusal_passes(refuse: impl Fn(&Postgres, &World), message: &str, admit: impl Fn(&Postgres, &World)) {
    let (server, world) = of_its_own();
    let user = format!(
        "CREATE ROLE worker LOGIN PASSWORD 'w'; GRANT ALL ON SCHEMA {0} TO worker; \
         GRANT ALL ON ALL TABLES IN SCHEMA {0} TO worker; GRANT ALL ON ALL SEQUENCES IN SCHEMA {0} TO worker",
        world.schema()
    );
    server.psql(&user);
    let url = format!("{}?sentinel_schema={}", server.url_for("worker", "w", "postgres"), world.schema());
    let running = world.start(&["once", "k", "--store", &url, "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    refuse(&server, &world);
    let before = server.log().matches(message).count();
    std::fs::write(world.path("go"), "").unwrap();
    until("the result was refused again and again", || server.log().matches(message).count() >= before + 3);
    admit(&server, &world);
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "charged\n"), "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "completed");
    assert_eq!(world.once("k", &[], "touch ran").out(), "charged\n");
    assert_eq!(world.read("effects"), "run\n");
}

#[test]
fn a_server_that_was_read_only_for_a_while_gets_the_result() {
    a_refusal_passes(
        |server, _| read_only(server, true),
        "read-only transaction",
        |server, _| read_only(server, false),
    );
}

#[test]
fn a_grant_that_was_revoked_for_a_while_loses_no_result() {
    a_refusal_passes(
        |server, world| {
            drop(
                server.psql(&format!("REVOKE UPDATE ON ALL TABLES IN SCHEMA {} FROM worker", world.schema())),
            )
        },
        "permission denied",
        |server, world| {
            drop(server.psql(&format!("GRANT UPDATE ON ALL TABLES IN SCHEMA {} TO worker", world.schema())))
        },
    );
}

#[test]
fn a_vouched_release_reaches_a_server_that_was_read_only_for_a_while() {
    let (server, world) = of_its_own();
    let script = format!("{WAITS}; exit 79");
    let running = world.start(&["once", "k", "--nothing-happened-on", "79", "--", "sh", "-c", &script]);
    until("it runs", || !world.read("effects").is_empty());
    read_only(&server, true);
    // It is refused when it connects, which it does anew for each attempt.
    let connections = || server.log().matches("application_name=started_").count();
    let before = connections();
    std::fs::write(world.path("go"), "").unwrap();
    until("the release was refused again and again", || connections() >= before + 3);
    // For longer than a client waits for an answer.
    pass(Duration::from_secs(12));
    read_only(&server, false);
    let ran = running.ended();
    assert_eq!(ran.code(), 79, "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "free");
}

#[test]
fn an_outage_longer_than_the_ttl_does_not_end_a_command() {
    let (server, world) = of_its_own();
    let running = world.start(&["once", "k", "--ttl", "1s", "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    server.stop(Mode::Immediate);
    pass(Duration::from_secs(4));
    std::fs::write(world.path("go"), "").unwrap();
    until("the command has ended", || world.path("ended").exists());
    // For longer than a client waits for an answer.
    pass(Duration::from_secs(12));
    server.start_again();
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "charged\n"), "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "completed");
}

#[test]
fn a_lock_on_the_file_for_longer_than_the_ttl_does_not_end_a_command() {
    let world = World::sqlite();
    let running = world.start(&["once", "k", "--ttl", "1s", "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    let other = rusqlite::Connection::open(world.path("store.db")).unwrap();
    other.busy_timeout(Duration::from_secs(60)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    until("others doubt it", || world.inspect("k")["state"] == "uncertain");
    pass(Duration::from_secs(2));
    assert!(!world.path("ended").exists());
    std::fs::write(world.path("go"), "").unwrap();
    until("the command has ended", || world.path("ended").exists());
    pass(Duration::from_secs(1));
    other.execute_batch("ROLLBACK").unwrap();
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "charged\n"), "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "completed");
}

#[test]
fn a_signal_ends_the_wait_for_a_store_that_does_not_come_back() {
    let (server, world) = of_its_own();
    let running = world.start(&["once", "k", "--", "sh", "-c", WAITS]);
    until("it runs", || !world.read("effects").is_empty());
    server.stop(Mode::Immediate);
    std::fs::write(world.path("go"), "").unwrap();
    until("the program has reaped the command", || world.has_reaped());
    let ran = running.ended_by(Signal::TERM);
    assert_eq!((ran.code(), ran.out().as_str()), (76, "charged\n"), "{ran:?}");
    assert!(ran.err().contains("did not confirm"), "{ran:?}");
}

#[test]
fn a_wait_goes_on_through_a_restart() {
    for command in ["once", "lease"] {
        let (server, world) = of_its_own();
        let holder = world.start(&[command, "k", "--ttl", "5m", "--", "sh", "-c", WAITS]);
        until("it runs", || !world.read("effects").is_empty());
        let sessions = || server.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres'");
        let before: u32 = sessions().parse().unwrap();
        let waiting = world.start(&[command, "k", "--wait", "5m", "--", "echo", "mine"]);
        until("the other one waits", || sessions().parse::<u32>().unwrap() > before);
        server.stop(Mode::Immediate);
        let late = world.start(&[command, "k", "--wait", "5m", "--", "echo", "mine"]);
        pass(Duration::from_secs(2));
        server.start_again();
        std::fs::write(world.path("go"), "").unwrap();
        let ran = holder.ended();
        assert_eq!((ran.code(), ran.out().as_str()), (0, "charged\n"), "{ran:?}");
        for ran in [waiting.ended(), late.ended()] {
            let expected = if command == "once" { "charged\n" } else { "mine\n" };
            assert_eq!((ran.code(), ran.out().as_str()), (0, expected), "{command}: {ran:?}");
        }
    }
}

#[test]
fn a_store_that_waits_for_an_operator_is_not_waited_for() {
    let server = Postgres::start(Options::default());
    let world = World::at(&server);
    for command in ["once", "lease"] {
        let mut waiting = world.start(&[command, "k", "--wait", "1h", "--", "touch", "ran"]);
        until("it ends at once", || waiting.has_ended());
        let ran = waiting.ended();
        assert!(ran.code() == 69 && ran.err().contains("sentinel init"), "{ran:?}");
    }
}

#[test]
fn a_read_of_a_server_that_breaks_off_never_may_have_been_carried_out() {
    let (server, world) = of_its_own();
    server.pause();
    for command in [&["inspect", "k"][..], &["list"], &["history", "k"]] {
        let reading = world.start(command);
        let ran = reading.ended();
        assert_eq!(ran.code(), 69, "{ran:?}");
        assert!(!ran.err().contains("may have been carried out"), "{ran:?}");
    }
    server.resume();
}

each_store!(without_threads_nothing_runs_and_the_key_is_free);
fn without_threads_nothing_runs_and_the_key_is_free(world: World) {
    // The store's file is made first: it is opened by a thread, too.
    assert_eq!(world.once("other", &[], "true").code(), 0);
    for command in ["once", "lease"] {
        let mut starved = world.command(&[command, "k", "--", "touch", "ran"]);
        // No stack of this size can be had, so no thread starts.
        let ran = starved.env("RUST_MIN_STACK", (1u64 << 60).to_string()).output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(69), "{err}");
        assert!(!err.contains("panicked") && err.contains("thread"), "{err}");
        assert!(!world.path("ran").exists());
        let kind = if command == "once" { "execution" } else { "lease" };
        assert_eq!(world.run(&["inspect", "k", "--kind", kind]).code(), 1, "there is no record");
    }
}

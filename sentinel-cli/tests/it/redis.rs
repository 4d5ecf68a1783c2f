//! What is Redis's own: setting it up, how a server is reached, and one that is not there.

use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, RedisCluster, RedisSentinel};

use crate::broken_server::WAITS;
use crate::unusable_store::{all_refuse, needs_init};
use crate::world::{World, redis, until};

#[test]
fn before_init_every_command_but_doctor_exits_69_and_names_init() {
    let world = World::at_redis(&redis().url());
    needs_init(&world, || redis().cli(&["--scan", "--pattern", &format!("{}:*", world.prefix())]));
}

#[test]
fn init_reports_what_it_did() {
    let world = World::at_redis(&redis().url());
    let first = world.run(&["init", "--json"]).json();
    assert!(first["initialised"] == true && first["registered_again"] == false && first["doubt"].is_null());
    assert_eq!(first["store"], world.store());
    let again = world.run(&["init"]).out();
    assert!(
        again.starts_with("registered again: redis://") && again.contains("nothing was in doubt"),
        "{again}"
    );
    let again = world.run(&["init", "--json"]).json();
    assert!(again["initialised"] == true && again["registered_again"] == true && again["doubt"].is_null());
}

#[test]
fn init_at_once_from_eight_programs_sets_up_one_store() {
    let world = World::at_redis(&redis().url());
    let racing: Vec<_> = (0..8).map(|_| world.start(&["init", "--json"])).collect();
    let ran: Vec<_> = racing.into_iter().map(|one| one.ended()).collect();
    let first = ran.iter().filter(|ran| ran.json()["registered_again"] == false).count();
    assert_eq!(first, 1, "{ran:?}");
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}

#[test]
fn there_is_no_sql_to_print() {
    // Nothing listens there: nothing is asked.
    let world = World::on("redis://me:hunter2@127.0.0.1:1");
    let ran = world.run(&["init", "--print-sql"]);
    assert!(ran.code() == 64 && ran.err().contains("no SQL") && !ran.err().contains("hunter2"), "{ran:?}");
}

#[test]
fn prefix_and_database_separate_the_stores_of_one_server() {
    let server = Redis::start(Options::default());
    let first = World::at_redis(&server.url());
    let second = World::at_redis(&server.url());
    let third = World::on(&first.store().replace('?', "/3?"));
    assert_eq!(first.run(&["init"]).code(), 0);
    for (world, output) in [(&second, "second\n"), (&third, "third\n")] {
        assert_eq!(world.run(&["inspect", "k"]).code(), 69);
        assert_eq!(world.run(&["init", "--json"]).json()["store"], world.store());
        assert_eq!(world.once("k", &[], &format!("echo {}", output.trim())).out(), output);
    }
    assert_eq!(first.once("k", &[], "echo first").out(), "first\n");
}

/// Sets up what is there, and uses it.
#[track_caller]
fn smoke(url: &str) {
    let world = World::on(url);
    let init = world.run(&["init"]);
    assert_eq!(init.code(), 0, "{init:?}");
    for _ in 0..2 {
        assert_eq!(world.once("k", &[], "echo run >> effects; echo done").out(), "done\n");
    }
    assert_eq!(world.read("effects"), "run\n");
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code(), 0, "{doctor:?}");
}

#[test]
fn by_a_socket() {
    smoke(&Redis::start(Options::default()).socket_url());
}

#[test]
fn on_a_cluster() {
    smoke(&RedisCluster::start(3, Options::default()).url());
}

#[test]
fn by_a_sentinel() {
    smoke(&RedisSentinel::start(1, Options::default()).url());
}

#[test]
fn tls_is_built_in() {
    let server = Redis::start(Options::default().tls());
    let authority = server.authority();
    smoke(&format!("{}?sentinel_ca={}", server.url(), authority.display()));
    let stranger = World::on(&server.url());
    all_refuse(&stranger, stranger.store());
}

#[test]
fn a_user_without_rights_gets_an_error() {
    let rules = "~elsewhere:* +@all";
    let server = Redis::start(Options::default().password("secret").acl("app", "hunter2", rules));
    let world = World::on(&server.url());
    assert_eq!(world.run(&["init"]).code(), 0);
    for ran in all_refuse(&world, &server.url_for("app", "hunter2")) {
        assert!(ran.err().contains("NOPERM") && !format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}

#[test]
fn a_wrong_password_is_69_and_not_shown() {
    let server = Redis::start(Options::default().password("secret"));
    let world = World::on(&server.url_for("default", "hunter2"));
    for ran in all_refuse(&world, world.store()) {
        assert!(ran.err().contains("WRONGPASS") && !format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() != 0 && !format!("{doctor:?}").contains("hunter2"), "{doctor:?}");
}

#[test]
fn a_server_that_is_not_there() {
    let world = World::on("redis://me@127.0.0.1:1");
    all_refuse(&world, world.store());
    assert_eq!(world.run(&["doctor"]).code(), 69);
}

#[test]
fn an_empty_page_of_a_store_in_doubt_is_no_answer_to_a_monitor() {
    let server = Redis::start(Options::default().append_fsync(sentinel_testbed::redis::Fsync::EverySecond));
    let world = World::on(&server.url());
    assert_eq!(world.run(&["init"]).code(), 0);
    assert_eq!(world.once("k", &[], "true").code(), 0);
    let open = ["list", "--all-namespaces", "--state", "open"];
    let monitor = || world.run(&[open.as_slice(), &["--fail-if-any"]].concat());
    assert_eq!(monitor().code(), 0);
    server.kill();
    server.start_again();
    let listed = world.run(&open);
    assert!(listed.code() == 0 && listed.err().contains("may lack changes"), "{listed:?}");
    let doubted = monitor();
    assert_eq!(doubted.code(), 69, "{doubted:?}");
    assert_eq!(world.inspect("k")["state"], "completed");
    let registered = world.run(&["init"]);
    assert!(registered.out().contains("it was in doubt"), "{registered:?}");
    assert_eq!(monitor().code(), 0);
}

#[test]
fn an_emptied_server_is_not_taken_for_a_new_one() {
    let server = Redis::start(Options::default());
    let world = World::on(&server.url());
    assert_eq!(world.run(&["init"]).code(), 0);
    assert_eq!(world.once("k", &[], "true").code(), 0);
    server.cli(&["FLUSHALL"]);
    let again = world.once("k", &[], "touch ran");
    assert!(again.code() == 69 && again.err().contains("a store was here"), "{again:?}");
    assert!(!world.path("ran").exists());
    let registered = world.run(&["init"]);
    assert!(registered.out().contains("it was in doubt: a store was here"), "{registered:?}");
}

/// The server refuses the result for a while. The program sends it until it is recorded.
#[test]
fn a_refusal_that_passes_loses_no_result() {
    // What refuses, what ends that, and what the server counts of it. A program that has found a replica only
    // has_store_open again.
    for [refuse, take_again, counted] in [
        ["CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "errorstat_NOREPLICAS"],
        ["REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "cmdstat_config|get"],
        ["ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha", "errorstat_NOPERM"],
    ] {
        let server = Redis::start(Options::default());
        let world = World::on(&server.url());
        assert_eq!(world.run(&["init"]).code(), 0);
        let send = |command: &str| server.cli(&command.split(' ').collect::<Vec<_>>());
        let count = || -> u64 {
            let found = server.info(counted);
            let number = found.split(['=', ',']).nth(1).unwrap_or("0");
            number.parse().unwrap()
        };
        let running = world.start(&["once", "k", "--", "sh", "-c", WAITS]);
        until("it runs", || !world.read("effects").is_empty());
        send(refuse);
        let before = count();
        std::fs::write(world.path("go"), "").unwrap();
        until("the result was refused, and sent again", || count() >= before + 3);
        send(take_again);
        let ran = running.ended();
        assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{refuse}: {ran:?}");
        assert_eq!(world.once("k", &[], "touch ran").out(), "done\n", "{refuse}");
    }
}

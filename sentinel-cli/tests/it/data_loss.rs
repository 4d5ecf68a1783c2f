//! A Redis server that lost data, or may have: nothing runs before an operator has run `init`.

use sentinel_testbed::Redis;
use sentinel_testbed::redis::{Fsync, Options};

use crate::unusable_store::{READS, all_refuse, refuse, refuse_changes};
use crate::world::{World, until};

/// A store that is set up, where the key `k` has run.
fn after_a_run(server: &Redis) -> World {
    let world = World::on(&server.url());
    let init = world.run(&["init"]);
    assert_eq!(init.code(), 0, "{init:?}");
    let ran = world.once("k", &[], "echo run >> effects; echo done");
    assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{ran:?}");
    world
}

/// A server that lost an acknowledged write which the witness file names, and the store on it.
pub(crate) fn in_doubt() -> (Redis, World) {
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    assert_eq!(world.once("last", &[], "echo last >> effects").code(), 0);
    server.kill();
    server.cut_append_only_file(1);
    server.start_again();
    (server, world)
}

/// Kills a server that holds writes back while a sync takes its time, when it holds none.
fn kill_with_all_written(server: &Redis) {
    until("all is written", || server.info("aof_buffer_length") == "0");
    server.kill();
}

/// The result is still there.
#[track_caller]
fn replays(world: &World) {
    let ran = world.once("k", &[], "touch ran");
    assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{ran:?}");
    assert!(!world.path("ran").exists());
}

/// All but `init` are refused, with these words; `doctor` has a finding.
#[track_caller]
fn is_refused(world: &World, words: &[&str]) {
    for ran in refuse(world, world.store()) {
        assert!(words.iter().all(|words| ran.err().contains(words)), "{ran:?}");
    }
    doctor_finds(world, words);
}

/// All that changes something is refused but `init`; what only reads is answered, with these words in a warning.
#[track_caller]
fn is_only_read(world: &World, words: &[&str]) {
    let [inspected, history, listed, purged] = READS.map(|command| {
        let ran = world.run(command);
        assert!(ran.code() == 0 && ran.err().starts_with("sentinel: warning: "), "{ran:?}");
        assert!(words.iter().all(|words| ran.err().contains(words)), "{ran:?}");
        ran.out()
    });
    assert!(inspected.contains("completed") && listed.contains("completed"), "{inspected}{listed}");
    assert_eq!(history.lines().count(), 2, "{history}");
    assert!(purged.contains("would be purged"), "{purged}");
    let story = world.run(&["why", "k"]).out();
    assert!(story.contains("cannot be trusted now") && story.contains("sentinel init"), "{story}");
    assert!(!story.contains("sentinel once") && !story.contains("sentinel settle"), "{story}");
    for ran in refuse_changes(world, world.store()) {
        assert!(words.iter().all(|words| ran.err().contains(words)), "{ran:?}");
    }
    doctor_finds(world, words);
}

#[track_caller]
fn doctor_finds(world: &World, words: &[&str]) {
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 1 && doctor.out().contains("This deployment is refused"), "{doctor:?}");
    assert!(words.iter().all(|words| doctor.out().contains(words)), "{doctor:?}");
}

#[test]
fn a_flushed_server_is_refused() {
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    server.cli(&["FLUSHALL"]);
    is_refused(&world, &["sentinel init", "has lost its records"]);
    assert_eq!(world.read("effects"), "run\n");
}

#[test]
fn a_namespace_that_was_deleted_is_refused() {
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    let keys = server.cli(&["KEYS", "sentinel:{default:*"]);
    assert!(keys.lines().count() >= 5, "{keys}");
    for key in keys.lines() {
        server.cli(&["UNLINK", key]);
    }
    for command in [&["once", "k", "--", "touch", "ran"][..], &["lease", "k", "--", "touch", "ran"]] {
        let ran = world.run(command);
        assert!(ran.code() == 69 && ran.err().contains("has lost its records"), "{ran:?}");
    }
    let listed = world.run(&["list"]);
    assert!(
        listed.code() == 0 && listed.err().contains("warning: the store has lost its records"),
        "{listed:?}"
    );
    assert!(!world.path("ran").exists());
    assert_eq!(world.run(&["doctor"]).code(), 1);
}

#[test]
fn a_server_without_its_append_only_file_is_refused() {
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    server.kill();
    server.forget_append_only_file();
    server.start_again();
    is_refused(&world, &["sentinel init"]);
}

#[test]
fn a_server_without_append_only_file_is_refused() {
    let server = Redis::start(Options::default().append_only(false));
    let world = World::on(&server.url());
    for ran in all_refuse(&world, world.store()) {
        assert!(ran.err().contains("appendonly"), "{ran:?}");
    }
    // The same where it was set up before.
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    server.cli(&["CONFIG", "SET", "appendonly", "no"]);
    for ran in all_refuse(&world, world.store()) {
        assert!(ran.err().contains("appendonly"), "{ran:?}");
    }
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 1 && doctor.out().contains("appendonly yes"), "{doctor:?}");
}

#[test]
fn a_server_that_syncs_each_write_is_used_after_a_crash() {
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    for _ in 0..2 {
        server.kill();
        server.start_again();
        replays(&world);
    }
    assert_eq!(world.run(&["doctor"]).code(), 0);
}

#[test]
fn a_server_that_syncs_every_second_is_only_read_after_a_crash() {
    let server = Redis::start(Options::default().append_fsync(Fsync::EverySecond));
    let world = after_a_run(&server);
    kill_with_all_written(&server);
    server.start_again();
    is_only_read(&world, &["sentinel init"]);
    let again = world.run(&["init"]);
    assert!(again.code() == 0 && again.out().contains("it was in doubt: it was restarted"), "{again:?}");
    replays(&world);
    assert_eq!(world.once("other", &[], "echo other").out(), "other\n");
    assert_eq!(world.run(&["doctor"]).code(), 0);
}

#[test]
fn a_run_across_a_crash_is_recorded_after_init() {
    let server = Redis::start(Options::default().append_fsync(Fsync::EverySecond));
    let world = World::on(&server.url());
    assert_eq!(world.run(&["init"]).code(), 0);
    let script = "echo run >> effects; until [ -e go ]; do sleep 0.05; done; touch ended; echo done";
    let running = world.start(&["once", "k", "--ttl", "5m", "--", "sh", "-c", script]);
    until("it runs", || !world.read("effects").is_empty());
    kill_with_all_written(&server);
    server.start_again();
    std::fs::write(world.path("go"), "").unwrap();
    until("the command has ended", || world.path("ended").exists());
    assert!(world.run(&["inspect", "k"]).err().contains("sentinel init"));
    // An operator has run `init`: the result, which was sent again and again, is recorded.
    assert_eq!(world.run(&["init"]).code(), 0);
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "completed");
}

#[test]
fn a_lost_write_that_the_witness_file_names_is_reported() {
    let (_server, world) = in_doubt();
    is_only_read(&world, &["lost the change", "execution \"last\"", "sentinel init"]);
    assert_eq!(world.read("effects"), "run\nlast\n");
    // Another host, which has no witness file, is refused too by now.
    let elsewhere = World::on(world.store());
    assert_eq!(elsewhere.once("k", &[], "touch ran").code(), 69);

    let again = world.run(&["init", "--json"]).json();
    assert!(again["doubt"].as_str().unwrap().contains("execution \"last\""), "{again}");
    replays(&world);
    assert_eq!(elsewhere.once("k", &[], "touch ran").out(), "done\n");
}

#[test]
fn a_store_is_used_without_a_witness_file() {
    let server = Redis::start(Options::default());
    let world = World::on(&server.url());
    std::fs::write(world.path("state"), "a file where a folder should be").unwrap();
    assert_eq!(world.run(&["init"]).code(), 0);
    assert_eq!(world.once("k", &[], "echo done").out(), "done\n");
    assert_eq!(world.once("k", &[], "touch ran").out(), "done\n");
    assert_eq!(world.run(&["doctor"]).code(), 0);
}

#[test]
fn only_the_user_can_read_the_witness_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Redis::start(Options::default());
    let world = after_a_run(&server);
    let folder = world.path("state/sentinel");
    let notes: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|note| note.unwrap().path()).collect();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    let name = note.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("redis-") && name.ends_with(".witness"), "{name}");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(note)), (0o700, 0o600));
}

//! Replicas.

use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, until};

#[test]
fn a_replica_follows_and_is_promoted() {
    let primary = Redis::start(Options::default().password("it's"));
    primary.cli(&["SET", "before", "1"]);
    let replica = primary.replica(Options::default());
    assert_eq!(replica.cli(&["GET", "before"]), "1");
    assert_eq!(replica.url(), format!("redis://default:it%27s@127.0.0.1:{}", replica.port()));
    assert!(replica.try_cli(&["SET", "mine", "1"]).unwrap_err().starts_with("READONLY"));
    primary.cli(&["SET", "later", "2"]);
    primary.wait_caught_up();
    primary.kill();
    replica.promote();
    assert_eq!(replica.cli(&["MGET", "before", "later"]), "1\n2");
    replica.cli(&["SET", "mine", "3"]);
    // The old primary still has its own data, until it is made to follow.
    primary.start_again();
    assert_eq!((primary.info("role").as_str(), primary.cli(&["GET", "mine"]).as_str()), ("master", ""));
    primary.follow(&replica);
    assert_eq!((primary.info("role").as_str(), primary.cli(&["GET", "mine"]).as_str()), ("slave", "3"));
}

#[test]
fn primary_and_replica_keep_their_roles_after_a_restart() {
    let primary = Redis::start(Options::default());
    let (replica, other) = (primary.replica(Options::default()), primary.replica(Options::default()));
    assert_eq!(primary.info("connected_slaves"), "2");
    replica.stop();
    primary.cli(&["SET", "missed", "1"]);
    replica.start_again();
    replica.wait_linked();
    assert_eq!(replica.cli(&["GET", "missed"]), "1");
    other.promote();
    other.kill();
    other.start_again();
    assert_eq!(other.info("role"), "master");
}

#[test]
fn a_replica_that_must_not_be_stale_starts_without_its_primary() {
    let primary = Redis::start(Options::default());
    let replica = primary.replica(Options::default().setting("replica-serve-stale-data", "no"));
    replica.stop();
    primary.kill();
    replica.start_again();
    assert!(replica.try_cli(&["GET", "key"]).unwrap_err().starts_with("MASTERDOWN"));
}

#[test]
fn a_replica_that_is_still_writing_its_first_file_can_be_stopped() {
    let primary = Redis::start(Options::default());
    primary.cli(&["EVAL", "for i = 1, 500 do redis.call('SET', 'key' .. i, i) end", "0"]);
    let replica = Redis::start(Options::default().setting("rdb-key-save-delay", "1000"));
    replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    until("it has the data", || replica.info("master_link_status") == "up");
    replica.stop();
    assert!(replica.log().contains("Writing initial AOF"), "{}", replica.log());
    replica.start_again();
    assert_eq!(replica.cli(&["DBSIZE"]), "500");
}

#[test]
fn a_replica_that_follows_has_written_what_it_got() {
    let primary = Redis::start(Options::default());
    primary.cli(&["EVAL", "for i = 1, 500 do redis.call('SET', 'key' .. i, i) end", "0"]);
    let replica = primary.replica(Options::default().setting("rdb-key-save-delay", "1000"));
    replica.promote();
    replica.kill();
    replica.start_again();
    assert_eq!(replica.cli(&["DBSIZE"]), "500");
}

#[test]
fn a_paused_replica_falls_behind() {
    let primary = Redis::start(Options::default());
    let replica = primary.replica(Options::default());
    replica.pause();
    primary.cli(&["SET", "later", "1"]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| primary.wait_caught_up());
        until("a client waits", || primary.info("blocked_clients") == "1");
        assert!(!waiting.is_finished());
        replica.resume();
    });
    assert_eq!(replica.cli(&["GET", "later"]), "1");
}

#[test]
#[should_panic(expected = "has no replica")]
fn waiting_for_replicas_of_a_server_without_any_panics() {
    sentinel_testbed::redis().wait_caught_up();
}

#[test]
fn with_tls_a_replica_trusts_its_primary() {
    let primary = Redis::start(Options::default().tls());
    primary.cli(&["SET", "kept", "1"]);
    let replica = primary.replica(Options::default());
    assert!(replica.url().starts_with("rediss://"));
    assert_eq!(replica.cli(&["GET", "kept"]), "1");
}

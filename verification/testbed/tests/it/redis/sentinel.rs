//! Servers under the watch of sentinels.

use sentinel_testbed::RedisSentinel;
use sentinel_testbed::redis::Options;

#[test]
fn a_requested_failover_swaps_the_servers() {
    let watched = RedisSentinel::start(1, Options::default());
    let (one, other) = (watched.master(), watched.replica());
    let port = watched.sentinels()[0].port();
    assert_eq!(watched.url(), format!("redis-sentinel://127.0.0.1:{port}?sentinelServiceName=testbed"));
    assert!(other.try_cli(&["SET", "mine", "1"]).unwrap_err().starts_with("READONLY"));
    one.cli(&["SET", "kept", "1"]);
    one.wait_caught_up();
    watched.failover();
    assert_eq!((watched.master().port(), watched.replica().port()), (other.port(), one.port()));
    assert_eq!((other.cli(&["GET", "kept"]), other.cli(&["SET", "mine", "1"])), ("1".into(), "OK".into()));
}

#[test]
fn a_killed_primary_is_replaced_and_returns_as_a_replica() {
    let watched = RedisSentinel::start(3, Options::default().password("secret"));
    let ports: Vec<u16> = watched.sentinels().iter().map(|sentinel| sentinel.port()).collect();
    let url = format!("redis-sentinel://default:secret@127.0.0.1:{}?node=127.0.0.1:{}", ports[0], ports[1]);
    assert_eq!(watched.url(), format!("{url}&node=127.0.0.1:{}&sentinelServiceName=testbed", ports[2]));
    let (old, new) = (watched.master(), watched.replica());
    // Two of three are enough.
    watched.sentinels()[2].kill();
    old.kill();
    watched.wait_promoted(new);
    assert_eq!((watched.master().port(), new.cli(&["SET", "later", "1"])), (new.port(), "OK".into()));
    old.start_again();
    old.wait_linked();
    assert_eq!(old.cli(&["GET", "later"]), "1");
    watched.sentinels()[2].start_again();
    watched.wait_promoted(new);
}

#[test]
fn with_tls_sentinels_connect_by_tls() {
    let watched = RedisSentinel::start(1, Options::default().tls());
    let new = watched.replica();
    watched.failover();
    assert_eq!(watched.master().port(), new.port());
    assert!(watched.url().starts_with("rediss-sentinel://"));
}

#[test]
#[should_panic(expected = "a sentinel forgets to quote the password \"it's\"")]
fn a_password_that_a_sentinel_would_lose_is_refused() {
    RedisSentinel::start(1, Options::default().password("it's"));
}

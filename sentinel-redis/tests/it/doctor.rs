//! What `doctor` reports about a server, and what `open` refuses.

use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::store::Health;
use sentinel_core::{Address, CoordinationStore as _, ErrorKind, Key, Namespace, StoreError};
use sentinel_redis::{Durability, RedisStore, RedisStoreBuilder};
use sentinel_store_tests::fixtures::found;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::{Fsync, Options};

use crate::access::documented_rules;
use crate::deployments::run_and_replay;

#[track_caller]
fn is_bad(health: &Health, name: &str, words: &str) {
    let check = found(health, name);
    assert!(!check.ok && check.found.contains(words) && !health.accepted, "{health:?}");
    assert!(health.guarantees.is_empty());
}

#[track_caller]
fn assert_finding(health: &Health, name: &str, words: &str) {
    let check = found(health, name);
    assert!(check.ok && check.found.contains(words) && health.accepted, "{health:?}");
}

fn refused<T: std::fmt::Debug>(reply: Result<T, StoreError>, words: &str) {
    let error = reply.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeploymentRefused, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

fn start(options: Options) -> (Redis, RedisStoreBuilder) {
    let server = Redis::start(options);
    let builder = RedisStore::builder(&server.url()).recheck_interval(Duration::ZERO);
    (server, builder)
}

/// Nothing of it is left on the server.
#[track_caller]
fn left_nothing(server: &Redis) {
    assert_eq!(server.cli(&["KEYS", "*"]), "");
}

#[tokio::test]
async fn doctor_lists_the_guarantees_of_a_durable_server() {
    let (server, builder) = start(Options::default());
    let before = builder.clone().health().await.unwrap();
    is_bad(&before, "store", "run `sentinel init`");
    left_nothing(&server);
    let store = builder.clone().init().await.unwrap();
    let health = store.health().await.unwrap();
    assert_eq!(health.deployment, "Redis standalone, AOF always, noeviction");
    assert!(health.accepted && health.checks.iter().all(|check| check.ok), "{health:?}");
    assert!(health.guarantees.iter().any(|text| text.contains("does not disappear")), "{health:?}");
    let keys = ["{sentinel}:root", "{sentinel}:namespaces", "{sentinel}:armed"];
    assert!(server.cli(&["KEYS", "*"]).lines().all(|key| keys.iter().any(|known| key.ends_with(known))));
    for (name, words) in [
        ("version", "Redis 7"),
        ("role", "master"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("replicas", "none"),
        ("store", "\"sentinel\", buckets: 1, registered as always"),
        ("identity", "as registered"),
        ("markers", "0 namespaces"),
        ("user", "default"),
        ("encryption", "none"),
        ("clock", "this host's"),
        ("round trip", "s"),
    ] {
        assert_finding(&health, name, words);
    }
}

#[tokio::test]
async fn a_lossy_deployment_is_refused_unless_allowed() {
    let lossy = [
        ("maxmemory-policy", "allkeys-lru", "noeviction", "set noeviction"),
        ("appendonly", "no", "yes", "set appendonly yes"),
        ("appendfsync", "no", "always", "set everysec or always"),
    ];
    let (server, builder) = start(Options::default());
    let store = builder.clone().init().await.unwrap();
    for (setting, bad, good, remedy) in lossy {
        run_and_replay(&Sentinel::new(store.clone()), &format!("before {setting}")).await;
        server.cli(&["CONFIG", "SET", setting, bad]);
        let health = store.health().await.unwrap();
        is_bad(&health, setting, remedy);
        assert_eq!(health.deployment, "Redis, with settings that lose what was acknowledged");
        // A store that is in use finds it out by itself.
        refused(store.inspect(&address()).await, remedy);
        refused(builder.clone().open().await, remedy);
        refused(builder.clone().init().await, remedy);
        let health = builder.clone().allow_lossy(true).health().await.unwrap();
        assert!(health.accepted && !found(&health, setting).ok, "{health:?}");
        assert!(health.guarantees.iter().any(|text| text.contains("without any report")), "{health:?}");
        assert!(found(&health, setting).found.contains("allowed"), "{health:?}");
        server.cli(&["CONFIG", "SET", setting, good]);
    }
    run_and_replay(&Sentinel::new(store), "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_during_setup_waits_or_finds_the_store() {
    let (server, _) = start(Options::default());
    for round in 0..20 {
        let builder = RedisStore::builder(&server.url()).key_prefix(format!("round-{round}"));
        let come = |n: usize, builder: RedisStoreBuilder| async move {
            let store = loop {
                match if n.is_multiple_of(4) {
                    builder.clone().init().await
                } else {
                    builder.clone().open().await
                } {
                    Err(error) if error.kind() == ErrorKind::NotInitialised => {}
                    store => break store.unwrap(),
                }
            };
            run_and_replay(&Sentinel::new(store), &format!("key-{n}")).await;
        };
        let all = (0..8).map(|n| tokio::spawn(come(n, builder.clone())));
        for one in futures_util::future::join_all(all).await {
            one.unwrap();
        }
    }
}

fn address() -> Address {
    Address::execution(Namespace::new("default").unwrap(), Key::new("k").unwrap())
}

#[tokio::test]
async fn doctor_reports_what_everysec_may_lose() {
    let (_server, builder) = start(Options::default().append_fsync(Fsync::EverySecond));
    let health = builder.init().await.unwrap().health().await.unwrap();
    assert_eq!(health.deployment, "Redis standalone, AOF everysec, noeviction");
    assert_finding(&health, "appendfsync", "two seconds");
    assert!(health.guarantees.iter().any(|text| text.contains("two seconds")), "{health:?}");
}

#[tokio::test]
async fn doctor_reports_a_restart_and_a_doubt() {
    let (server, builder) = start(Options::default());
    builder.clone().init().await.unwrap();
    server.stop();
    server.start_again();
    assert_finding(&builder.clone().health().await.unwrap(), "identity", "it keeps all that it acknowledges");
    builder.clone().open().await.unwrap();
    assert_finding(&builder.clone().health().await.unwrap(), "identity", "as registered");
    server.stop();
    server.start_again_with(&[("appendfsync", "everysec")]);
    is_bad(&builder.clone().health().await.unwrap(), "identity", "restarted, promoted");
    assert_finding(&builder.clone().allow_lossy(true).health().await.unwrap(), "identity", "allowed");
    server.cli(&["HSET", "sentinel:{sentinel}:root", "doubt", "the change 7 is missing"]);
    is_bad(&builder.clone().health().await.unwrap(), "identity", "in doubt: the change 7 is missing");
    builder.clone().init().await.unwrap();
    assert_finding(&builder.health().await.unwrap(), "identity", "as registered");
}

#[tokio::test]
async fn doctor_reports_a_lost_marker() {
    let (server, builder) = start(Options::default());
    let store = builder.init().await.unwrap();
    run_and_replay(&Sentinel::new(store.clone()), "k").await;
    assert_finding(&store.health().await.unwrap(), "markers", "1 namespaces");
    server.cli(&["DEL", "sentinel:{default:0}:marker"]);
    is_bad(&store.health().await.unwrap(), "markers", "a part of namespace \"default\" has none");
    server.cli(&["HSET", "sentinel:{sentinel}:root", "format", "9"]);
    is_bad(&store.health().await.unwrap(), "store", "newer");
}

#[tokio::test]
async fn doctor_counts_replicas_and_refuses_a_replica() {
    let (primary, builder) = start(Options::default());
    let waiting = builder.clone().durability(Durability::Replicas(1));
    builder.clone().init().await.unwrap();
    let health = waiting.clone().health().await.unwrap();
    let none = found(&health, "replicas");
    assert!(!none.ok && none.found.contains("0 connected, and 1 have to confirm"), "{health:?}");
    let replica = primary.replica(Options::default());
    // With its first replica, a server begins a new history.
    is_bad(&waiting.clone().health().await.unwrap(), "identity", "first followed by a replica");
    let health = waiting.clone().init().await.unwrap().health().await.unwrap();
    assert_eq!(health.deployment, "Redis with replicas");
    assert_finding(&health, "replicas", "1 connected");
    assert_finding(&health, "replica", &format!("127.0.0.1:{} is online", replica.port()));
    replica.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let health = waiting.clone().health().await.unwrap();
    let found = found(&health, "replica");
    assert!(!found.ok && found.found.contains("would be refused if it took over"), "{health:?}");
    assert!(health.accepted, "the master is as it should be");
    replica.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(health.guarantees.iter().any(|text| text.contains("with 1 replicas")), "{health:?}");
    primary.wait_caught_up();
    refused(RedisStore::connect(&replica.url()).await, "replica");
    let health = RedisStore::builder(&replica.url()).health().await.unwrap();
    assert_eq!(health.deployment, "Redis, a replica: use its master");
    is_bad(&health, "role", &format!("127.0.0.1:{}", primary.port()));
}

#[tokio::test]
async fn the_documented_rules_suffice_and_each_is_needed() {
    let rules = documented_rules();
    let server = Redis::start(Options::default().acl("app", "secret", &rules));
    let builder = RedisStore::builder(&server.url_for("app", "secret"));
    let store = builder.clone().init().await.unwrap();
    assert_finding(&store.health().await.unwrap(), "user", "app");
    for rule in rules.split(' ').filter(|rule| rule.starts_with(['+', '~', '&'])) {
        let without = match rule.strip_prefix('+') {
            Some(right) => format!("-{right}"),
            None if rule.starts_with('~') => "resetkeys".to_owned(),
            None => "resetchannels".to_owned(),
        };
        server.cli(&["ACL", "SETUSER", "app", &without]);
        is_bad(&store.health().await.unwrap(), "user", &format!(" {rule}"));
        server.cli(&["ACL", "SETUSER", "app", rule]);
    }
    assert_finding(&store.health().await.unwrap(), "user", "app");
    let health = builder.clone().durability(Durability::Replicas(1)).health().await.unwrap();
    is_bad(&health, "user", "lacks +wait;");
    assert_finding(&store.health().await.unwrap(), "appendfsync", "treated as everysec");
    server.cli(&["ACL", "SETUSER", "app", "+config|get"]);
    assert_finding(&store.health().await.unwrap(), "appendfsync", "always");
}

//! How a server and a record are reached: a socket, a password, another database, sentinels, a bucket.

use sentinel_client::Sentinel;
use sentinel_core::ErrorKind;
use sentinel_core::operation::Phase;
use sentinel_redis::RedisStore;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, RedisSentinel};

use crate::deployments::run_and_replay;
use crate::faults::{execution, hold};

/// Sets a store up, and uses it as another process would find it.
async fn smoke(url: &str, key: &str) {
    RedisStore::init(url).await.unwrap();
    run_and_replay(&Sentinel::new(RedisStore::connect(url).await.unwrap()), key).await;
}

#[tokio::test]
async fn through_a_unix_socket() {
    let server = Redis::start(Options::default());
    smoke(&server.socket_url(), "k").await;
    assert_eq!(server.cli(&["EXISTS", "sentinel:{sentinel}:root"]), "1");
}

#[tokio::test]
async fn with_a_password_of_any_characters() {
    let server = Redis::start(Options::default().password("s3cr t@:/?#%&=\"'"));
    smoke(&server.url(), "by tcp").await;
    smoke(&server.socket_url(), "by socket").await;
}

#[tokio::test]
async fn a_wrong_password_is_not_shown() {
    let server = Redis::start(Options::default().password("secret"));
    for user in ["", "default:hunter2@"] {
        let url = format!("redis://{user}127.0.0.1:{}", server.port());
        let error = RedisStore::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn in_another_database() {
    let server = Redis::start(Options::default());
    smoke(&format!("{}/3", server.url()), "k").await;
    assert_eq!(server.cli(&["-n", "3", "EXISTS", "sentinel:{sentinel}:root"]), "1");
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    let error = RedisStore::connect(&server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");
}

#[tokio::test]
async fn through_sentinels_after_a_failover() {
    let watched = RedisSentinel::start(1, Options::default());
    smoke(&watched.url(), "before").await;
    let store = RedisStore::connect(&watched.url()).await.unwrap();
    run_and_replay(&Sentinel::new(store.clone()), "between").await;
    watched.master().wait_caught_up();
    let old = watched.master();
    old.kill();
    watched.wait_promoted(watched.replica());
    let error = RedisStore::connect(&watched.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PossibleDataLoss, "{error}");
    smoke(&watched.url(), "after").await;
    run_and_replay(&Sentinel::new(store), "by who was there").await;
}

/// Where a process of another release finds it.
#[tokio::test]
async fn a_record_is_in_the_bucket_of_its_key() {
    let server = Redis::start(Options::default());
    let store = RedisStore::builder(&server.url()).buckets(16).init().await.unwrap();
    hold(&store, &execution("invoice-7"), Phase::Executing).await;
    assert_eq!(server.cli(&["KEYS", "*:r:*"]), "sentinel:{tests:14}:r:e:invoice-7");
}

//! TLS, where the crate is built with it.

use std::sync::OnceLock;

use sentinel_client::Sentinel;
use sentinel_core::{Applied, CoordinationStore as _, ErrorKind};
use sentinel_redis::{RedisStore, RedisStoreBuilder};
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

use crate::access::documented_rules;
use crate::deployments::run_and_replay;

/// A user who may do what the documentation lists, and nothing else.
pub(crate) fn limited() -> RedisStoreBuilder {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    let options = || Options::default().tls().acl("app", "secret", &documented_rules());
    let server = SERVER.get_or_init(|| Redis::start(options()));
    RedisStore::builder(&server.url_for("app", "secret")).ca_file(server.authority())
}

#[tokio::test]
async fn the_connection_is_encrypted() {
    let server = Redis::start(Options::default().tls());
    let url = format!("{}?sentinel_ca={}", server.url(), server.authority().display());
    let store = RedisStore::init(&url).await.unwrap();
    let health = store.health().await.unwrap();
    let encryption = health.checks.iter().find(|check| check.name == "encryption").unwrap();
    assert_eq!((encryption.ok, encryption.found.as_str()), (true, "TLS"));
    run_and_replay(&Sentinel::new(store), "k").await;
}

#[tokio::test]
async fn a_server_with_a_certificate_of_another_authority_is_sent_nothing() {
    let (server, other) = (Redis::start(Options::default().tls()), Redis::start(Options::default().tls()));
    let error = RedisStore::builder(&server.url()).ca_file(other.authority()).init().await.unwrap_err();
    assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::Unreachable), "{error}");
    assert!(error.to_string().contains("InvalidCertificate"), "{error}");
    assert_eq!(server.cli(&["KEYS", "*"]), "");
}

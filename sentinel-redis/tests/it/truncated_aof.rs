//! A file that was cut within a transaction. Redis leaves the transaction open, and drops at the next start what was
//! written behind it: a server that has lost nothing acknowledged would lose it then.

use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, ErrorKind, Grant, State};
use sentinel_redis::{RedisStore, RedisStoreBuilder};
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, RedisCluster};

use crate::faults::*;

/// Crashes with half of the last transaction in the file.
fn crash(server: &Redis) {
    server.kill();
    // The end of what ends it.
    server.cut_append_only_file(5);
    server.start_again();
    assert!(server.log().contains("Truncating the AOF"), "{}", server.log());
    assert!(
        !server.log().contains("Revert incomplete MULTI/EXEC"),
        "this Redis repairs it: {}",
        server.log()
    );
}

/// Two claims, the second of which is the last that the server has written.
async fn two_claims(store: &RedisStore) -> (Address, Grant) {
    let address = execution("known");
    let grant = hold(store, &address, Phase::Claimed).await;
    hold(store, &execution("lost"), Phase::Claimed).await;
    (address, grant)
}

async fn has_begun(store: &RedisStore, address: &Address) {
    let record = store.inspect(address).await.unwrap().record.unwrap();
    assert_eq!(record.state, State::Executing, "its worker has a reply that it has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_after_a_truncated_transaction_are_kept() {
    let server = Redis::start(Options::default());
    let (address, grant) = two_claims(&RedisStore::init(&server.url()).await.unwrap()).await;
    crash(&server);
    // A server that loses nothing: a client that does not know of the other claim trusts it again.
    let store = RedisStore::connect(&server.url()).await.unwrap();
    store.begin(&address, &Begin { grant }).await.unwrap();
    server.kill();
    server.start_again();
    has_begun(&store, &address).await;
    has_begun(&RedisStore::connect(&server.url()).await.unwrap(), &address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_recorded_after_a_truncated_transaction_is_kept() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    let (address, grant) = two_claims(&store).await;
    crash(&server);
    is_not_applied(store.inspect(&address).await, ErrorKind::PossibleDataLoss);
    server.kill();
    server.start_again();
    new_client_is_refused_with(&server.url(), ErrorKind::PossibleDataLoss).await;
    let registered = RedisStore::init(&server.url()).await.unwrap();
    registered.begin(&address, &Begin { grant }).await.unwrap();
    server.kill();
    server.start_again();
    has_begun(&RedisStore::connect(&server.url()).await.unwrap(), &address).await;
}

/// A store in a cluster of two, with its only bucket on one of them and its root on the other.
fn apart(cluster: &RedisCluster) -> (RedisStoreBuilder, &Redis) {
    let side = |key: &str| usize::from(cluster.slot(key) >= 8192);
    let bucket = side("{tests:0}");
    let prefix = (0..).map(|n| format!("apart-{n}")).find(|prefix| side(&format!("{{{prefix}}}")) != bucket);
    let builder = RedisStore::builder(&cluster.url()).key_prefix(prefix.unwrap()).buckets(1);
    (builder, &cluster.nodes()[bucket])
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_ends_truncated_transactions_on_each_server_of_a_cluster() {
    let cluster = RedisCluster::start(2, Options::default());
    let (builder, node) = apart(&cluster);
    let (address, grant) = two_claims(&builder.clone().init().await.unwrap()).await;
    crash(node);
    cluster.wait_ok();
    let store = builder.clone().init().await.unwrap();
    store.begin(&address, &Begin { grant }).await.unwrap();
    node.kill();
    node.start_again();
    cluster.wait_ok();
    has_begun(&builder.init().await.unwrap(), &address).await;
}

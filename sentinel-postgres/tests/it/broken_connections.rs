//! Networks with small packets or with connections that break, and callers that are dropped.

use std::sync::Arc;

use sentinel_conformance::dropped_at_any_poll;
use sentinel_postgres::PostgresStore;
use sentinel_store_tests::broken_connections;
use sentinel_testbed::{Proxy, postgres};

use crate::harness::Fixture;

/// A proxy before the shared server, and the URL through it.
fn proxied() -> (Proxy, String) {
    let proxy = Proxy::start(postgres().port());
    let url = postgres().url_at(proxy.port(), postgres::SUPERUSER, postgres::PASSWORD, "postgres");
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packets_are_no_error() {
    let (proxy, url) = proxied();
    PostgresStore::builder(&postgres().url()).schema("packets").init().await.unwrap();
    let store = PostgresStore::builder(&url).schema("packets").open().await.unwrap();
    broken_connections::small_packets_are_no_error(&proxy, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_takes_effect_once_wherever_its_connection_breaks() {
    let fixture = Fixture::open("cut", |builder| builder).await;
    let (proxy, url) = proxied();
    let store = fixture.reached_by(&url).await;
    broken_connections::every_operation_takes_effect_once(Arc::new(fixture), &proxy, &store).await;
}

#[tokio::test]
async fn dropped_callers_leave_no_transaction_no_lock_and_no_connection_behind() {
    let fixture = Fixture::open("dropped", |builder| builder).await;
    let mut stranger = fixture.stranger().await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        dropped_at_any_poll(Arc::new(fixture.clone())).await;
        // What was dropped last is still carried out.
        stranger.until(&fixture.connections("state <> 'idle'"), |busy| busy == 0).await;
        let locks = fixture.connections("pid IN (SELECT pid FROM pg_locks)");
        assert_eq!(stranger.number(&locks).await, 0, "a lock is held");
        connections.push(stranger.number(&fixture.connections("true")).await);
    }
    assert!(connections[1] <= connections[0], "connections are lost: {connections:?}");
}

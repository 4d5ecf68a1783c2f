//! Small packets, connections that break, and callers that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::{DynHarness, dropped_at_any_poll};
use sentinel_core::CoordinationStore;
use sentinel_redis::RedisStore;
use sentinel_store_tests::broken_connections;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Proxy, Redis};

use crate::faults::{complete, execution, fused, granted, result};

/// A store behind a proxy.
struct ProxiedStore {
    proxy: Proxy,
    store: RedisStore,
}

/// A store beside it, on the same clock.
struct Beside {
    store: RedisStore,
    offset: Arc<AtomicI64>,
}

#[async_trait]
impl DynHarness for Beside {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    async fn set_back(&self, _: Duration) -> bool {
        false
    }
}

async fn fixture() -> (Redis, Beside, ProxiedStore) {
    let server = Redis::start(Options::default());
    let offset = Arc::new(AtomicI64::new(0));
    let beside = RedisStore::builder(&server.url()).clock_offset(offset.clone());
    let beside = Beside { store: beside.init().await.unwrap(), offset: offset.clone() };
    let proxy = Proxy::start(server.port());
    // A connection attempt that was interrupted is soon given up.
    let behind = RedisStore::builder(&server.url_at(proxy.port()))
        .clock_offset(offset)
        .deadline(Duration::from_secs(2));
    let store = behind.open().await.unwrap();
    (server, beside, ProxiedStore { proxy, store })
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packets_are_no_error() {
    let (_server, _, ProxiedStore { proxy, store }) = fixture().await;
    broken_connections::small_packets_are_no_error(&proxy, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_takes_effect_once_wherever_its_connection_breaks() {
    let (_server, beside, ProxiedStore { proxy, store }) = fixture().await;
    broken_connections::every_operation_takes_effect_once(Arc::new(beside), &proxy, &store).await;
}

#[tokio::test]
async fn callers_who_go_away_leave_every_connection_as_it_was() {
    let (server, beside, ProxiedStore { proxy, store }) = fixture().await;
    let bench: Arc<dyn DynHarness> = Arc::new(Beside { store: store.clone(), offset: beside.offset });
    let mut connections = Vec::new();
    for _ in 0..2 {
        dropped_at_any_poll(bench.clone()).await;
        connections.push(proxy.accepted());
    }
    assert_eq!(connections[1], connections[0], "connections were given up");
    // Each connection replies to its own request, and not to that of a caller that went away.
    let asked = (0..100).map(|n| {
        let (store, address, claim) = (store.clone(), execution(&n.to_string()), fused());
        async move {
            let grant = granted(&claim, &store.claim(&address, &claim).await.unwrap().reply);
            store.complete(&address, &complete(grant, &n.to_string())).await.unwrap();
            let record = store.inspect(&address).await.unwrap().record.unwrap();
            assert_eq!(record.result, Some(result(&n.to_string())));
        }
    });
    futures_util::future::join_all(asked).await;
    assert_eq!(server.info("blocked_clients"), "0");
}

//! Networks with small packets or with connections that break, and callers that are dropped.

use std::sync::Arc;

use sentinel_conformance::{Leg, Way, cut_at_any_byte, dropped_at_any_poll};
use sentinel_core::CoordinationStore as _;
use sentinel_core::operation::{ClaimReply, Phase};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::{Direction, Proxy, postgres};

use crate::fixtures::{call, complete, execution, granted};
use crate::harness::Fixture;

const SCHEMA: &str = "wire";

/// A store behind a proxy.
struct Behind {
    proxy: Proxy,
    store: PostgresStore,
}

async fn behind() -> Behind {
    PostgresStore::builder(&postgres().url()).schema(SCHEMA).init().await.unwrap();
    let proxy = Proxy::start(postgres().port());
    let url = postgres().url_at(proxy.port(), "postgres", "testbed", "postgres");
    Behind { store: PostgresStore::builder(&url).schema(SCHEMA).open().await.unwrap(), proxy }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_packets_are_no_fault() {
    let Behind { proxy, store } = behind().await;
    proxy.requests().slice(7);
    proxy.replies().slice(5);
    let (address, claim) = (execution("small packets"), call(Phase::Executing));
    let grant = granted(&claim, &store.claim(&address, &claim).await.unwrap().reply);
    let long = "a receipt ".repeat(1_000);
    store.complete(&address, &complete(grant, &long)).await.unwrap();
    let replayed = store.claim(&address, &call(Phase::Executing)).await.unwrap().reply;
    assert!(
        matches!(replayed, ClaimReply::Completed { result, .. } if result == crate::fixtures::result(&long))
    );
}

/// A proxy, as the suite breaks it.
struct Cutting<'a>(&'a Proxy);

impl Cutting<'_> {
    fn of(&self, leg: Leg) -> &Direction {
        match leg {
            Leg::Requests => self.0.requests(),
            Leg::Replies => self.0.replies(),
        }
    }
}

impl Way for Cutting<'_> {
    fn passed(&self, leg: Leg) -> u64 {
        self.of(leg).passed()
    }

    fn cut_after(&self, leg: Leg, bytes: u64) {
        self.of(leg).cut_after(bytes);
    }

    fn heal(&self) {
        self.0.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_takes_effect_once_wherever_its_connection_breaks() {
    let fixture = Fixture::open("cut", |builder| builder).await;
    let proxy = Proxy::start(postgres().port());
    let store = fixture.by_way_of(&postgres().url_at(proxy.port(), "postgres", "testbed", "postgres")).await;
    let cuts = cut_at_any_byte(Arc::new(fixture), &store, &Cutting(&proxy)).await;
    println!("{cuts:?}");
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

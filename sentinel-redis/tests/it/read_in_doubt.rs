//! An operator reads what a store in doubt still holds, before deciding. Nothing is changed meanwhile.

use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge};
use sentinel_core::{
    Address, CoordinationStore as _, ErrorKind, Grant, Kind, Namespace, State, StoreError, Survey as _,
};
use sentinel_redis::{RedisStore, RedisStoreBuilder};
use sentinel_testbed::Redis;
use sentinel_testbed::redis::{Fsync, Options};

use crate::faults::*;
use crate::promotion::{Fixture, until_reached};

fn reader(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url).read_in_doubt(true)
}

fn all_of(address: &Address) -> List {
    let namespace = address.namespace.clone();
    List { namespace, kind: Kind::Execution, state: None, after: None, limit: 9 }
}

/// Every read of one record and of its namespace is answered, and the store reports this doubt after each of them.
async fn all_is_read(store: &RedisStore, address: &Address, error_kind: ErrorKind) {
    let in_doubt = || assert_eq!(store.doubt().map(|why| why.kind()), Some(error_kind));
    let found = until_reached(|| store.inspect(address)).await.unwrap();
    assert_eq!(found.record.map(|record| record.state), Some(State::Executing));
    in_doubt();
    assert_eq!(store.history(address, 9).await.unwrap().len(), 1);
    in_doubt();
    let listed = store.list(&all_of(address)).await.unwrap().records;
    assert_eq!(listed.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&address.key]);
    in_doubt();
    let dry = Purge { namespace: address.namespace.clone(), limit: 9, dry_run: true };
    assert_eq!(store.purge(&dry).await.unwrap().records, 0);
    in_doubt();
    assert_eq!(store.namespaces(None, 9).await.unwrap(), std::slice::from_ref(&address.namespace));
    in_doubt();
}

/// Every change is refused, so is a purge that deletes.
async fn nothing_is_changed(store: &RedisStore, address: &Address, grant: Grant, error_kind: ErrorKind) {
    let before = store.inspect(address).await.unwrap().record;
    is_not_applied(store.claim(address, &fused()).await, error_kind);
    is_not_applied(store.complete(address, &complete(grant, "done")).await, error_kind);
    is_not_applied(store.abandon(address, &abandon(grant)).await, error_kind);
    is_not_applied(store.cancel(address, &Cancel { claim_id: grant.claim_id }).await, error_kind);
    is_not_applied(store.release(address, &Release { grant, vouched: true }).await, error_kind);
    is_not_applied(store.reconcile(address, &reconcile(grant.token)).await, error_kind);
    let beat = Beat { address: address.clone(), grant };
    is_not_applied(until_reached(|| store.heartbeat(std::slice::from_ref(&beat))).await, error_kind);
    let purge = Purge { namespace: address.namespace.clone(), limit: 9, dry_run: false };
    is_not_applied(store.purge(&purge).await, error_kind);
    assert_eq!(store.inspect(address).await.unwrap().record, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_can_be_read_in_doubt() {
    let fixture = Fixture::open().await;
    let running = reader(&fixture.url()).open().await.unwrap();
    assert!(running.inspect(&execution("known")).await.unwrap().record.is_some());
    assert!(running.doubt().is_none(), "{:?}", running.doubt());
    fixture.acknowledged_by_the_primary_alone("lost").await;
    fixture.promote();
    let new_client = until_reached(|| reader(&fixture.url()).open()).await.unwrap();
    for store in [&running, &new_client] {
        all_is_read(store, &execution("known"), ErrorKind::PossibleDataLoss).await;
        let lost = store.inspect(&execution("lost")).await.unwrap().record;
        assert_eq!(lost, None, "the operator sees what is missing");
        nothing_is_changed(store, &execution("known"), fixture.known, ErrorKind::PossibleDataLoss).await;
    }
    is_not_applied(fixture.store.inspect(&execution("known")).await, ErrorKind::PossibleDataLoss);
    is_not_applied(fixture.store.namespaces(None, 9).await, ErrorKind::PossibleDataLoss);
    drop(RedisStore::init(&fixture.url()).await.unwrap());
    for store in [&running, &new_client] {
        assert!(store.inspect(&execution("known")).await.unwrap().record.is_some());
        assert!(store.doubt().is_none(), "{:?}", store.doubt());
    }
    hold(&new_client, &execution("lost"), Phase::Executing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_can_be_read_in_doubt() {
    let server = Redis::start(Options::default().append_fsync(Fsync::EverySecond));
    let store = RedisStore::init(&server.url()).await.unwrap();
    let grant = hold(&store, &execution("known"), Phase::Executing).await;
    server.stop();
    server.start_again();
    let reader = reader(&server.url()).open().await.unwrap();
    let words = reader.doubt().expect("it is in doubt").to_string();
    assert!(words.contains("restarted or promoted") && words.contains("sentinel init"), "{words}");
    all_is_read(&reader, &execution("known"), ErrorKind::PossibleDataLoss).await;
    nothing_is_changed(&reader, &execution("known"), grant, ErrorKind::PossibleDataLoss).await;
}

/// A replay rests on the same data: it is refused as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_result_is_replayed_in_doubt() {
    let server = Redis::start(Options::default().append_fsync(Fsync::EverySecond));
    let store = reader(&server.url()).init().await.unwrap();
    let grant = hold(&store, &execution("known"), Phase::Executing).await;
    store.complete(&execution("known"), &complete(grant, "done")).await.unwrap();
    let again = async || store.claim(&execution("known"), &fused()).await;
    assert!(matches!(again().await.unwrap().reply, ClaimReply::Completed { .. }));
    server.stop();
    server.start_again();
    is_not_applied(until_reached(again).await, ErrorKind::PossibleDataLoss);
}

#[tokio::test]
async fn the_rest_of_a_bucket_without_its_marker_can_be_read_in_doubt() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    let grant = hold(&store, &execution("known"), Phase::Executing).await;
    assert_eq!(server.cli(&["DEL", "sentinel:{tests:0}:marker"]), "1");
    let reader = reader(&server.url()).open().await.unwrap();
    all_is_read(&reader, &execution("known"), ErrorKind::DataLoss).await;
    nothing_is_changed(&reader, &execution("known"), grant, ErrorKind::DataLoss).await;
    let elsewhere = Address { namespace: Namespace::new("elsewhere").unwrap(), ..execution("known") };
    assert_eq!(reader.list(&all_of(&elsewhere)).await.unwrap().records, []);
    assert!(reader.doubt().is_some(), "another part is well, and this one is not");
    drop(RedisStore::init(&server.url()).await.unwrap());
    assert!(reader.inspect(&execution("known")).await.unwrap().record.is_some());
    assert!(until_checked_again(&reader).await.is_none());
}

/// The doubt that remains after the deployment was checked again.
async fn until_checked_again(store: &RedisStore) -> Option<StoreError> {
    a_while_later().await;
    store.inspect(&execution("known")).await.unwrap();
    store.doubt()
}

/// Reading a namespace with a mistyped name creates nothing.
#[tokio::test(flavor = "multi_thread")]
async fn reading_an_unused_namespace_does_not_create_it() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    hold(&store, &execution("known"), Phase::Executing).await;
    let before = server.cli(&["DBSIZE"]);
    let typo = Address { namespace: Namespace::new("typo").unwrap(), ..execution("known") };
    assert_eq!(store.inspect(&typo).await.unwrap().record, None);
    assert_eq!(store.history(&typo, 9).await.unwrap(), []);
    assert_eq!(store.list(&all_of(&typo)).await.unwrap().records, []);
    let dry = Purge { namespace: typo.namespace.clone(), limit: 9, dry_run: true };
    assert_eq!(store.purge(&dry).await.unwrap().records, 0);
    assert_eq!(server.cli(&["DBSIZE"]), before);
    assert_eq!(store.namespaces(None, 9).await.unwrap(), [execution("known").namespace]);
    assert!(store.doubt().is_none());
    hold(&store, &typo, Phase::Executing).await;
    assert!(store.inspect(&typo).await.unwrap().record.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_store_cannot_be_read_in_doubt() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    hold(&store, &execution("known"), Phase::Executing).await;
    let running = reader(&server.url()).open().await.unwrap();
    running.inspect(&execution("known")).await.unwrap();
    server.cli(&["FLUSHALL"]);
    is_not_applied(running.inspect(&execution("known")).await, ErrorKind::DataLoss);
    is_not_applied(reader(&server.url()).open().await, ErrorKind::NotInitialised);
}

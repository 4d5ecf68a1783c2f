//! A server that lost data: the loss is reported, and no lost key runs again without an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge};
use sentinel_core::{Address, Applied, CoordinationStore as _, ErrorKind, Kind, State, StoreError, Token};
use sentinel_redis::{RedisStore, Registration};
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

use crate::faults::*;

async fn registered(options: Options) -> (Redis, RedisStore) {
    let server = Redis::start(options);
    let store = RedisStore::init(&server.url()).await.unwrap();
    (server, store)
}

/// Registers the servers again, and returns what was in doubt.
async fn accepted(server: &Redis) -> Option<String> {
    match RedisStore::builder(&server.url()).register().await.unwrap().1 {
        Registration::Again { doubt } => doubt,
        Registration::SetUp => panic!("it was set up before"),
    }
}

/// Checks that each operation fails with this error.
async fn every_operation_fails_with(store: &RedisStore, error_kind: ErrorKind) {
    let (address, namespace) = (execution("known"), execution("known").namespace);
    let grant = sentinel_core::Grant { token: Token::NONE, claim_id: call().claim_id };
    is_not_applied(store.claim(&address, &fused()).await, error_kind);
    is_not_applied(store.begin(&address, &Begin { grant }).await, error_kind);
    is_not_applied(store.complete(&address, &complete(grant, "late")).await, error_kind);
    is_not_applied(store.cancel(&address, &Cancel { claim_id: grant.claim_id }).await, error_kind);
    is_not_applied(store.reconcile(&address, &reconcile(Token::NONE)).await, error_kind);
    is_not_applied(store.heartbeat(&[Beat { address: address.clone(), grant }]).await, error_kind);
    is_not_applied(store.inspect(&address).await, error_kind);
    is_not_applied(
        store.purge(&Purge { namespace: namespace.clone(), limit: 9, dry_run: false }).await,
        error_kind,
    );
    is_not_applied(store.history(&address, 9).await, error_kind);
    let list = List { namespace, kind: Kind::Execution, state: None, after: None, limit: 9 };
    is_not_applied(store.list(&list).await, error_kind);
}

/// Checks that `once` does not run its function.
async fn nothing_runs(store: &RedisStore) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let once = Sentinel::new(store.clone()).namespace("tests").unwrap().once::<String>("known");
    let outcome = once
        .run(|_| async move {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(1)
        })
        .await;
    assert_eq!(ran.load(Ordering::SeqCst), 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_server_is_detected() {
    for how in ["FLUSHALL", "FLUSHDB"] {
        let (server, store) = registered(Options::default()).await;
        let grant = hold(&store, &execution("known"), Phase::Executing).await;
        server.cli(&[how]);
        every_operation_fails_with(&store, ErrorKind::DataLoss).await;
        nothing_runs(&store).await;
        new_client_is_refused_with(&server.url(), ErrorKind::NotInitialised).await;
        // Deliberately.
        RedisStore::init(&server.url()).await.unwrap();
        let again = hold(&store, &execution("known"), Phase::Executing).await;
        assert!(again.token > grant.token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_without_its_file_is_detected() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.kill();
    server.forget_append_only_file();
    server.start_again();
    every_operation_fails_with(&store, ErrorKind::DataLoss).await;
    new_client_is_refused_with(&server.url(), ErrorKind::NotInitialised).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_persistence_is_refused_and_its_restart_is_detected_where_allowed() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let lossy = RedisStore::builder(&server.url()).allow_lossy(true).open().await.unwrap();
    server.cli(&["CONFIG", "SET", "appendonly", "no"]);
    a_while_later_everywhere(&store, ErrorKind::DeploymentRefused).await;
    hold(&lossy, &execution("other"), Phase::Executing).await;
    server.kill();
    server.start_again_with(&[("appendonly", "no")]);
    every_operation_fails_with(&store, ErrorKind::DeploymentRefused).await;
    every_operation_fails_with(&lossy, ErrorKind::DataLoss).await;
    new_client_is_refused_with(&server.url(), ErrorKind::DeploymentRefused).await;
}

/// Settings are checked again after a while, and at once by a new client.
async fn a_while_later_everywhere(store: &RedisStore, error_kind: ErrorKind) {
    let report = async {
        loop {
            match store.inspect(&execution("known")).await {
                Err(error) => return error,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    let error = tokio::time::timeout(AT_LAST, report).await.expect("it is looked at again");
    assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{error}");
}

#[tokio::test]
async fn eviction_enabled_later_is_refused_at_the_next_check() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    new_client_is_refused_with(&server.url(), ErrorKind::DeploymentRefused).await;
    a_while_later().await;
    every_operation_fails_with(&store, ErrorKind::DeploymentRefused).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(store.inspect(&execution("known")).await.unwrap().record.is_some());
}

/// The names of a key's record and of its bucket's marker.
fn names(server: &Redis, address: &Address) -> (String, String) {
    let record = server.cli(&["KEYS", &format!("*:r:?:{}", address.key)]);
    let (bucket, _) = record.split_once("}:").unwrap();
    let marker = format!("{bucket}}}:marker");
    (record, marker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_its_marker_is_reported_and_others_keep_working() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let (_, marker) = names(&server, &execution("known"));
    assert_eq!(server.cli(&["DEL", &marker]), "1");
    is_not_applied(store.claim(&execution("known"), &fused()).await, ErrorKind::DataLoss);
    is_not_applied(store.inspect(&execution("known")).await, ErrorKind::DataLoss);
    nothing_runs(&store).await;
    let new_client = RedisStore::connect(&server.url()).await.unwrap();
    is_not_applied(new_client.inspect(&execution("known")).await, ErrorKind::DataLoss);
    let doubt = accepted(&server).await.unwrap_or_default();
    assert!(doubt.contains("what was in 1 of 1 parts of namespace tests is gone"), "{doubt}");
    assert_eq!(accepted(&server).await, None, "it was accepted");
    let received = store.claim(&execution("known"), &fused()).await.unwrap().reply;
    assert!(matches!(received, ClaimReply::InProgress { .. }), "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_not_set_up_again_after_the_list_of_namespaces_was_lost() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let (record, marker) = names(&server, &execution("known"));
    assert_eq!(server.cli(&["DEL", &record, &marker, "sentinel:{sentinel}:namespaces"]), "3");
    let new_client = RedisStore::connect(&server.url()).await.unwrap();
    for store in [&new_client, &store] {
        is_not_applied(store.claim(&execution("known"), &fused()).await, ErrorKind::DataLoss);
    }
    let doubt = accepted(&server).await.unwrap_or_default();
    assert!(doubt.contains("the list of its namespaces was gone"), "{doubt}");
    assert_eq!(accepted(&server).await, None, "it was accepted");
    hold(&new_client, &execution("fresh"), Phase::Executing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_old_store_use_one_that_was_set_up_anew() {
    let (server, store) = registered(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.cli(&["FLUSHALL"]);
    drop(RedisStore::init(&server.url()).await.unwrap());
    hold(&store, &execution("known"), Phase::Executing).await;
}

/// Deletes a record, as eviction does, and claims its key.
async fn without_its_record(server: &Redis, store: &RedisStore, address: &Address) {
    let (record, _) = names(server, address);
    assert_eq!(server.cli(&["DEL", &record]), "1");
    let reply = store.claim(address, &fused()).await;
    let words = reply.as_ref().map_or_else(ToString::to_string, |reply| format!("{reply:?}"));
    is_not_applied(reply, ErrorKind::DataLoss);
    assert!(words.contains("a part of namespace \"tests\" has no marker"), "{words}");
    // All later claims are refused too, until the servers are registered again.
    is_not_applied(store.claim(address, &fused()).await, ErrorKind::DataLoss);
    let new_client = RedisStore::connect(&server.url()).await.unwrap();
    is_not_applied(new_client.inspect(address).await, ErrorKind::DataLoss);
    RedisStore::init(&server.url()).await.unwrap();
    hold(store, address, Phase::Executing).await;
}

/// Runs a key whose result is kept for a while.
async fn complete_for_a_while(store: &RedisStore, address: &Address) {
    let claim = Claim { retention: Some(AT_LAST), ..fused() };
    let grant = granted(&claim, &store.claim(address, &claim).await.unwrap().reply);
    store.complete(address, &complete(grant, "done")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_record_is_reported_and_its_key_does_not_run_again() {
    let (server, store) = registered(Options::default()).await;
    let undecided = execution("undecided");
    hold(&store, &undecided, Phase::Executing).await;
    without_its_record(&server, &store, &undecided).await;
    let completed = execution("completed");
    complete_for_a_while(&store, &completed).await;
    without_its_record(&server, &store, &completed).await;
}

/// How many names the lists of a store's only bucket hold.
fn listed(server: &Redis) -> [String; 3] {
    ["index", "undecided", "due"]
        .map(|list| server.cli(&["ZCARD", &format!("sentinel:{{tests:0}}:{list}:e")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn init_accepts_all_dropped_records() {
    let server = Redis::start(Options::default());
    let store = RedisStore::builder(&server.url()).buckets(1).init().await.unwrap();
    let (kept, served) = (execution("kept"), execution("served"));
    hold(&store, &kept, Phase::Executing).await;
    complete_for_a_while(&store, &served).await;
    // More records than one script call checks.
    let dropped: Vec<Address> = (0..300).map(|n| execution(&format!("dropped {n:03}"))).collect();
    for (n, address) in dropped.iter().enumerate() {
        match n % 2 {
            0 => drop(hold(&store, address, Phase::Executing).await),
            _ => complete_for_a_while(&store, address).await,
        }
    }
    assert_eq!(listed(&server), ["303", "152", "151"]);
    for address in &dropped {
        assert_eq!(server.cli(&["DEL", &format!("sentinel:{{tests:0}}:r:e:{}", address.key)]), "1");
    }
    // A loss that was not detected yet is not accepted by init.
    RedisStore::init(&server.url()).await.unwrap();
    is_not_applied(store.claim(&dropped[7], &fused()).await, ErrorKind::DataLoss);
    RedisStore::init(&server.url()).await.unwrap();
    assert_eq!(
        listed(&server),
        ["3", "2", "1"],
        "of the records that are there, and the names that are no key's"
    );
    for address in &dropped {
        hold(&store, address, Phase::Executing).await;
    }
    let received = store.claim(&kept, &fused()).await.unwrap().reply;
    assert!(matches!(received, ClaimReply::InProgress { .. }), "{received:?}");
    let received = store.claim(&served, &fused()).await.unwrap().reply;
    assert!(matches!(received, ClaimReply::Completed { .. }), "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_result_frees_its_key() {
    let (server, store) = registered(Options::default()).await;
    let address = execution("served");
    let claim = Claim { retention: Some(Duration::from_millis(500)), ..fused() };
    let grant = granted(&claim, &store.claim(&address, &claim).await.unwrap().reply);
    store.complete(&address, &complete(grant, "done")).await.unwrap();
    let (record, _) = names(&server, &address);
    // An hour and a half a second later: the server's clock cannot be moved, so that the record goes now.
    let offset = Arc::new(std::sync::atomic::AtomicI64::new(3_601_000_000));
    let later = RedisStore::builder(&server.url()).clock_offset(offset).open().await.unwrap();
    assert_eq!(server.cli(&["DEL", &record]), "1");
    let again = hold(&later, &address, Phase::Executing).await;
    assert!(again.token > grant.token);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_eviction_no_key_runs_twice() {
    let (server, store) = registered(Options::default()).await;
    let keys = (0..200).map(|n| execution(&format!("key {n}"))).collect::<Vec<_>>();
    for address in &keys {
        hold(&store, address, Phase::Executing).await;
    }
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", &(used - 40_000).to_string()]);
    let mut replies = Vec::new();
    for address in &keys {
        match store.claim(address, &fused()).await {
            Ok(stamped) => {
                assert!(
                    matches!(stamped.reply, ClaimReply::InProgress { .. }),
                    "{address}: {:?}",
                    stamped.reply
                );
            }
            Err(error) => replies.push(error),
        }
    }
    assert_ne!(server.info("evicted_keys"), "0");
    let refused = |error: &StoreError| {
        error.applied() == Applied::No
            && matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::DeploymentRefused)
    };
    assert!(!replies.is_empty() && replies.iter().all(refused), "{replies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_scripts_are_loaded_again() {
    let (server, store) = registered(Options::default()).await;
    for n in 0..4 {
        server.cli(&["SCRIPT", "FLUSH"]);
        let address = execution(&format!("key {n}"));
        let grant = hold(&store, &address, Phase::Executing).await;
        server.cli(&["SCRIPT", "FLUSH"]);
        store.heartbeat(&[Beat { address: address.clone(), grant }]).await.unwrap();
        store.complete(&address, &complete(grant, "done")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_nothing_changes_and_with_memory_work_continues() {
    let (server, store) = registered(Options::default()).await;
    let (address, fresh) = (execution("known"), execution("fresh"));
    let grant = hold(&store, &address, Phase::Executing).await;
    let (held, begin) = (execution("held"), hold(&store, &execution("held"), Phase::Claimed).await);
    let read = async || store.inspect(&address).await.unwrap().record;
    let listed = async || {
        let namespace = address.namespace.clone();
        let state = Some(sentinel_core::store::VisibleState::Executing);
        let list = List { namespace, kind: Kind::Execution, state, after: None, limit: 9 };
        store.list(&list).await.unwrap().records.len()
    };
    let before = read().await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = ErrorKind::DeploymentRefused;
    is_not_applied(store.claim(&fresh, &fused()).await, refused);
    is_not_applied(store.begin(&held, &Begin { grant: begin }).await, refused);
    is_not_applied(store.abandon(&address, &abandon(grant)).await, refused);
    assert_eq!(read().await, before);
    assert_eq!(listed().await, 1, "it is listed as before");
    assert_eq!(store.history(&address, 9).await.unwrap().len(), 1);
    // A result is the truth, and finds its place.
    store.complete(&address, &complete(grant, "done")).await.unwrap();
    assert_eq!(read().await.unwrap().state, State::Completed);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    store.begin(&held, &Begin { grant: begin }).await.unwrap();
    hold(&store, &fresh, Phase::Executing).await;
}

//! A server that forgot: what is gone is told, and never run again in silence.

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

async fn armed(options: Options) -> (Redis, RedisStore) {
    let server = Redis::start(options);
    let store = RedisStore::init(&server.url()).await.unwrap();
    (server, store)
}

/// Arms the store again, and returns what was in doubt.
async fn accepted(server: &Redis) -> Option<String> {
    match RedisStore::builder(&server.url()).register().await.unwrap().1 {
        Registration::Again { doubt } => doubt,
        Registration::SetUp => panic!("it was set up before"),
    }
}

/// Everything that a store can be asked, and what it says of it.
async fn all_say(store: &RedisStore, error_kind: ErrorKind) {
    let (address, namespace) = (execution("known"), execution("known").namespace);
    let grant = sentinel_core::Grant { token: Token::NONE, claim_id: call(Phase::Claimed).claim_id };
    is_not_applied(store.claim(&address, &call(Phase::Executing)).await, error_kind);
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

/// `once` does not run, whatever it is told.
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
async fn a_server_that_was_emptied_is_told_and_not_trusted() {
    for how in ["FLUSHALL", "FLUSHDB"] {
        let (server, store) = armed(Options::default()).await;
        let grant = hold(&store, &execution("known"), Phase::Executing).await;
        server.cli(&[how]);
        all_say(&store, ErrorKind::DataLoss).await;
        nothing_runs(&store).await;
        newcomer_is_told(&server.url(), ErrorKind::NotInitialised).await;
        // Deliberately.
        RedisStore::init(&server.url()).await.unwrap();
        let again = hold(&store, &execution("known"), Phase::Executing).await;
        assert!(again.token > grant.token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_without_its_file_is_told_and_not_trusted() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.kill();
    server.forget_append_only_file();
    server.start_again();
    all_say(&store, ErrorKind::DataLoss).await;
    newcomer_is_told(&server.url(), ErrorKind::NotInitialised).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_nothing_is_refused_and_where_that_is_allowed_its_restart_is_told() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let lossy = RedisStore::builder(&server.url()).allow_lossy(true).open().await.unwrap();
    server.cli(&["CONFIG", "SET", "appendonly", "no"]);
    a_while_later_everywhere(&store, ErrorKind::DeploymentRefused).await;
    hold(&lossy, &execution("other"), Phase::Executing).await;
    server.kill();
    server.start_again_with(&[("appendonly", "no")]);
    all_say(&store, ErrorKind::DeploymentRefused).await;
    all_say(&lossy, ErrorKind::DataLoss).await;
    newcomer_is_told(&server.url(), ErrorKind::DeploymentRefused).await;
}

/// Settings are looked at again after a while, and at once by who is new.
async fn a_while_later_everywhere(store: &RedisStore, error_kind: ErrorKind) {
    let told = async {
        loop {
            match store.inspect(&execution("known")).await {
                Err(error) => return error,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    let error = tokio::time::timeout(AT_LAST, told).await.expect("it is looked at again");
    assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{error}");
}

#[tokio::test]
async fn eviction_that_is_allowed_later_is_refused_at_the_next_look() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    newcomer_is_told(&server.url(), ErrorKind::DeploymentRefused).await;
    a_while_later().await;
    all_say(&store, ErrorKind::DeploymentRefused).await;
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
async fn a_bucket_without_its_marker_is_told_and_others_go_on() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let (_, marker) = names(&server, &execution("known"));
    assert_eq!(server.cli(&["DEL", &marker]), "1");
    is_not_applied(store.claim(&execution("known"), &call(Phase::Executing)).await, ErrorKind::DataLoss);
    is_not_applied(store.inspect(&execution("known")).await, ErrorKind::DataLoss);
    nothing_runs(&store).await;
    let newcomer = RedisStore::connect(&server.url()).await.unwrap();
    is_not_applied(newcomer.inspect(&execution("known")).await, ErrorKind::DataLoss);
    let doubt = accepted(&server).await.unwrap_or_default();
    assert!(doubt.contains("what was in 1 of 1 parts of namespace tests is gone"), "{doubt}");
    assert_eq!(accepted(&server).await, None, "it was accepted");
    let told = store.claim(&execution("known"), &call(Phase::Executing)).await.unwrap().reply;
    assert!(matches!(told, ClaimReply::InProgress { .. }), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_not_set_up_twice_where_the_list_of_them_is_gone() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    let (record, marker) = names(&server, &execution("known"));
    assert_eq!(server.cli(&["DEL", &record, &marker, "sentinel:{sentinel}:namespaces"]), "3");
    let newcomer = RedisStore::connect(&server.url()).await.unwrap();
    for store in [&newcomer, &store] {
        is_not_applied(store.claim(&execution("known"), &call(Phase::Executing)).await, ErrorKind::DataLoss);
    }
    let doubt = accepted(&server).await.unwrap_or_default();
    assert!(doubt.contains("the list of its namespaces was gone"), "{doubt}");
    assert_eq!(accepted(&server).await, None, "it was accepted");
    hold(&newcomer, &execution("fresh"), Phase::Executing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_set_up_anew_is_used_by_those_who_knew_the_old_one() {
    let (server, store) = armed(Options::default()).await;
    hold(&store, &execution("known"), Phase::Executing).await;
    server.cli(&["FLUSHALL"]);
    drop(RedisStore::init(&server.url()).await.unwrap());
    hold(&store, &execution("known"), Phase::Executing).await;
}

/// Takes a record away, as eviction does, and asks for its key.
async fn without_its_record(server: &Redis, store: &RedisStore, address: &Address) {
    let (record, _) = names(server, address);
    assert_eq!(server.cli(&["DEL", &record]), "1");
    let told = store.claim(address, &call(Phase::Executing)).await;
    let words = told.as_ref().map_or_else(ToString::to_string, |told| format!("{told:?}"));
    is_not_applied(told, ErrorKind::DataLoss);
    assert!(words.contains("a part of namespace \"tests\" has no marker"), "{words}");
    // And so for whoever asks from now on, until somebody has looked.
    is_not_applied(store.claim(address, &call(Phase::Executing)).await, ErrorKind::DataLoss);
    let newcomer = RedisStore::connect(&server.url()).await.unwrap();
    is_not_applied(newcomer.inspect(address).await, ErrorKind::DataLoss);
    RedisStore::init(&server.url()).await.unwrap();
    hold(store, address, Phase::Executing).await;
}

/// Runs a key whose result is kept for a while.
async fn complete_for_a_while(store: &RedisStore, address: &Address) {
    let claim = Claim { retention: Some(AT_LAST), ..call(Phase::Executing) };
    let grant = granted(&claim, &store.claim(address, &claim).await.unwrap().reply);
    store.complete(address, &complete(grant, "done")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_evicted_is_told_and_its_key_does_not_run_again() {
    let (server, store) = armed(Options::default()).await;
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
async fn who_arms_the_store_again_accepts_all_that_was_dropped() {
    let server = Redis::start(Options::default());
    let store = RedisStore::builder(&server.url()).buckets(1).init().await.unwrap();
    let (kept, served) = (execution("kept"), execution("served"));
    hold(&store, &kept, Phase::Executing).await;
    complete_for_a_while(&store, &served).await;
    // Two of each: more than are looked at at once.
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
    // One that nobody has asked for is not accepted unseen.
    RedisStore::init(&server.url()).await.unwrap();
    is_not_applied(store.claim(&dropped[7], &call(Phase::Executing)).await, ErrorKind::DataLoss);
    RedisStore::init(&server.url()).await.unwrap();
    assert_eq!(
        listed(&server),
        ["3", "2", "1"],
        "of the records that are there, and the names that are no key's"
    );
    for address in &dropped {
        hold(&store, address, Phase::Executing).await;
    }
    let told = store.claim(&kept, &call(Phase::Executing)).await.unwrap().reply;
    assert!(matches!(told, ClaimReply::InProgress { .. }), "{told:?}");
    let told = store.claim(&served, &call(Phase::Executing)).await.unwrap().reply;
    assert!(matches!(told, ClaimReply::Completed { .. }), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_expired_leaves_its_key_to_anyone() {
    let (server, store) = armed(Options::default()).await;
    let address = execution("served");
    let claim = Claim { retention: Some(Duration::from_millis(500)), ..call(Phase::Executing) };
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
    let (server, store) = armed(Options::default()).await;
    let keys = (0..200).map(|n| execution(&format!("key {n}"))).collect::<Vec<_>>();
    for address in &keys {
        hold(&store, address, Phase::Executing).await;
    }
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", &(used - 40_000).to_string()]);
    let mut answers = Vec::new();
    for address in &keys {
        match store.claim(address, &call(Phase::Executing)).await {
            Ok(told) => {
                assert!(matches!(told.reply, ClaimReply::InProgress { .. }), "{address}: {:?}", told.reply);
            }
            Err(error) => answers.push(error),
        }
    }
    assert_ne!(server.info("evicted_keys"), "0");
    let refused = |error: &StoreError| {
        error.applied() == Applied::No
            && matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::DeploymentRefused)
    };
    assert!(!answers.is_empty() && answers.iter().all(refused), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_were_flushed_cost_no_answer() {
    let (server, store) = armed(Options::default()).await;
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
async fn without_memory_nothing_is_changed_and_with_it_all_goes_on() {
    let (server, store) = armed(Options::default()).await;
    let (address, fresh) = (execution("known"), execution("fresh"));
    let grant = hold(&store, &address, Phase::Executing).await;
    let (held, begin) = (execution("held"), hold(&store, &execution("held"), Phase::Claimed).await);
    let look = async || store.inspect(&address).await.unwrap().record;
    let listed = async || {
        let namespace = address.namespace.clone();
        let state = Some(sentinel_core::store::Shown::Executing);
        let list = List { namespace, kind: Kind::Execution, state, after: None, limit: 9 };
        store.list(&list).await.unwrap().records.len()
    };
    let before = look().await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = ErrorKind::DeploymentRefused;
    is_not_applied(store.claim(&fresh, &call(Phase::Executing)).await, refused);
    is_not_applied(store.begin(&held, &Begin { grant: begin }).await, refused);
    is_not_applied(store.abandon(&address, &abandon(grant)).await, refused);
    assert_eq!(look().await, before);
    assert_eq!(listed().await, 1, "it is listed as before");
    assert_eq!(store.history(&address, 9).await.unwrap().len(), 1);
    // A result is the truth, and finds its place.
    store.complete(&address, &complete(grant, "done")).await.unwrap();
    assert_eq!(look().await.unwrap().state, State::Completed);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    store.begin(&held, &Begin { grant: begin }).await.unwrap();
    hold(&store, &fresh, Phase::Executing).await;
}

//! Records, tokens and histories, through the file and back.

use std::time::Duration;

use sentinel_conformance::Harness as _;
use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{CoordinationStore, Fingerprint, Key, Kind, Label, OpId, Record, State};
use sentinel_sqlite::SqliteStore;

use crate::harness::*;

/// Takes a key through every kind of transition that an execution knows.
async fn eventful(on: &OnDisk, key: &str) -> Record {
    let (store, at) = (&on.store, execution(key));
    let prepared = granted(store, &at, &claim(Phase::Claimed)).await;
    store.begin(&at, &Begin { grant: prepared }).await.unwrap();
    store.release(&at, &Release { grant: prepared, vouched: true }).await.unwrap();
    let withdrawn = claim(Phase::Claimed);
    granted(store, &at, &withdrawn).await;
    store.cancel(&at, &Cancel { claim_id: withdrawn.claim_id }).await.unwrap();
    let uncertain = granted(store, &at, &Claim { retention: Some(Duration::from_secs(5)), ..fused() }).await;
    store.heartbeat(&[Beat { address: at.clone(), grant: uncertain }]).await.unwrap();
    let cause = Label::new("the connection broke").unwrap();
    store
        .abandon(&at, &Abandon { grant: uncertain, cause, late_effects: std::time::Duration::ZERO })
        .await
        .unwrap();
    let first = store.reconcile(&at, &reconcile(uncertain.token)).await.unwrap().stamp.token;
    let operator = Label::new("an operator").unwrap();
    let reset = ResetToClaimed {
        op_id: OpId::random(),
        token: first,
        operator: operator.clone(),
        reason: None,
        accept_overlap: false,
    };
    store.reset_to_claimed(&at, &reset).await.unwrap();
    let fingerprint = Some(Fingerprint::new("NUL \0 and all").unwrap());
    let again = granted(store, &at, &Claim { fingerprint, ..fused() }).await;
    on.advance(Duration::from_secs(11)).await;
    let second = store.reconcile(&at, &reconcile(again.token)).await.unwrap().stamp.token;
    let mut result = success(b"\xff\x00bytes");
    result.code = Some(-7);
    let force =
        ForceComplete { op_id: OpId::random(), token: second, operator, reason: None, result, as_is: false };
    assert_eq!(store.force_complete(&at, &force).await.unwrap().reply, ForceCompleteReply::Completed);
    store.inspect(&at).await.unwrap().record.unwrap()
}

#[tokio::test]
async fn a_record_and_its_history_survive_a_reopened_store() {
    let on = OnDisk::open().await;
    let record = eventful(&on, "a").await;
    let history = on.store.history(&execution("a"), 100).await.unwrap();
    let reopened = on.another().await;
    assert_eq!(reopened.inspect(&execution("a")).await.unwrap().record, Some(record.clone()));
    assert_eq!(reopened.history(&execution("a"), 100).await.unwrap(), history);
    assert_eq!(reopened.history(&execution("a"), 2).await.unwrap(), history[history.len() - 2..]);
    let reply = reopened.claim(&execution("a"), &fused()).await.unwrap().reply;
    assert_eq!(reply, ClaimReply::Completed { result: record.result.unwrap(), remaining: None });
}

#[tokio::test]
async fn the_events_rebuild_the_record() {
    let on = OnDisk::open().await;
    let record = eventful(&on, "a").await;
    let history = on.store.history(&execution("a"), 100).await.unwrap();
    assert_eq!(history.len(), 12);
    assert_eq!(rebuild(&history), Rebuilt::from(&record));
}

#[tokio::test]
async fn tokens_grow_across_a_restart() {
    let on = OnDisk::open().await;
    let first = granted(&on.store, &lease("a"), &claim(Phase::Claimed)).await;
    on.store.release(&lease("a"), &Release { grant: first, vouched: false }).await.unwrap();
    let reopened = on.another().await;
    let second = granted(&reopened, &lease("a"), &claim(Phase::Claimed)).await;
    assert!(second.token > first.token);
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other() {
    let on = OnDisk::open().await;
    let other = on.another().await;
    let grant = granted(&on.store, &execution("a"), &fused()).await;
    let reply = other.claim(&execution("a"), &fused()).await.unwrap().reply;
    assert!(matches!(reply, ClaimReply::InProgress { state: State::Executing, .. }), "{reply:?}");
    let complete = Complete { grant, result: success(b"done") };
    // The grant is the right, whichever connection it comes through.
    other.complete(&execution("a"), &complete).await.unwrap();
    let reply = on.store.claim(&execution("a"), &fused()).await.unwrap().reply;
    assert_eq!(reply, ClaimReply::Completed { result: success(b"done"), remaining: None });
}

#[tokio::test]
async fn a_replay_from_the_reader_ends_with_the_retention() {
    let on = OnDisk::open().await;
    let kept = Claim { retention: Some(Duration::from_secs(60)), ..fused() };
    once(&on.store, &execution("a"), &kept, b"first").await;
    for _ in 0..3 {
        // The second and third are answered by the reader.
        let reply = on.store.claim(&execution("a"), &fused()).await.unwrap();
        let ClaimReply::Completed { result, remaining: Some(left) } = reply.reply else {
            panic!("{reply:?}")
        };
        assert!(result == success(b"first") && left <= Duration::from_secs(60));
        assert!(!reply.stamp.changed);
    }
    let fingerprint = Some(Fingerprint::new("x").unwrap());
    let other = Claim { fingerprint, claim_id: fused().claim_id, ..kept };
    assert!(matches!(
        on.store.claim(&execution("a"), &other).await.unwrap().reply,
        ClaimReply::Completed { .. }
    ));
    on.advance(Duration::from_secs(60)).await;
    once(&on.store, &execution("a"), &other, b"second").await;
    let differs = Claim { fingerprint: Some(Fingerprint::new("y").unwrap()), ..fused() };
    let reply = on.store.claim(&execution("a"), &differs).await.unwrap().reply;
    assert_eq!(reply, ClaimReply::FingerprintMismatch);
}

#[tokio::test]
async fn a_page_lists_the_requested_records_in_byte_order() {
    let on = OnDisk::open().await;
    for key in ["b", "ä", "Z", "a"] {
        once(&on.store, &execution(key), &fused(), b"bytes").await;
    }
    granted(&on.store, &execution("claimed"), &claim(Phase::Claimed)).await;
    let doubt = granted(&on.store, &execution("doubt"), &fused()).await;
    let cause = Label::new("unknown").unwrap();
    on.store
        .abandon(
            &execution("doubt"),
            &Abandon { grant: doubt, cause, late_effects: std::time::Duration::ZERO },
        )
        .await
        .unwrap();
    granted(&on.store, &execution("running"), &fused()).await;
    granted(&on.store, &lease("lease"), &claim(Phase::Claimed)).await;
    let page = async |state, after: Option<&str>, limit| {
        let after = after.map(|key| Key::new(key).unwrap());
        let list = List { namespace: namespace(), kind: Kind::Execution, state, after, limit };
        let records = on.store.list(&list).await.unwrap().records;
        records.into_iter().map(|(key, _)| key.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None, 100).await, ["Z", "a", "b", "claimed", "doubt", "running", "ä"]);
    assert_eq!(page(None, Some("a"), 2).await, ["b", "claimed"]);
    assert_eq!(page(Some(VisibleState::Completed), None, 100).await, ["Z", "a", "b", "ä"]);
    assert_eq!(page(Some(VisibleState::Claimed), None, 100).await, ["claimed"]);
    assert_eq!(page(Some(VisibleState::Uncertain), None, 100).await, ["doubt"]);
    assert_eq!(page(Some(VisibleState::Executing), None, 100).await, ["running"]);
    assert!(page(Some(VisibleState::Reconciling), None, 100).await.is_empty());
    assert!(page(Some(VisibleState::Free), None, 100).await.is_empty());
    let all = List { namespace: namespace(), kind: Kind::Execution, state: None, after: None, limit: 9 };
    let first = on.store.list(&all).await.unwrap().records.swap_remove(0).1;
    assert!(first.result.unwrap().payload.bytes.is_empty());
}

#[tokio::test]
async fn health_reports_settings_and_guarantees() {
    let on = OnDisk::open().await;
    let health = on.store.health().await.unwrap();
    assert!(health.accepted, "{health:?}");
    let found = |name: &str| health.checks.iter().find(|check| check.name == name).unwrap().found.clone();
    assert_eq!((found("journal mode"), found("synchronous")), ("wal".into(), "FULL".into()));
    assert_eq!(found("integrity"), "ok");
    assert!(found("file").contains(" bytes, mode 6"), "{health:?}");
    assert!(health.guarantees.iter().any(|promise| promise.starts_with("At most one execution per key")));
}

#[test]
fn one_store_serves_several_runtimes() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let on = runtime().block_on(OnDisk::open());
    std::thread::scope(|scope| {
        for n in 0..4 {
            let store: SqliteStore = on.store.clone();
            scope.spawn(move || {
                let key = execution(&format!("key {n}"));
                runtime().block_on(once(&store, &key, &fused(), b"done"))
            });
        }
    });
    let completed = runtime().block_on(async {
        let kind = Kind::Execution;
        let list = List {
            namespace: namespace(),
            kind,
            state: Some(VisibleState::Completed),
            after: None,
            limit: 9,
        };
        on.store.list(&list).await.unwrap().records.len()
    });
    assert_eq!(completed, 4);
}

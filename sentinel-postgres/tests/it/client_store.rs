//! The methods that take a user's transaction, on a client: which stores they find, and which are an error.

use std::sync::Arc;

use async_trait::async_trait;
use sentinel::MemoryStore;
use sentinel::cache::ReplayCache;
use sentinel::postgres::{PostgresExt, TransactionOutcome};
use sentinel::store::Store;
use sentinel_client::{Error, Json, Outcome, Run, Sentinel, encode_result};
use sentinel_conformance::{Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::{CompleteReply, Stamped};
use sentinel_core::store::CoordinationStore;
use sentinel_core::{Address, Applied, ErrorKind, Payload, State, StoreError};
use sentinel_postgres::commit;
use sqlx::{Connection as _, PgConnection};

use crate::transaction::Bed;

/// Passes every request on.
#[derive(Debug)]
struct Transparent(Arc<dyn CoordinationStore>);

#[async_trait]
impl Layer for Transparent {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.0, address).await
    }
}

#[track_caller]
fn assert_refused(error: &StoreError, words: &str) {
    assert_eq!((error.kind(), error.applied()), (ErrorKind::InvalidRequest, Applied::No), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// Clients whose store is not the `PostgresStore`, and what their errors contain.
fn others(bed: &Bed) -> [(Sentinel, &'static str); 4] {
    let layered = || Layered(Transparent(Arc::new(bed.store.clone())));
    [
        (Sentinel::new(MemoryStore::new()), "this client's store is memory"),
        (Sentinel::new(ReplayCache::new(MemoryStore::new())), "this client's store is memory"),
        (Sentinel::new(layered()), "wraps a PostgreSQL store in a layer"),
        (Sentinel::new(ReplayCache::new(layered())), "wraps a PostgreSQL store in a layer"),
    ]
    .map(|(sentinel, words)| (sentinel.namespace(bed.name).unwrap(), words))
}

#[tokio::test]
async fn a_client_finds_its_postgresql_store_behind_arcs_and_a_cache() {
    let bed = Bed::new("found").await;
    let shared = || Arc::new(bed.store.clone());
    let chosen = || -> Arc<dyn CoordinationStore> { shared() };
    // What `sentinel::connect` returns.
    let connected = || -> Arc<dyn Store> { shared() };
    let clients = [
        Sentinel::new(bed.store.clone()),
        Sentinel::new(shared()),
        Sentinel::new(chosen()),
        Sentinel::from_arc(chosen()),
        Sentinel::new(ReplayCache::new(bed.store.clone())),
        Sentinel::new(ReplayCache::new(shared())),
        Sentinel::new(ReplayCache::new(chosen())),
        Sentinel::new(connected()),
        Sentinel::from_arc(connected()),
        Sentinel::new(ReplayCache::new(connected())),
    ];
    let mut mine = bed.connect().await;
    for (n, sentinel) in (1..).zip(clients) {
        let sentinel = sentinel.namespace(bed.name).unwrap().worker("ann").unwrap();
        let key = format!("k{n}");
        let mut tx = mine.begin().await.unwrap();
        let reply = sentinel
            .once_in_transaction(&mut tx, &key)
            .run(async |connection: &mut PgConnection| bed.write(connection, n).await.map(|()| n))
            .await
            .unwrap();
        let TransactionOutcome::Pending(pending) = reply else { panic!("{reply:?}") };
        assert_eq!(pending.commit(tx).await.unwrap(), n);
        let history = bed.store.history(&bed.address(&key), 10).await.unwrap();
        let workers: Vec<_> = history.iter().filter_map(|event| event.worker.as_ref()).collect();
        assert_eq!(workers[0].as_str(), "ann", "the record shows the client's label");
    }
    assert_eq!(bed.written(), "1,2,3,4,5,6,7,8,9,10");
}

#[tokio::test]
async fn another_store_is_an_error_before_anything_is_sent() {
    let bed = Bed::new("not_found").await;
    for (sentinel, words) in others(&bed) {
        let mut mine = bed.connect().await;
        let mut tx = mine.begin().await.unwrap();
        // A statement would fail in this transaction.
        assert!(sqlx::raw_sql("SELECT 1 / 0").execute(&mut *tx).await.is_err());
        let reply = sentinel
            .once_in_transaction(&mut tx, "k")
            .run(async |_: &mut PgConnection| -> Result<i32, String> { panic!("it must not run") })
            .await;
        let Err(Error::Store(error)) = reply else { panic!("{reply:?}") };
        assert_refused(&error, words);
        assert_refused(&sentinel.postgres_store().unwrap_err(), words);
        tx.rollback().await.unwrap();
        assert_eq!(bed.state("k").await, None);
    }
}

#[tokio::test]
async fn a_client_completes_in_the_transaction_of_its_store() {
    let bed = Bed::new("completed_by_client").await;
    let sentinel = bed.sentinel();
    let inside = sentinel.clone();
    let function = move |run: Run| async move {
        let mut mine = PgConnection::connect(&sentinel_testbed::postgres().url()).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
        let reply = inside.complete_in(&mut tx, &run, &result).await.unwrap();
        assert_eq!(reply, CompleteReply::Recorded { late: false });
        commit(tx).await.map(|()| 5)
    };
    let reply = sentinel.once("k").run(function).await.unwrap();
    assert!(matches!(reply, Outcome::Completed(5)), "{reply:?}");
    assert_eq!(bed.store.history(&bed.address("k"), 10).await.unwrap().len(), 2, "claimed and completed");
}

#[tokio::test]
async fn a_completion_that_found_no_postgresql_store_leaves_the_result_to_the_client() {
    let bed = Bed::new("left_to_client").await;
    for (n, (sentinel, words)) in others(&bed).into_iter().enumerate() {
        let (inside, key) = (sentinel.clone(), format!("k{n}"));
        let function = move |run: Run| async move {
            let mut mine = PgConnection::connect(&sentinel_testbed::postgres().url()).await.unwrap();
            let mut tx = mine.begin().await.unwrap();
            let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
            assert_refused(&inside.complete_in(&mut tx, &run, &result).await.unwrap_err(), words);
            Ok::<_, String>(5)
        };
        let reply = sentinel.once(&key).run(function).await.unwrap();
        assert!(matches!(reply, Outcome::Completed(5)), "{reply:?}");
        let record = sentinel.inspect(sentinel_core::Kind::Execution, &key).await.unwrap().record;
        assert_eq!(record.map(|record| record.state), Some(State::Completed));
    }
}

#[tokio::test]
async fn an_invalid_key_or_lock_timeout_is_refused_before_anything_is_sent() {
    let bed = Bed::new("invalid").await;
    let sentinel = bed.sentinel();
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    assert!(sqlx::raw_sql("SELECT 1 / 0").execute(&mut *tx).await.is_err());
    let run = async |_: &mut PgConnection| -> Result<i32, String> { panic!("it must not run") };
    let reply = sentinel.once_in_transaction(&mut tx, "").run(run).await;
    assert!(matches!(reply, Err(Error::Invalid(_))), "{reply:?}");
    let zero = std::time::Duration::ZERO;
    let reply = sentinel.once_in_transaction(&mut tx, "k").lock_timeout(zero).run(run).await;
    assert!(matches!(reply, Err(Error::Invalid(_))), "{reply:?}");
    let lease = Address { kind: sentinel_core::Kind::Lease, ..bed.address("k") };
    let reply = bed.store.once_in_transaction(&mut tx, &lease).run(run).await;
    assert!(matches!(reply, Err(Error::Invalid(_))), "{reply:?}");
}

//! Exactly once, in a transaction of the user's: what commits together, what leaves no trace, and what others see.

use std::str::FromStr as _;
use std::time::Duration;

use sentinel::postgres::{PostgresExt as _, TransactionOutcome};
use sentinel_client::{Error, Outcome, Sentinel};
use sentinel_core::operation::*;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{Address, Applied, ClaimId, ErrorKind, Grant, Key, Label, Namespace, OpId, State, Terms};
use sentinel_postgres::{CommitError, PostgresStore, commit};
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Postgres as Server, Proxy, postgres, until};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tokio::sync::oneshot;

use crate::deployments::bouncer;

/// A store, a table of the user's, and a namespace: each test has its own.
pub(crate) struct Bed {
    pub(crate) store: PostgresStore,
    pub(crate) name: &'static str,
}

impl Bed {
    pub(crate) async fn new(name: &'static str) -> Self {
        let store = PostgresStore::builder(&postgres().url())
            .schema("txn")
            .lock_timeout(Duration::from_millis(300))
            .init()
            .await
            .unwrap();
        postgres().psql(&format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (n int)"));
        Self { store, name }
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&postgres().url()).await.unwrap()
    }

    pub(crate) fn address(&self, key: &str) -> Address {
        Address::execution(Namespace::new(self.name).unwrap(), Key::new(key).unwrap())
    }

    pub(crate) fn sentinel(&self) -> Sentinel {
        Sentinel::new(self.store.clone()).namespace(self.name).unwrap()
    }

    pub(crate) async fn write(&self, connection: &mut PgConnection, n: i32) -> Result<(), sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(format!("INSERT INTO {} VALUES ({n})", self.name));
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    pub(crate) fn written(&self) -> String {
        postgres()
            .psql(&format!("SELECT coalesce(string_agg(n::text, ',' ORDER BY n), '') FROM {}", self.name))
    }

    pub(crate) async fn once(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        key: &str,
        n: i32,
    ) -> Result<TransactionOutcome<i32, sqlx::Error>, Error> {
        let address = self.address(key);
        self.store
            .once_in_transaction(tx, &address)
            .run(async |connection: &mut PgConnection| self.write(connection, n).await.map(|()| n))
            .await
    }

    pub(crate) async fn state(&self, key: &str) -> Option<State> {
        self.store.inspect(&self.address(key)).await.unwrap().record.map(|record| record.state)
    }

    pub(crate) async fn begun(&self, key: &str) -> Grant {
        let claim = claim(Phase::Executing, Duration::from_secs(60));
        let reply = self.store.claim(&self.address(key), &claim).await.unwrap().reply;
        let ClaimReply::Granted(granted) = reply else { panic!("{reply:?}") };
        Grant { token: granted.token, claim_id: claim.claim_id }
    }
}

pub(crate) fn claim(phase: Phase, ttl: Duration) -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(ttl, ttl).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("test").unwrap(),
        phase,
        accepts: sentinel_core::Accepts::any(),
        cause: None,
        about: None,
    }
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn effect_and_result_become_true_together_at_the_commit() {
    let bed = Bed::new("together").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let reply = bed.once(&mut tx, "k", 7).await.unwrap();
    let TransactionOutcome::Pending(pending) = reply else { panic!("{reply:?}") };
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("", None), "nothing is true yet");
    assert_eq!(pending.commit(tx).await.unwrap(), 7);
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("7", Some(State::Completed)));

    // Both ways of asking replay it, from the same bytes.
    let reply = bed.sentinel().once::<String>("k").run(|_| async { Ok(0) }).await.unwrap();
    assert!(matches!(reply, Outcome::Replayed(7)), "{reply:?}");
    let mut tx = mine.begin().await.unwrap();
    let reply = bed.once(&mut tx, "k", 8).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Replayed(7)), "{reply:?}");
    tx.commit().await.unwrap();
    assert_eq!(bed.written(), "7");
}

#[tokio::test]
async fn a_rollback_leaves_nothing_and_the_key_runs_again() {
    let bed = Bed::new("rolled_back").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let _ = bed.once(&mut tx, "k", 1).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("", None));
    assert!(bed.store.history(&bed.address("k"), 10).await.unwrap().is_empty());
    let mut tx = mine.begin().await.unwrap();
    let reply = bed.once(&mut tx, "k", 2).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Pending(ref ran) if *ran.provisional() == 2), "{reply:?}");
    tx.commit().await.unwrap();
    assert_eq!(bed.written(), "2");
}

#[tokio::test]
async fn a_failure_is_undone_and_the_transaction_continues() {
    let bed = Bed::new("undone").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    bed.write(&mut tx, 1).await.unwrap();
    sqlx::raw_sql("SET LOCAL lock_timeout = '4711ms'").execute(&mut *tx).await.unwrap();
    let address = bed.address("k");
    let reply = bed
        .store
        .once_in_transaction(&mut tx, &address)
        .run(async |connection: &mut PgConnection| {
            assert_eq!(setting(connection, "lock_timeout").await, "4711ms", "the function sees its own");
            bed.write(connection, 2).await.unwrap();
            // The statement fails, and with it the transaction, were it not for the savepoint.
            sqlx::raw_sql("SELECT 1 / 0").execute(connection).await.map(|_| 0)
        })
        .await
        .unwrap();
    assert!(matches!(reply, TransactionOutcome::Undone(_)), "{reply:?}");
    assert_eq!(setting(&mut tx, "lock_timeout").await, "4711ms");
    bed.write(&mut tx, 3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("1,3", None));
}

#[tokio::test]
async fn a_panic_is_undone_and_continues() {
    let bed = Bed::new("panicked").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    bed.write(&mut tx, 1).await.unwrap();
    let address = bed.address("k");
    let call = bed.store.once_in_transaction(&mut tx, &address).run::<i32, String, _>(
        async |connection: &mut PgConnection| {
            bed.write(connection, 2).await.unwrap();
            panic!("on purpose")
        },
    );
    let caught = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(call)).await;
    assert!(caught.is_err());
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("1", None));
}

#[tokio::test]
async fn a_refusal_leaves_no_trace() {
    let bed = Bed::new("refused").await;
    bed.begun("running").await;
    let grant = bed.begun("doubt").await;
    let cause = Label::new("test").unwrap();
    let _ = bed
        .store
        .abandon(&bed.address("doubt"), &Abandon { grant, cause, late_effects: std::time::Duration::ZERO })
        .await
        .unwrap();
    let grant = bed.begun("settled").await;
    let operator = Label::new("ann").unwrap();
    let taken = Reconcile {
        op_id: OpId::random(),
        operator,
        reason: None,
        expect: grant.token,
        even_if_alive: true,
        steal: false,
    };
    let _ = bed.store.reconcile(&bed.address("settled"), &taken).await.unwrap();
    let revs = || {
        postgres().psql(
            "SELECT string_agg(rev::text, ',' ORDER BY key) FROM txn.records WHERE namespace = 'refused'",
        )
    };
    let before = revs();

    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL lock_timeout = '4711ms'").execute(&mut *tx).await.unwrap();
    let reply = bed.once(&mut tx, "running", 1).await.unwrap();
    assert!(matches!(&reply, TransactionOutcome::InProgress(who) if !who.remaining.is_zero()), "{reply:?}");
    let reply = bed.once(&mut tx, "doubt", 1).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Uncertain(_)), "{reply:?}");
    let reply = bed.once(&mut tx, "settled", 1).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Reconciling(_)), "{reply:?}");
    assert_eq!(setting(&mut tx, "lock_timeout").await, "4711ms");
    // No row of theirs is still locked by this transaction.
    let free = postgres().psql(
        "SELECT count(*) FROM (SELECT FROM txn.records WHERE namespace = 'refused' FOR UPDATE SKIP LOCKED) r",
    );
    assert_eq!(free, "3");
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), revs()), ("", before));
}

#[tokio::test]
async fn another_request_under_the_key_is_an_error_and_reveals_nothing() {
    let bed = Bed::new("mismatched").await;
    let mut mine = bed.connect().await;
    let address = bed.address("k");
    for (request, expected) in [("a", true), ("b", false)] {
        let mut tx = mine.begin().await.unwrap();
        let reply = bed
            .store
            .once_in_transaction(&mut tx, &address)
            .fingerprint(&request)
            .run(async |_: &mut PgConnection| Ok::<_, String>(1))
            .await;
        match expected {
            true => assert!(
                matches!(reply, Ok(TransactionOutcome::Pending(ref ran)) if *ran.provisional() == 1),
                "{reply:?}"
            ),
            false => assert!(matches!(reply, Err(Error::FingerprintMismatch)), "{reply:?}"),
        }
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn claims_during_an_open_transaction_are_in_progress_and_delay_no_other() {
    let bed = Bed::new("held").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let _ = bed.once(&mut tx, "k", 1).await.unwrap();

    // In one batch with others: those are granted while the transaction is open.
    let keys: Vec<_> = (0..24).map(|n| if n == 12 { "k".to_owned() } else { format!("o{n}") }).collect();
    let asked = keys.iter().map(|key| async {
        let claim = claim(Phase::Executing, Duration::from_secs(60));
        bed.store.claim(&bed.address(key), &claim).await.unwrap().reply
    });
    let replies = futures_util::future::join_all(asked).await;
    for (key, reply) in keys.iter().zip(replies) {
        match key.as_str() {
            "k" => assert!(matches!(reply, ClaimReply::InProgress { .. }), "{reply:?}"),
            _ => assert!(matches!(reply, ClaimReply::Granted(_)), "{key}: {reply:?}"),
        }
    }
    // The client, and another transaction.
    let reply = bed.sentinel().once::<String>("k").run(|_| async { Ok(0) }).await.unwrap();
    assert!(matches!(reply, Outcome::InProgress(_)), "{reply:?}");
    let mut other = bed.connect().await;
    let mut second = other.begin().await.unwrap();
    let reply = bed.once(&mut second, "k", 2).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::InProgress(_)), "{reply:?}");
    tx.commit().await.unwrap();
    // The refused transaction goes on, and sees what was committed since.
    let reply = bed.once(&mut second, "k", 2).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Replayed(1)), "{reply:?}");
    second.commit().await.unwrap();
    assert_eq!(bed.written(), "1");
}

#[tokio::test]
async fn a_stricter_isolation_asks_to_run_the_transaction_again() {
    let bed = Bed::new("isolated").await;
    for level in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
        let (mut mine, mut other) = (bed.connect().await, bed.connect().await);
        let mut tx = mine.begin_with(level).await.unwrap();
        // The snapshot is taken, then another session completes the key.
        sqlx::raw_sql("SELECT 1").execute(&mut *tx).await.unwrap();
        let mut first = other.begin().await.unwrap();
        let reply = bed.once(&mut first, level, 1).await.unwrap();
        assert!(
            matches!(reply, TransactionOutcome::Pending(ref ran) if *ran.provisional() == 1),
            "{reply:?}"
        );
        first.commit().await.unwrap();
        let error = bed.once(&mut tx, level, 2).await.unwrap_err();
        let Error::Store(error) = error else { panic!("{error:?}") };
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Busy, Applied::No), "{error}");
        assert!(error.to_string().contains("run all of it again"), "{error}");
        tx.rollback().await.unwrap();
        let mut tx = mine.begin_with(level).await.unwrap();
        let reply = bed.once(&mut tx, level, 2).await.unwrap();
        assert!(matches!(reply, TransactionOutcome::Replayed(1)), "{reply:?}");
        tx.commit().await.unwrap();
    }
    assert_eq!(bed.written(), "1,1");
}

#[tokio::test]
async fn after_an_ambiguous_commit_the_same_key_reports_the_result() {
    let bed = Bed::new("ambiguous").await;
    let proxy = Proxy::start(postgres().port());
    let url = postgres().url().replace(&format!(":{}/", postgres().port()), &format!(":{}/", proxy.port()));
    for (key, committed) in [("before", false), ("after", true)] {
        let mut mine = PgConnection::connect(&url).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        let _ = bed.once(&mut tx, key, 1).await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
        // The connection is cut under the COMMIT, before it arrives; or under the server's word that it was done.
        match committed {
            true => proxy.replies().cut_after(0),
            false => proxy.requests().cut_after(0),
        }
        assert!(tx.commit().await.is_err());
        proxy.heal();
        tokio::task::spawn_blocking(move || {
            let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
            until("the session has ended", || postgres().psql(&gone) == "0");
        })
        .await
        .unwrap();
        let mut again = bed.connect().await;
        let mut tx = again.begin().await.unwrap();
        let reply = bed.once(&mut tx, key, 2).await.unwrap();
        match committed {
            true => assert!(matches!(reply, TransactionOutcome::Replayed(1)), "{reply:?}"),
            false => assert!(
                matches!(reply, TransactionOutcome::Pending(ref ran) if *ran.provisional() == 2),
                "{reply:?}"
            ),
        }
        tx.commit().await.unwrap();
    }
    assert_eq!(bed.written(), "1,2");
    let reply = bed.sentinel().once::<String>("after").run(|_| async { Ok(0) }).await.unwrap();
    assert!(matches!(reply, Outcome::Replayed(1)), "{reply:?}");
}

#[tokio::test]
async fn a_broken_connection_is_reported_as_nothing_changed() {
    let bed = Bed::new("broken").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let address = bed.address("k");
    let reply = bed
        .store
        .once_in_transaction(&mut tx, &address)
        .run(async |connection: &mut PgConnection| {
            let pid = "SELECT pg_backend_pid()";
            let pid: i32 = sqlx::query_scalar(pid).fetch_one(&mut *connection).await.unwrap();
            postgres().psql(&format!("SELECT pg_terminate_backend({pid}, 60000)"));
            Ok::<_, String>(1)
        })
        .await;
    let Err(Error::Store(error)) = reply else { panic!("{reply:?}") };
    assert_eq!(error.applied(), Applied::No, "{error}");
    assert!(!error.to_string().contains("may have been carried out"), "{error}");
    drop(tx);
    assert_eq!(bed.state("k").await, None);
}

#[tokio::test]
async fn a_call_dropped_midway_leaves_the_transaction_to_its_owner() {
    let bed = Bed::new("dropped").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    bed.write(&mut tx, 1).await.unwrap();
    let address = bed.address("k");
    {
        let (inside, entered) = oneshot::channel();
        let call = bed.store.once_in_transaction(&mut tx, &address).run::<i32, String, _>(
            async |_: &mut PgConnection| {
                inside.send(()).unwrap();
                std::future::pending().await
            },
        );
        tokio::select! {
            reply = call => panic!("{reply:?}"),
            entered = entered => entered.unwrap(),
        }
    }
    // It was neither rolled back nor committed: the commit is the owner's, and is reported.
    assert_eq!(bed.written(), "");
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("1", Some(State::Executing)));
}

#[tokio::test]
async fn a_completion_is_durable_where_the_transaction_would_not_be() {
    let bed = Bed::new("durable").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL synchronous_commit = off").execute(&mut *tx).await.unwrap();
    let _ = bed.once(&mut tx, "k", 1).await.unwrap();
    assert_eq!(setting(&mut tx, "synchronous_commit").await, "on");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn it_works_through_a_pooler_from_a_task() {
    let bed = Bed::new("pooled").await;
    let reply = tokio::spawn(async move {
        let options = PgConnectOptions::from_str(&bouncer().url()).unwrap();
        // Clients that prepare statements, and meet each other's sessions.
        let options = options.extra_float_digits(None);
        for (n, key) in [(1, "a"), (2, "b"), (3, "a")] {
            let mut mine = PgConnection::connect_with(&options).await.unwrap();
            let mut tx = mine.begin().await.unwrap();
            let reply = bed.once(&mut tx, key, n).await.unwrap();
            match reply {
                TransactionOutcome::Pending(pending) if n < 3 => {
                    assert_eq!(pending.commit(tx).await.unwrap(), n)
                }
                TransactionOutcome::Replayed(1) if n == 3 => commit(tx).await.unwrap(),
                other => panic!("{other:?}"),
            }
        }
        bed.written()
    });
    assert_eq!(reply.await.unwrap(), "1,2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_until_the_standby_has_confirmed_the_result() {
    let primary = Server::start(Options::default());
    let store = PostgresStore::builder(&primary.url()).deadline(Duration::from_secs(2)).init().await.unwrap();
    let standby = primary.standby("confirming", true);
    standby.pause();
    let address = Address::execution(Namespace::new("n").unwrap(), Key::new("k").unwrap());
    let (mut mine, mut other) = (
        PgConnection::connect(&primary.url()).await.unwrap(),
        PgConnection::connect(&primary.url()).await.unwrap(),
    );
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut mine).await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    let run = async |_: &mut PgConnection| Ok::<_, String>(1);
    let reply = store.once_in_transaction(&mut tx, &address).run(run).await.unwrap();
    let TransactionOutcome::Pending(pending) = reply else { panic!("{reply:?}") };
    // It commits, and an operator cancels its wait for the standby: it is there, and a failover would lose it.
    let cancel = async {
        let waits = format!(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep'"
        );
        // The commit goes on between two looks.
        while tokio::task::block_in_place(|| primary.psql(&waits)) != "t" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (committed, ()) = tokio::join!(pending.commit(tx), cancel);
    let error = committed.unwrap_err();
    assert!(
        matches!(&error, CommitError::Unknown { .. }) && error.to_string().contains("replication"),
        "{error}"
    );
    let mut tx = other.begin().await.unwrap();
    let reply = store.once_in_transaction(&mut tx, &address).run(run).await;
    assert!(matches!(reply, Err(Error::Store(_))), "{reply:?}");
    standby.resume();
    let reply = store.once_in_transaction(&mut tx, &address).run(run).await.unwrap();
    assert!(matches!(reply, TransactionOutcome::Replayed(1)), "{reply:?}");
    tx.rollback().await.unwrap();
}

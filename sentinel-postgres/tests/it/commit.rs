//! A commit that the server answers by a rollback, and all other ways in which a transaction is not committed.

use sentinel::postgres::{PostgresExt as _, TransactionOutcome};
use sentinel_client::{Error, Failure, Json, Outcome, Run, encode_result};
use sentinel_core::operation::CompleteReply;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{Applied, Payload, State};
use sentinel_postgres::{CommitError, Pending, PostgresStore, commit};
use sentinel_testbed::{Proxy, postgres};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use crate::transaction::Bed;

async fn sql(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.map(drop)
}

async fn pending(bed: &Bed, tx: &mut Transaction<'_, Postgres>, key: &str, n: i32) -> Pending<i32> {
    match bed.once(tx, key, n).await.unwrap() {
        TransactionOutcome::Pending(pending) => pending,
        other => panic!("{other:?}"),
    }
}

/// What a run does in its transaction, and how it ends the transaction.
async fn book(
    store: &PostgresStore,
    run: &Run,
    table: &str,
    after: &[&str],
    checked: bool,
) -> Result<i32, String> {
    let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    sql(&mut tx, &format!("INSERT INTO {table} VALUES (7)")).await.unwrap();
    let result = encode_result(&Json, &7, Payload::DEFAULT_LIMIT);
    let reply = store.complete_in(&mut tx, run, &result).await.unwrap();
    assert_eq!(reply, CompleteReply::Recorded { late: false });
    for text in after {
        // Its error is ignored.
        let _ = sql(&mut tx, text).await;
    }
    match checked {
        true => commit(tx).await.map_err(|error| error.to_string())?,
        false => tx.commit().await.map_err(|error| error.to_string())?,
    }
    Ok(7)
}

#[tokio::test]
async fn a_run_whose_commit_was_answered_by_a_rollback_is_not_completed() {
    let bed = Bed::new("answered").await;
    for (key, checked) in [("checked", true), ("unchecked", false)] {
        let store = bed.store.clone();
        let function =
            move |run: Run| async move { book(&store, &run, "answered", &["SELECT 1 / 0"], checked).await };
        let reply = bed.sentinel().once(key).run(function.clone()).await.unwrap();
        let Outcome::RanUncertain(doubt) = reply else { panic!("{key}: {reply:?}") };
        let words = doubt.error.unwrap_or_else(|| doubt.cause.to_string());
        let expected = if checked { "nothing of it was applied" } else { "was not committed" };
        assert!(words.contains(expected), "{words}");
        assert_eq!((bed.written().as_str(), bed.state(key).await), ("", Some(State::Executing)));
        // Uncertain at once, for every caller.
        let reply = bed.sentinel().once(key).run(function).await.unwrap();
        assert!(matches!(reply, Outcome::Uncertain(_)), "{key}: {reply:?}");
    }
}

#[tokio::test]
async fn a_run_that_commits_is_completed_with_or_without_the_check() {
    let bed = Bed::new("booked").await;
    for (key, checked) in [("checked", true), ("unchecked", false)] {
        let store = bed.store.clone();
        let function = move |run: Run| async move { book(&store, &run, "booked", &[], checked).await };
        let reply = bed.sentinel().once(key).run(function.clone()).await.unwrap();
        assert!(matches!(reply, Outcome::Completed(7)), "{key}: {reply:?}");
        let reply = bed.sentinel().once(key).run(function).await.unwrap();
        assert!(matches!(reply, Outcome::Replayed(7)), "{key}: {reply:?}");
        assert_eq!(bed.store.history(&bed.address(key), 10).await.unwrap().len(), 2, "nothing was abandoned");
    }
    assert_eq!(bed.written(), "7,7");
}

#[tokio::test]
async fn a_run_that_rolled_back_to_before_its_completion_is_in_doubt() {
    let bed = Bed::new("undone_by_savepoint").await;
    let store = bed.store.clone();
    let reply = bed.sentinel().once::<String>("k").run(move |run: Run| async move {
        let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        let mut nested = tx.begin().await.unwrap();
        let result = encode_result(&Json, &7, Payload::DEFAULT_LIMIT);
        let _ = store.complete_in(&mut nested, &run, &result).await.unwrap();
        nested.rollback().await.unwrap();
        commit(tx).await.map(|()| 7).map_err(|error| error.to_string())
    });
    let reply = reply.await.unwrap();
    assert!(matches!(reply, Outcome::RanUncertain(_)), "{reply:?}");
}

#[tokio::test]
async fn a_proven_rollback_vouches_for_a_release() {
    let bed = Bed::new("vouched_rollback").await;
    let store = bed.store.clone();
    let function = move |run: Run| async move {
        let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        let result = encode_result(&Json, &7, Payload::DEFAULT_LIMIT);
        let _ = store.complete_in(&mut tx, &run, &result).await.unwrap();
        let _ = sql(&mut tx, "SELECT 1 / 0").await;
        commit(tx).await.map(|()| 7)
    };
    let once = bed.sentinel().once("k").nothing_happened_if(CommitError::nothing_was_applied);
    let reply = once.run(function).await.unwrap();
    assert!(matches!(reply, Outcome::Failed(Failure::NothingHappened(_))), "{reply:?}");
    assert_eq!(bed.state("k").await, Some(State::Free));
}

#[tokio::test]
async fn a_pending_value_is_handed_out_by_a_commit_alone() {
    let bed = Bed::new("handed_out").await;
    let mut mine = bed.connect().await;
    // A statement whose error was ignored.
    let mut tx = mine.begin().await.unwrap();
    let ran = pending(&bed, &mut tx, "k", 7).await;
    assert!(sql(&mut tx, "SELECT 1 / 0").await.is_err());
    let error = ran.commit(tx).await.unwrap_err();
    assert!(matches!(error, CommitError::RolledBack { .. }) && error.nothing_was_applied(), "{error}");
    // A constraint that is checked at the commit.
    sql(&mut mine, "CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)").await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    let ran = pending(&bed, &mut tx, "k", 7).await;
    sql(&mut tx, "INSERT INTO late VALUES (1), (1)").await.unwrap();
    let error = ran.commit(tx).await.unwrap_err();
    assert!(error.nothing_was_applied() && error.to_string().contains("late_n_key"), "{error}");
    // A rollback to before it ran.
    let mut tx = mine.begin().await.unwrap();
    let mut nested = tx.begin().await.unwrap();
    let ran = pending(&bed, &mut nested, "k", 7).await;
    nested.rollback().await.unwrap();
    bed.write(&mut tx, 8).await.unwrap();
    let error = ran.commit(tx).await.unwrap_err();
    assert!(matches!(error, CommitError::NotRecorded) && !error.nothing_was_applied(), "{error}");
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("", None));
    // Nothing of all that is left in the session.
    let mut tx = mine.begin().await.unwrap();
    let ran = pending(&bed, &mut tx, "k", 7).await;
    assert_eq!(ran.commit(tx).await.unwrap(), 7);
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("7", Some(State::Completed)));
}

#[tokio::test]
async fn a_transaction_that_a_statement_ended_is_not_committed_again() {
    let bed = Bed::new("ended_before").await;
    for (key, text) in [("a", "ROLLBACK"), ("b", "ROLLBACK; BEGIN"), ("c", "COMMIT")] {
        let mut mine = bed.connect().await;
        let mut tx = mine.begin().await.unwrap();
        let ran = pending(&bed, &mut tx, key, 7).await;
        for part in text.split("; ") {
            sql(&mut tx, part).await.unwrap();
        }
        let error = ran.commit(tx).await.unwrap_err();
        assert!(matches!(error, CommitError::Ended | CommitError::NotRecorded), "{text}: {error:?}");
        assert!(!error.nothing_was_applied(), "{text}");
    }
    assert_eq!(bed.written(), "7", "of the last");
}

#[tokio::test]
async fn a_savepoint_does_not_pass_for_a_transaction() {
    let bed = Bed::new("nested").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let mut nested = tx.begin().await.unwrap();
    let ran = pending(&bed, &mut nested, "k", 7).await;
    let error = ran.commit(nested).await.unwrap_err();
    assert!(matches!(error, CommitError::Nested), "{error:?}");
    // Where the savepoint is released first, the outermost transaction commits both.
    let mut nested = tx.begin().await.unwrap();
    let ran = pending(&bed, &mut nested, "k", 7).await;
    nested.commit().await.unwrap();
    assert_eq!(ran.commit(tx).await.unwrap(), 7);
    assert_eq!(bed.written(), "7");
}

#[tokio::test]
async fn several_are_handed_out_by_one_commit() {
    let bed = Bed::new("several").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let first = pending(&bed, &mut tx, "a", 1).await;
    let second = pending(&bed, &mut tx, "b", 2).await.and(pending(&bed, &mut tx, "c", 3).await);
    // A key that ran earlier in this transaction is not done yet either.
    let again = pending(&bed, &mut tx, "a", 9).await;
    assert_eq!(*again.provisional(), 1);
    assert_eq!(Pending::all([first, again]).and(second).commit(tx).await.unwrap(), (vec![1, 1], (2, 3)));
    assert_eq!(bed.written(), "1,2,3");
    // One that was rolled back spoils all.
    let mut tx = mine.begin().await.unwrap();
    let kept = pending(&bed, &mut tx, "d", 4).await;
    let mut nested = tx.begin().await.unwrap();
    let lost = pending(&bed, &mut nested, "e", 5).await;
    nested.rollback().await.unwrap();
    let error = Pending::all([kept, lost]).commit(tx).await.unwrap_err();
    assert!(matches!(error, CommitError::NotRecorded), "{error:?}");
    assert_eq!(bed.written(), "1,2,3");
}

#[tokio::test]
async fn a_commit_without_an_answer_is_unknown_and_one_that_was_never_sent_is_not() {
    let bed = Bed::new("cut").await;
    let proxy = Proxy::start(postgres().port());
    let url = postgres().url().replace(&format!(":{}/", postgres().port()), &format!(":{}/", proxy.port()));
    let mut mine = PgConnection::connect(&url).await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    let ran = pending(&bed, &mut tx, "before", 1).await;
    proxy.requests().cut_after(0);
    let error = ran.commit(tx).await.unwrap_err();
    assert!(error.nothing_was_applied(), "COMMIT was not sent: {error}");
    proxy.heal();
    // The check is answered, and the COMMIT after it is not.
    let mut mine = PgConnection::connect(&url).await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    sql(&mut tx, "CREATE TEMP TABLE slow (n int) ON COMMIT DROP").await.unwrap();
    let kill = "CREATE FUNCTION pg_temp.kill() RETURNS trigger LANGUAGE plpgsql AS \
        'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NULL; END'; \
        CREATE CONSTRAINT TRIGGER kill AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW EXECUTE FUNCTION pg_temp.kill(); INSERT INTO slow VALUES (1)";
    sql(&mut tx, kill).await.unwrap();
    let ran = pending(&bed, &mut tx, "during", 1).await;
    let error = ran.commit(tx).await.unwrap_err();
    assert!(matches!(error, CommitError::Unknown { .. }) && !error.nothing_was_applied(), "{error}");
}

/// Calls a function that ends its transaction, and gives the error.
async fn ending(bed: &Bed, key: &str, text: &str, fails: bool) -> sentinel_core::StoreError {
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let address = bed.address(key);
    let function = async |connection: &mut PgConnection| {
        for part in text.split("; ") {
            sql(connection, part).await.unwrap();
        }
        if fails { Err("failed".to_owned()) } else { Ok(7) }
    };
    match bed.store.once_in_transaction(&mut tx, &address).run(function).await {
        Err(Error::Store(error)) => error,
        other => panic!("{text}: {other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_ends_the_transaction_is_reported_as_ambiguous() {
    let bed = Bed::new("ended_inside").await;
    let write = "INSERT INTO ended_inside VALUES (7)";
    let ways = [
        format!("{write}; ROLLBACK; {write}"),
        format!("{write}; COMMIT"),
        format!("{write}; COMMIT; BEGIN"),
        format!("{write}; ROLLBACK; {write}; BEGIN"),
        format!("{write}; COMMIT; BEGIN; SAVEPOINT other"),
    ];
    for (n, text) in ways.iter().enumerate() {
        for fails in [false, true] {
            let error = ending(&bed, &format!("{n}{fails}"), text, fails).await;
            assert_eq!(error.applied(), Applied::Ambiguous, "{text}: {error}");
            let words = error.to_string();
            assert!(words.contains("ended the transaction itself"), "{text}: {words}");
            assert!(!words.contains("nothing was"), "{text}: {words}");
        }
    }
    assert_eq!(bed.written().matches('7').count(), 10, "each of them wrote once");
}

#[tokio::test]
async fn a_transaction_that_is_over_before_the_call_is_refused() {
    let bed = Bed::new("over_before").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    sql(&mut tx, "COMMIT").await.unwrap();
    let Err(Error::Store(error)) = bed.once(&mut tx, "k", 7).await else { panic!("it is refused") };
    assert_eq!(error.applied(), Applied::No, "{error}");
    assert!(error.to_string().contains("had been ended before this call"), "{error}");
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("", None));
    let error = commit(tx).await.unwrap_err();
    assert!(matches!(error, CommitError::Ended), "{error:?}");
}

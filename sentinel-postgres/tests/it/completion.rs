//! An execution that began outside is completed inside a transaction of the user's.

use sentinel::postgres::PostgresExt as _;
use sentinel_client::{Json, Outcome, encode_result};
use sentinel_core::operation::*;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{ClaimId, Grant, Payload, State};
use sentinel_postgres::commit;
use sentinel_testbed::postgres;
use sqlx::{Connection as _, PgConnection};

use crate::transaction::Bed;

#[tokio::test]
async fn an_execution_from_outside_is_completed_in_the_transaction() {
    let bed = Bed::new("completed_in").await;
    let store = bed.store.clone();
    let run = move |run: sentinel_client::Run| async move {
        let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        sqlx::raw_sql("INSERT INTO completed_in VALUES (1)").execute(&mut *tx).await.unwrap();
        let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
        let reply = store.complete_in(&mut tx, &run, &result).await.unwrap();
        assert_eq!(reply, CompleteReply::Recorded { late: false });
        let seen = store.inspect(run.address()).await.unwrap().record.unwrap().state;
        assert_eq!(seen, State::Executing, "not true before the commit");
        commit(tx).await.map(|()| 5)
    };
    let reply = bed.sentinel().once("good").run(run).await.unwrap();
    assert!(matches!(reply, Outcome::Completed(5)), "{reply:?}");
    assert_eq!((bed.written().as_str(), bed.state("good").await), ("1", Some(State::Completed)));
    let history = bed.store.history(&bed.address("good"), 10).await.unwrap();
    assert_eq!(history.len(), 2, "claimed and completed: the client only reads, and repeats");
}

#[tokio::test]
async fn a_completion_that_was_rolled_back_is_not_reported_as_done() {
    let bed = Bed::new("not_completed").await;
    let store = bed.store.clone();
    let run = move |run: sentinel_client::Run| async move {
        let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
        let mut tx = mine.begin().await.unwrap();
        let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
        let _ = store.complete_in(&mut tx, &run, &result).await.unwrap();
        tx.rollback().await.unwrap();
        Err::<i32, _>("rolled back".to_owned())
    };
    let reply = bed.sentinel().once("doubt").run(run.clone()).await.unwrap();
    assert!(matches!(reply, Outcome::RanUncertain(_)), "{reply:?}");
    assert_eq!(bed.state("doubt").await, Some(State::Executing));
    // A caller that knows that everything was in the transaction, and that it was rolled back, may vouch for that.
    let reply = bed.sentinel().once("vouched").nothing_happened_if(|_| true).run(run).await.unwrap();
    assert!(matches!(reply, Outcome::Failed(_)), "{reply:?}");
    assert_eq!(bed.state("vouched").await, Some(State::Free));
}

#[tokio::test]
async fn a_completion_of_another_workers_run_changes_nothing_and_the_transaction_continues() {
    let bed = Bed::new("superseded").await;
    let grant = bed.begun("k").await;
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let stale = Grant { claim_id: ClaimId::random(), ..grant };
    let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
    let reply = bed.store.complete_grant_in(&mut tx, &bed.address("k"), stale, &result).await.unwrap();
    assert!(matches!(reply, CompleteReply::Superseded(_)), "{reply:?}");
    let free = "SELECT count(*) FROM (SELECT FROM txn.records WHERE namespace = 'superseded' FOR UPDATE SKIP LOCKED) r";
    assert_eq!(postgres().psql(free), "1", "the transaction does not hold the record");
    bed.write(&mut tx, 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("1", Some(State::Executing)));
}

#[tokio::test]
async fn a_heartbeat_passes_over_a_record_that_a_transaction_holds() {
    let bed = Bed::new("beating").await;
    let (held, other) = (bed.begun("held").await, bed.begun("other").await);
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let result = encode_result(&Json, &5, Payload::DEFAULT_LIMIT);
    let _ = bed.store.complete_grant_in(&mut tx, &bed.address("held"), held, &result).await.unwrap();
    let beats =
        [("held", held), ("other", other)].map(|(key, grant)| Beat { address: bed.address(key), grant });
    let reply = bed.store.heartbeat(&beats).await.unwrap();
    assert_eq!(reply[0].reply, HeartbeatReply::Unknown);
    assert!(matches!(reply[1].reply, HeartbeatReply::Kept { .. }), "{reply:?}");
    tx.rollback().await.unwrap();
    let reply = bed.store.heartbeat(&beats).await.unwrap();
    assert!(matches!(reply[0].reply, HeartbeatReply::Kept { .. }), "{reply:?}");
}

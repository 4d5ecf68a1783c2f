//! Faults: which operations fail, with which error, and which are not affected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel_conformance::{Harness as _, dropped_at_any_poll};
use sentinel_core::operation::*;
use sentinel_core::{Applied, Clock, CoordinationStore, ErrorKind, Label, State, StoreTime, SystemClock};
use sentinel_sqlite::SqliteStore;
use sentinel_testbed::until;

use crate::harness::*;

#[tokio::test]
async fn a_writer_that_keeps_the_lock_makes_the_store_busy() {
    let on = OnDisk::open().await;
    let impatient =
        SqliteStore::builder(on.path()).busy_timeout(Duration::from_millis(20)).open().await.unwrap();
    once(&impatient, &execution("done"), &fused(), b"kept").await;
    impatient.claim(&execution("done"), &fused()).await.unwrap();
    let holder = on.plain();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = impatient.claim(&execution("a"), &fused()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Busy, Applied::No));
    assert!(error.is_worth_repeating());
    // Reads and replays do not wait for writers.
    assert!(impatient.inspect(&execution("a")).await.unwrap().record.is_none());
    let reply = impatient.claim(&execution("done"), &fused()).await.unwrap().reply;
    assert_eq!(reply, ClaimReply::Completed { result: success(b"kept"), remaining: None });
    holder.execute_batch("ROLLBACK").unwrap();
    granted(&impatient, &execution("a"), &fused()).await;
}

#[tokio::test]
async fn a_row_that_no_record_can_have_is_not_read() {
    let on = OnDisk::open().await;
    // A token beyond the last, half a claim id, and one more than are remembered.
    for corrupt in ["token = 9007199254740992", "past_claims = x'00'", "past_claims = zeroblob(144)"] {
        granted(&on.store, &execution(corrupt), &fused()).await;
        on.plain().execute(&format!("UPDATE records SET {corrupt} WHERE key = ?1"), [corrupt]).unwrap();
        let error = on.store.inspect(&execution(corrupt)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{corrupt}: {error}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_alone() {
    let on = OnDisk::open().await;
    let bad = granted(&on.store, &execution("bad"), &fused()).await;
    let good = granted(&on.store, &execution("good"), &fused()).await;
    on.plain().execute("UPDATE records SET claim_id = x'00' WHERE key = 'bad'", []).unwrap();
    let beat = |key, grant| Beat { address: execution(key), grant };
    on.advance(Duration::from_secs(1)).await;
    let replies = on.store.heartbeat(&[beat("bad", bad), beat("good", good)]).await.unwrap();
    assert_eq!(replies[0].reply, HeartbeatReply::Unknown);
    assert!(matches!(replies[1].reply, HeartbeatReply::Kept { .. }));
    let claims = (0..64).map(|n| {
        let (store, key) = (on.store.clone(), if n % 8 == 0 { "bad".into() } else { format!("key {n}") });
        async move { (key.clone(), store.claim(&execution(&key), &fused()).await) }
    });
    let mut running = tokio::task::JoinSet::new();
    claims.for_each(|claim| drop(running.spawn(claim)));
    for (key, reply) in running.join_all().await {
        match reply {
            Ok(reply) => assert!(matches!(reply.reply, ClaimReply::Granted(_)) && key != "bad"),
            Err(error) => {
                assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
                assert_eq!(key, "bad");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_write_does_not_fail_the_others_of_its_batch() {
    let on = OnDisk::open().await;
    // Events large enough that older ones are moved to the table of old events.
    let long = |name: &str| Label::new(format!("{name}{}", "x".repeat(1000))).unwrap();
    let label = |n: usize| if n.is_multiple_of(8) { long("poison") } else { long("fine") };
    for n in 0..64 {
        let wanted = Claim { worker: label(n), ..claim(Phase::Claimed) };
        let grant = granted(&on.store, &lease(&format!("key {n}")), &wanted).await;
        on.store.release(&lease(&format!("key {n}")), &Release { grant, vouched: false }).await.unwrap();
    }
    // Half of the operation succeeds: the old event is moved, the record is refused.
    on.plain()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE UPDATE ON records WHEN new.worker LIKE 'poison%' \
             BEGIN SELECT raise(ABORT, 'refused'); END",
        )
        .unwrap();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..64 {
        let (store, wanted) = (on.store.clone(), Claim { worker: label(n), ..claim(Phase::Claimed) });
        running.spawn(async move { (n, store.claim(&lease(&format!("key {n}")), &wanted).await) });
    }
    for (n, reply) in running.join_all().await {
        let at = lease(&format!("key {n}"));
        let found = on.store.inspect(&at).await.unwrap().record.unwrap();
        let changes = on.store.history(&at, 10).await.unwrap().len();
        if n % 8 == 0 {
            assert_eq!(reply.unwrap_err().applied(), Applied::No);
            assert_eq!((found.state, changes), (State::Free, 2), "what was refused left nothing behind");
        } else {
            assert!(matches!(reply.unwrap().reply, ClaimReply::Granted(_)));
            assert_eq!((found.state, changes), (State::Claimed, 3));
        }
    }
}

/// A clock that panics once it is set to.
#[derive(Debug, Default)]
struct Fragile(AtomicBool);

impl Clock for Fragile {
    fn now(&self) -> StoreTime {
        assert!(!self.0.load(Ordering::SeqCst), "the clock is broken");
        SystemClock.now()
    }
}

#[tokio::test]
async fn a_panic_in_the_writer_fails_only_its_operation() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Fragile::default());
    let store = SqliteStore::builder(dir.path().join("s.db")).clock(clock.clone()).open().await.unwrap();
    clock.0.store(true, Ordering::SeqCst);
    let error = store.claim(&execution("a"), &fused()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::BrokenStore, Applied::No));
    assert!(store.inspect(&execution("none")).await.is_err());
    clock.0.store(false, Ordering::SeqCst);
    assert!(store.inspect(&execution("a")).await.unwrap().record.is_none());
    granted(&store, &execution("a"), &fused()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_moved_is_refused() {
    let on = OnDisk::open().await;
    std::fs::rename(on.path(), on.path().with_extension("moved")).unwrap();
    let error = on.store.claim(&execution("a"), &fused()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unreachable, Applied::No));
    std::fs::rename(on.path().with_extension("moved"), on.path()).unwrap();
    granted(&on.store, &execution("a"), &fused()).await;
}

#[tokio::test]
async fn an_operation_is_carried_out_after_its_caller_is_gone() {
    let on = OnDisk::open().await;
    let holder = on.plain();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = on.another().await;
    let (at, wanted) = (execution("a"), fused());
    // Polled once, so that it was sent; then the future and the store itself are dropped.
    let sent = async {
        tokio::select! { biased; _ = store.claim(&at, &wanted) => true, () = async {} => false }
    };
    assert!(!sent.await);
    drop(store);
    holder.execute_batch("ROLLBACK").unwrap();
    loop {
        match on.store.inspect(&execution("a")).await.unwrap().record {
            Some(record) => break assert_eq!(record.claim_id, Some(wanted.claim_id)),
            None => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn an_impossible_request_is_refused_and_changes_nothing() {
    let on = OnDisk::open().await;
    let error = on.store.claim(&lease("a"), &fused()).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::InvalidRequest, Applied::No));
    assert!(on.store.inspect(&lease("a")).await.unwrap().record.is_none());
}

#[tokio::test]
async fn cancelled_callers_leave_no_open_transaction() {
    let on = Arc::new(OnDisk::open().await);
    dropped_at_any_poll(on.clone()).await;
    granted(&on.store, &execution("after"), &fused()).await;
    // What was dropped last may still be carried out.
    let other = on.plain();
    other.busy_timeout(Duration::ZERO).unwrap();
    until("the file is free", || other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok());
}

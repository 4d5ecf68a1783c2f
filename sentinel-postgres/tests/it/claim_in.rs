//! The claim in a transaction from which a runtime is built: granted, completed, undone, refused.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{Address, Applied, ErrorKind, Kind, Payload, RecordedResult, State};
use sentinel_postgres::{ClaimInTransaction, GrantInTransaction};
use sqlx::{Connection as _, Postgres, Transaction};

use crate::transaction::{Bed, claim};

const MINUTE: Duration = Duration::from_secs(60);

fn result(text: &str) -> RecordedResult {
    RecordedResult::success(Payload::new("text/plain", text.to_owned()))
}

async fn granted<'t>(
    bed: &'t Bed,
    tx: &'t mut Transaction<'_, Postgres>,
    address: &'t Address,
) -> GrantInTransaction<'t> {
    let claim = claim(Phase::Executing, MINUTE);
    let granted = match bed.store.claim_in(tx, address, &claim, None).await.unwrap() {
        ClaimInTransaction::Granted(granted) => granted,
        other => panic!("{other:?}"),
    };
    assert_eq!(granted.grant().claim_id, claim.claim_id);
    granted
}

#[tokio::test]
async fn claim_effect_and_result_commit_together() {
    let bed = Bed::new("claimed_in").await;
    let address = bed.address("k");
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let mut run = granted(&bed, &mut tx, &address).await;
    let grant = run.grant();
    bed.write(run.connection(), 1).await.unwrap();
    let pending = run.complete(result("done")).await.unwrap();

    // The same transaction sees its own result, and runs nothing again.
    let again = bed.store.claim_in(&mut tx, &address, &claim(Phase::Executing, MINUTE), None).await.unwrap();
    let ClaimInTransaction::CompletedHere(seen) = again else { panic!("{again:?}") };
    assert_eq!(*seen.provisional(), result("done"));
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("", None), "nothing is true yet");
    let ((), recorded) = pending.and(seen).map(|(done, recorded)| (done, recorded)).commit(tx).await.unwrap();
    assert_eq!(recorded, result("done"));
    let record = bed.store.inspect(&address).await.unwrap().record.unwrap();
    assert_eq!((record.state, record.token), (State::Completed, grant.token));
    assert_eq!(bed.written(), "1");

    let mut tx = mine.begin().await.unwrap();
    let again = bed.store.claim_in(&mut tx, &address, &claim(Phase::Executing, MINUTE), None).await.unwrap();
    let ClaimInTransaction::Refused(ClaimReply::Completed { result: replayed, .. }) = again else {
        panic!("{again:?}")
    };
    assert_eq!(replayed, result("done"));
}

#[tokio::test]
async fn an_undone_claim_leaves_nothing_and_the_transaction_continues() {
    let bed = Bed::new("claim_undone").await;
    let address = bed.address("k");
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    bed.write(&mut tx, 1).await.unwrap();
    let mut run = granted(&bed, &mut tx, &address).await;
    bed.write(run.connection(), 2).await.unwrap();
    run.undo().await.unwrap();
    bed.write(&mut tx, 3).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((bed.written().as_str(), bed.state("k").await), ("1,3", None));
}

#[tokio::test]
async fn a_claim_that_does_not_fit_is_refused_before_anything_is_sent() {
    let bed = Bed::new("claim_refused").await;
    let (execution, fused) = (bed.address("k"), claim(Phase::Executing, MINUTE));
    let lease = Address { kind: Kind::Lease, ..execution.clone() };
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    // A statement would fail in this transaction, with another error.
    assert!(sqlx::raw_sql("SELECT 1 / 0").execute(&mut *tx).await.is_err());
    for (address, claim, lock_timeout, words) in [
        (&lease, &fused, None, "a lease is claimed, never begun"),
        (&execution, &claim(Phase::Claimed, MINUTE), None, "begins at once"),
        (&execution, &fused, Some(Duration::ZERO), "at most a minute"),
        (&execution, &fused, Some(MINUTE + Duration::from_millis(1)), "at most a minute"),
    ] {
        let error = bed.store.claim_in(&mut tx, address, claim, lock_timeout).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::InvalidRequest, Applied::No), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

//! What a bucket has lost: a record that was not deleted is reported as lost, one that expired is not, and a failed
//! write is not listed.

use sentinel_conformance::DynHarness as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, ClaimId, CoordinationStore as _, ErrorKind, Kind, StoreError};

use crate::harness::{DAY, HARD, StoreHarness, call, fused, kept};
use crate::upkeep::indexes;

/// Checks that a bucket whose loss was detected refuses every operation until an operator accepts the loss.
async fn is_missed(harness: &StoreHarness, marker: &str, claims: &[Result<Stamped<ClaimReply>, StoreError>]) {
    let missed = |error: &StoreError| error.kind() == ErrorKind::DataLoss;
    assert!(claims.iter().all(|claim| claim.as_ref().is_err_and(missed)), "{claims:?}");
    let later = harness.store.claim(&harness.lease("later"), &call()).await;
    assert!(later.as_ref().is_err_and(missed), "{later:?}");
    harness.accept_loss(marker);
}

/// Claims keys by one call.
async fn claimed(harness: &StoreHarness, keys: &[&Address]) -> Vec<Result<Stamped<ClaimReply>, StoreError>> {
    let asked = keys.iter().map(|address| async { harness.store.claim(address, &call()).await });
    futures_util::future::join_all(asked).await
}

/// A record that is lost before it expires is detected when its key is claimed, alone or with others, which are not
/// listed.
pub(crate) async fn a_dropped_record_is_detected(harness: &StoreHarness, how: &str) {
    let (address, fresh) = (harness.execution("k"), harness.execution("fresh"));
    match how {
        "kept" => _ = harness.completed(&address, &kept()).await,
        "free" => _ = harness.tombstone(&address).await,
        _ => _ = harness.granted(&address, &fused()).await,
    }
    let marker = harness.raw(&["GET", &harness.named("marker")]);
    harness.delete_record(&address);
    assert_eq!(harness.purge().await, 0, "nothing is due");
    for keys in [&[&address][..], &[&fresh, &address], &[&address, &fresh]] {
        let claims = claimed(harness, keys).await;
        is_missed(harness, &marker, &claims).await;
        let records = [harness.key('r', &address), harness.key('r', &fresh)];
        assert_eq!(harness.raw(&["EXISTS", &records[0], &records[1]]), "0");
        assert_eq!(indexes(harness, Kind::Execution)[0], "", "none of them is there");
        harness.raw(&["ZADD", &harness.named("index:e"), "0", "k"]);
    }
    harness.granted(&fresh, &call()).await;
}

/// A lost index is detected by the empty name.
pub(crate) async fn a_dropped_index_is_detected(harness: &StoreHarness, _: &str) {
    let (address, fresh) = (harness.execution("k"), harness.execution("fresh"));
    harness.granted(&address, &fused()).await;
    let marker = harness.raw(&["GET", &harness.named("marker")]);
    harness.raw(&["DEL", &harness.named("index:e")]);
    let claims = claimed(harness, &[&fresh]).await;
    is_missed(harness, &marker, &claims).await;
    harness.granted(&fresh, &call()).await;
}

/// A key whose record expired begins anew, and nothing of the earlier record is left in an index.
pub(crate) async fn an_expired_key_is_claimed_anew(harness: &StoreHarness, how: &str) {
    let address = harness.execution("k");
    harness.completed(&address, &kept()).await;
    harness.delete_record(&address);
    harness.advance(DAY).await;
    let reply = match how {
        "cancel" => harness.change(&address, Cancel { claim_id: ClaimId::random() }).await,
        "beside others" => {
            let fresh = ["a", "b"].map(|key| harness.execution(key));
            let claims = claimed(harness, &[&fresh[0], &address, &fresh[1]]).await;
            claims.into_iter().map(Result::unwrap).nth(1).unwrap().stamp
        }
        _ => harness.change(&address, call()).await,
    };
    assert_eq!(reply.rev, 1);
    let events = harness.store.history(&address, u32::MAX).await.unwrap();
    assert_eq!((events.len(), events[0].from), (1, None));
    let due = indexes(harness, Kind::Execution)[2].clone();
    let rested = harness.record(&address).await.last_now.plus(HARD).as_micros() + 1;
    assert_eq!(due, if how == "cancel" { format!("k {rested}") } else { String::new() });
}

/// A call that the server refuses in the middle has changed no record, and lists none that is not there.
pub(crate) async fn a_failed_write_is_not_listed(harness: &StoreHarness, _: &str) {
    let keys = ["a", "b", "c"].map(|key| harness.execution(key));
    // The bucket has been marked: what is refused is refused in the script.
    harness.granted(&harness.lease("first"), &call()).await;
    harness.raw(&["SET", &harness.named("undecided:e"), "no index"]);
    for refused in claimed(harness, &keys.each_ref()).await {
        assert_ne!(refused.unwrap_err().kind(), ErrorKind::DataLoss);
    }
    harness.raw(&["DEL", &harness.named("undecided:e")]);
    assert_eq!(indexes(harness, Kind::Execution), <[String; 3]>::default());
    harness.advance(DAY).await;
    for address in &keys {
        assert!(harness.record(address).await.is_absent());
        harness.granted(address, &call()).await;
    }
}

/// So it is where the record alone was refused, which is written last: no list has the key.
pub(crate) async fn a_denied_write_is_not_listed(harness: &StoreHarness, _: &str) {
    let (claimed, cancelled) = (harness.execution("a"), harness.execution("b"));
    let limited = harness.without("mset").await;
    let cancel = Cancel { claim_id: ClaimId::random() };
    let refused =
        [limited.claim(&claimed, &call()).await.err(), limited.cancel(&cancelled, &cancel).await.err()];
    for error in refused {
        let error = error.unwrap();
        assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::DeploymentRefused), "{error}");
    }
    assert_eq!(indexes(harness, Kind::Execution), <[String; 3]>::default());
    harness.granted(&claimed, &call()).await;
    harness.change(&cancelled, cancel).await;
}

mod checks {
    crate::mutants::own_tests! {
        a_dropped_record_is_detected for "executing" "kept" "free";
        a_dropped_index_is_detected;
        an_expired_key_is_claimed_anew for
            "claim" "cancel" "beside others" "claim with a fixed clock" "cancel with a fixed clock";
        a_failed_write_is_not_listed;
        a_denied_write_is_not_listed;
    }
}

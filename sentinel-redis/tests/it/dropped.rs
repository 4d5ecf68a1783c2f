//! What a bucket has lost: a record that nobody has deleted is missed, one that expired is not, and what could not be written
//! is not listed.

use sentinel_conformance::Bench as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, ClaimId, CoordinationStore as _, ErrorKind, Kind, StoreError};

use crate::rig::{DAY, HARD, Rig, call, fused, kept};
use crate::upkeep::shelves;

/// A bucket whose loss was found: it answers nothing until somebody has looked.
async fn is_missed(rig: &Rig, marker: &str, claims: &[Result<Stamped<ClaimReply>, StoreError>]) {
    let missed = |error: &StoreError| error.kind() == ErrorKind::DataLoss;
    assert!(claims.iter().all(|claim| claim.as_ref().is_err_and(missed)), "{claims:?}");
    let later = rig.store.claim(&rig.lease("later"), &call()).await;
    assert!(later.as_ref().is_err_and(missed), "{later:?}");
    rig.go_on(marker);
}

/// Claims keys by one call.
async fn claimed(rig: &Rig, keys: &[&Address]) -> Vec<Result<Stamped<ClaimReply>, StoreError>> {
    let asked = keys.iter().map(|address| async { rig.store.claim(address, &call()).await });
    futures_util::future::join_all(asked).await
}

/// A record that is gone before its time is missed when its key is asked for, alone or beside others, which are not listed.
pub(crate) async fn a_dropped_record_is_missed(rig: &Rig, how: &str) {
    let (address, fresh) = (rig.execution("k"), rig.execution("fresh"));
    match how {
        "kept" => _ = rig.completed(&address, &kept()).await,
        "free" => _ = rig.tombstone(&address).await,
        _ => _ = rig.granted(&address, &fused()).await,
    }
    let marker = rig.raw(&["GET", &rig.named("marker")]);
    rig.lose(&address);
    assert_eq!(rig.purge().await, 0, "nothing is due");
    for keys in [&[&address][..], &[&fresh, &address], &[&address, &fresh]] {
        let claims = claimed(rig, keys).await;
        is_missed(rig, &marker, &claims).await;
        let records = [rig.key('r', &address), rig.key('r', &fresh)];
        assert_eq!(rig.raw(&["EXISTS", &records[0], &records[1]]), "0");
        assert_eq!(shelves(rig, Kind::Execution)[0], "", "none of them is there");
        rig.raw(&["ZADD", &rig.named("index:e"), "0", "k"]);
    }
    rig.granted(&fresh, &call()).await;
}

/// An index that is gone is missed by the empty name.
pub(crate) async fn a_dropped_index_is_missed(rig: &Rig, _: &str) {
    let (address, fresh) = (rig.execution("k"), rig.execution("fresh"));
    rig.granted(&address, &fused()).await;
    let marker = rig.raw(&["GET", &rig.named("marker")]);
    rig.raw(&["DEL", &rig.named("index:e")]);
    let claims = claimed(rig, &[&fresh]).await;
    is_missed(rig, &marker, &claims).await;
    rig.granted(&fresh, &call()).await;
}

/// A key whose record expired begins anew, and nothing of the last life stands anywhere.
pub(crate) async fn an_expired_key_is_claimed_anew(rig: &Rig, how: &str) {
    let address = rig.execution("k");
    rig.completed(&address, &kept()).await;
    rig.lose(&address);
    rig.advance(DAY).await;
    let told = match how {
        "cancel" => rig.change(&address, Cancel { claim_id: ClaimId::random() }).await,
        "beside others" => {
            let fresh = ["a", "b"].map(|key| rig.execution(key));
            let claims = claimed(rig, &[&fresh[0], &address, &fresh[1]]).await;
            claims.into_iter().map(Result::unwrap).nth(1).unwrap().stamp
        }
        _ => rig.change(&address, call()).await,
    };
    assert_eq!(told.rev, 1);
    let events = rig.store.history(&address, u32::MAX).await.unwrap();
    assert_eq!((events.len(), events[0].from), (1, None));
    let due = shelves(rig, Kind::Execution)[2].clone();
    let rested = rig.record(&address).await.last_now.plus(HARD).as_micros() + 1;
    assert_eq!(due, if how == "cancel" { format!("k {rested}") } else { String::new() });
}

/// A call that the server refuses in the middle has changed no record, and lists none that is not there.
pub(crate) async fn what_was_not_written_is_not_listed(rig: &Rig, _: &str) {
    let keys = ["a", "b", "c"].map(|key| rig.execution(key));
    // The bucket has been marked: what is refused is refused in the script.
    rig.granted(&rig.lease("first"), &call()).await;
    rig.raw(&["SET", &rig.named("undecided:e"), "no index"]);
    for refused in claimed(rig, &keys.each_ref()).await {
        assert_ne!(refused.unwrap_err().kind(), ErrorKind::DataLoss);
    }
    rig.raw(&["DEL", &rig.named("undecided:e")]);
    assert_eq!(shelves(rig, Kind::Execution), <[String; 3]>::default());
    rig.advance(DAY).await;
    for address in &keys {
        assert!(rig.record(address).await.is_absent());
        rig.granted(address, &call()).await;
    }
}

/// So it is where the record alone was refused, which is written last: no list has the key.
pub(crate) async fn what_may_not_be_written_is_not_listed(rig: &Rig, _: &str) {
    let (claimed, cancelled) = (rig.execution("a"), rig.execution("b"));
    let limited = rig.without("mset").await;
    let cancel = Cancel { claim_id: ClaimId::random() };
    let refused =
        [limited.claim(&claimed, &call()).await.err(), limited.cancel(&cancelled, &cancel).await.err()];
    for error in refused {
        let error = error.unwrap();
        assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::DeploymentRefused), "{error}");
    }
    assert_eq!(shelves(rig, Kind::Execution), <[String; 3]>::default());
    rig.granted(&claimed, &call()).await;
    rig.change(&cancelled, cancel).await;
}

mod holds {
    crate::mutants::own_tests! {
        a_dropped_record_is_missed for "executing" "kept" "free";
        a_dropped_index_is_missed;
        an_expired_key_is_claimed_anew for
            "claim" "cancel" "beside others" "claim while the clock stands" "cancel while the clock stands";
        what_was_not_written_is_not_listed;
        what_may_not_be_written_is_not_listed;
    }
}

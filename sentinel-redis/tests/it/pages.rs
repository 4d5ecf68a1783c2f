//! More keys than one call of a script takes.

use sentinel_conformance::DynHarness as _;
use sentinel_core::store::VisibleState;
use sentinel_core::{Address, Kind};

use crate::harness::{REST, StoreHarness};
use crate::upkeep::{indexes, listed};

/// More than one call of a script takes are claimed, freed and purged as if there were no such limit.
pub(crate) async fn many_keys_are_purged_in_pages(harness: &StoreHarness, _: &str) {
    let keys: Vec<Address> = (0..150).map(|n| harness.execution(&format!("k{n}"))).collect();
    futures_util::future::join_all(keys.iter().map(|address| harness.tombstone(address))).await;
    assert_eq!(listed(harness, Some(VisibleState::Free)).await, 150);
    let seen = futures_util::future::join_all(keys.iter().map(|address| harness.record(address))).await;
    assert!(seen.iter().all(|record| record.rev == 2));
    harness.advance(REST).await;
    assert_eq!((harness.purged(true).await.records, harness.purge().await), (150, 150));
    // The events that are left go an hour later.
    harness.advance(REST).await;
    assert_eq!((harness.purged(true).await.records, harness.purge().await), (0, 0));
    assert_eq!(indexes(harness, Kind::Execution), <[String; 3]>::default());
}

mod checks {
    crate::mutants::own_tests! {
        many_keys_are_purged_in_pages;
    }
}

//! The index of causes: what is entered, and that nothing is left in it.

use std::time::Duration;

use sentinel_conformance::DynHarness as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, Cause, CauseQuery, ClaimId, Kind, Root, Survey as _, TraceId};

use crate::harness::{DAY, HARD, StoreHarness, call, fused};

/// How many entries the index has.
fn entries(harness: &StoreHarness) -> String {
    harness.raw(&["ZCARD", &harness.named("causes")])
}

fn cause() -> Cause {
    Cause::new(Root::new("order 42").unwrap()).with_trace(TraceId::from_bits(42).unwrap())
}

fn because(claim: Claim) -> Claim {
    Claim { claim_id: ClaimId::random(), cause: Some(cause()), ..claim }
}

/// A record leaves the index when another claim has no cause, when it is purged, and when it has expired and a purge
/// comes by. A claim without a cause enters nothing.
pub(crate) async fn a_name_leaves_the_index_of_causes(harness: &StoreHarness, _: &str) {
    let both = |key: &str| {
        let execution = harness.execution(key);
        [execution.clone(), Address { kind: Kind::Lease, ..execution }]
    };
    harness.granted(&harness.execution("none"), &call()).await;
    assert_eq!(harness.raw(&["EXISTS", &harness.named("causes"), &caused(harness)]), "0");
    for address in both("k") {
        let grant = harness.granted(&address, &because(call())).await;
        assert_eq!(entries(harness), "3", "under its root, its trace and its name");
        harness.change(&address, Release { grant, vouched: false }).await;
        assert_eq!(entries(harness), "3");
        harness.granted(&address, &call()).await;
        assert_eq!(entries(harness), "0");
    }
    for address in both("free") {
        let grant = harness.granted(&address, &because(call())).await;
        harness.change(&address, Release { grant, vouched: false }).await;
        assert_eq!(entries(harness), "3");
        harness.advance(HARD * 3).await;
        assert_eq!(harness.purge().await, 1);
        assert_eq!(entries(harness), "0");
    }
    for address in both("expired") {
        let claim = match address.kind {
            Kind::Execution => because(Claim { retention: Some(DAY), ..fused() }),
            Kind::Lease => because(call()),
        };
        match address.kind {
            Kind::Execution => drop(harness.completed(&address, &claim).await),
            Kind::Lease => {
                let grant = harness.granted(&address, &claim).await;
                harness.change(&address, Release { grant, vouched: false }).await;
            }
        }
        assert_eq!(entries(harness), "3");
        harness.delete_record(&address);
        let query = CauseQuery::Root(cause().root().clone());
        assert_eq!(harness.store.by_cause(&query, None, 9).await.unwrap().records, []);
        harness.advance(DAY + Duration::from_secs(1)).await;
        assert_eq!(harness.purge().await, 0);
        assert_eq!(entries(harness), "0");
    }
    assert_eq!(harness.raw(&["SMEMBERS", &caused(harness)]), harness.namespace.as_str());
}

/// The set of namespaces in which a claim had a cause.
fn caused(harness: &StoreHarness) -> String {
    format!("{0}:{{{0}}}:caused", harness.prefix)
}

mod checks {
    crate::mutants::own_tests! {
        a_name_leaves_the_index_of_causes;
    }
}

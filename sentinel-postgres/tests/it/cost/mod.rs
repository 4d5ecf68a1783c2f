//! What operations cost: round trips, statements, commits and bytes of the log, held to a price list. Not one of the
//! figures is a time, so what becomes dearer fails on a busy machine as on a quiet one, and nothing else does.

mod meter;
mod prices;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, CoordinationStore as _, Grant, Kind};
use sentinel_testbed::CostBudget as Price;

use crate::harness::{Fixture, call, fused, label, result, runtime};
use meter::Meter;
use prices as price;

/// How often an operation is measured alone, and how many go together in a batch.
const ALONE: usize = 16;
const BATCH: usize = 64;

/// Holds an operation to two prices: alone, and of so many that come together.
fn hold<T>(
    schema: &str,
    [alone, company]: [&Price<4>; 2],
    scene: impl AsyncFn(&Fixture) -> T,
    operation: impl AsyncFn(&Fixture, &T),
) {
    runtime().block_on(async {
        let mut meter = Meter::open(schema).await;
        meter.measure(alone, ALONE, &scene, async |fixture, set: T| operation(fixture, &set).await).await;
        let all = async |fixture: &Fixture| join_all((0..BATCH).map(|_| scene(fixture))).await;
        let together = async |fixture: &Fixture, all: Vec<T>| {
            join_all(all.iter().map(|set| operation(fixture, set))).await;
        };
        meter.measure(company, 1, all, together).await;
        meter.settle();
    });
}

/// As long as a user's keys are, and as evenly spread.
fn fresh(fixture: &Fixture, kind: Kind) -> Address {
    Address { kind, ..fixture.execution(&format!("invoice-{}", ClaimId::random())) }
}

async fn held(fixture: &Fixture, kind: Kind, claim: &Claim) -> (Address, Grant) {
    let address = fresh(fixture, kind);
    let grant = fixture.granted(&address, claim).await;
    (address, grant)
}

async fn executing(fixture: &Fixture) -> (Address, Grant) {
    held(fixture, Kind::Execution, &fused()).await
}

async fn complete(fixture: &Fixture, address: &Address, grant: Grant) {
    let reply =
        fixture.store.complete(address, &Complete { grant, result: result(&"r".repeat(100)) }).await.unwrap();
    assert_eq!(reply.reply, CompleteReply::Recorded { late: false });
}

async fn release(fixture: &Fixture, (address, grant): &(Address, Grant)) {
    let reply = fixture.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
    assert_eq!(reply.reply, ReleaseReply::Released);
}

#[test]
fn a_fresh_claim() {
    let scene = async |fixture: &Fixture| (fresh(fixture, Kind::Execution), fused());
    hold("a_fresh_claim", [&price::CLAIM, &price::CLAIM_64], scene, async |fixture, (address, claim)| {
        fixture.granted(address, claim).await;
    });
}

#[test]
fn a_completion() {
    hold(
        "a_completion",
        [&price::COMPLETE, &price::COMPLETE_64],
        executing,
        async |fixture, (address, grant)| {
            complete(fixture, address, *grant).await;
        },
    );
}

#[test]
fn a_replay() {
    let scene = async |fixture: &Fixture| {
        let (address, grant) = executing(fixture).await;
        complete(fixture, &address, grant).await;
        address
    };
    hold("a_replay", [&price::REPLAY, &price::REPLAY_64], scene, async |fixture, address| {
        let reply = fixture.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::Completed { .. }), "{reply:?}");
    });
}

#[test]
fn a_contended_claim() {
    hold(
        "a_contended_claim",
        [&price::CONTENDED, &price::CONTENDED_64],
        executing,
        async |fixture, (address, _)| {
            let reply = fixture.store.claim(address, &fused()).await.unwrap();
            assert!(matches!(reply.reply, ClaimReply::InProgress { .. }), "{reply:?}");
        },
    );
}

#[test]
fn a_begin() {
    let scene = async |fixture: &Fixture| held(fixture, Kind::Execution, &call()).await;
    hold("a_begin", [&price::BEGIN, &price::BEGIN_64], scene, async |fixture, (address, grant)| {
        let reply = fixture.store.begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(reply.reply, BeginReply::Begun(_)), "{reply:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let scene = async |fixture: &Fixture| {
        let lease = held(fixture, Kind::Lease, &call()).await;
        release(fixture, &lease).await;
        (lease.0, call())
    };
    hold(
        "a_claim_of_a_free_lease",
        [&price::LEASE, &price::LEASE_64],
        scene,
        async |fixture, (address, claim)| {
            fixture.granted(address, claim).await;
        },
    );
}

#[test]
fn a_release() {
    let scene = async |fixture: &Fixture| held(fixture, Kind::Lease, &call()).await;
    hold("a_release", [&price::RELEASE, &price::RELEASE_64], scene, release);
}

#[test]
fn a_cancel() {
    let scene = async |fixture: &Fixture| held(fixture, Kind::Execution, &call()).await;
    hold("a_cancel", [&price::CANCEL, &price::CANCEL_64], scene, async |fixture, (address, grant)| {
        let reply = fixture.store.cancel(address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(reply.stamp.changed, "{reply:?}");
    });
}

#[test]
fn an_abandon() {
    hold(
        "an_abandon",
        [&price::ABANDON, &price::ABANDON_64],
        executing,
        async |fixture, (address, grant)| {
            let reply = fixture
                .store
                .abandon(
                    address,
                    &Abandon {
                        grant: *grant,
                        cause: label("it broke"),
                        late_effects: std::time::Duration::ZERO,
                    },
                )
                .await;
            assert!(reply.unwrap().stamp.changed);
        },
    );
}

/// Beats of so many live records of one kind, all in one call.
fn hold_beats(kind: Kind, [one, thousand]: [&Price<4>; 2]) {
    runtime().block_on(async {
        let schema = format!("cost_beats_{}", kind.as_str());
        let mut meter = Meter::open(&schema).await;
        let claim = if kind == Kind::Lease { call() } else { fused() };
        for (price, many) in [(one, 1), (thousand, 1_000)] {
            let live = join_all((0..many).map(|_| held(&meter.fixture, kind, &claim))).await;
            let beats: Vec<_> = live.into_iter().map(|(address, grant)| Beat { address, grant }).collect();
            let beat = async |fixture: &Fixture, ()| {
                let reply = fixture.store.heartbeat(&beats).await.unwrap();
                assert!(reply.iter().all(|reply| matches!(reply.reply, HeartbeatReply::Kept { .. })));
            };
            meter.measure(price, ALONE, async |_: &Fixture| (), beat).await;
        }
        meter.settle();
        // Only heartbeats updated anything in this schema.
        let (updates, hot) = meter.updates().await;
        assert!(hot * 100 >= updates * 95, "{hot} of {updates} updates touched no index");
    });
}

#[test]
fn a_heartbeat_of_executions() {
    hold_beats(Kind::Execution, [&price::BEAT, &price::BEAT_1000]);
}

#[test]
fn a_heartbeat_of_leases() {
    hold_beats(Kind::Lease, [&price::BEAT_LEASE, &price::BEAT_LEASE_1000]);
}

//! What operations cost: calls of scripts, commands of the server and bytes of the append-only file, held to a price list.
//! Not one of the figures is a time, so what becomes dearer fails on a busy machine as on a quiet one, and nothing else does.

mod meter;
mod prices;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, Grant, Kind};
use sentinel_testbed::CostBudget as Price;

use crate::rig::{call, fused, label, result, runtime};
use meter::{Desk, Meter};
use prices as price;

/// How often an operation is measured alone, and how many go together in company.
const ALONE: usize = 16;
const COMPANY: usize = 64;

/// Holds an operation to two prices: alone, and of so many that come together.
fn hold<T>(
    [alone, company]: [&Price<3>; 2],
    scene: impl AsyncFn(&Desk) -> T,
    operation: impl AsyncFn(&Desk, &T),
) {
    runtime().block_on(async {
        let mut meter = Meter::open().await;
        meter.measure(alone, ALONE, &scene, async |desk, set: T| operation(desk, &set).await).await;
        let all = async |desk: &Desk| join_all((0..COMPANY).map(|_| scene(desk))).await;
        let together = async |desk: &Desk, all: Vec<T>| {
            join_all(all.iter().map(|set| operation(desk, set))).await;
        };
        meter.measure(company, 1, all, together).await;
        meter.settle();
    });
}

async fn held(desk: &Desk, kind: Kind, claim: &Claim) -> (Address, Grant) {
    let address = desk.fresh(kind);
    let grant = desk.granted(&address, claim).await;
    (address, grant)
}

async fn executing(desk: &Desk) -> (Address, Grant) {
    held(desk, Kind::Execution, &fused()).await
}

async fn complete(desk: &Desk, address: &Address, grant: Grant) {
    let told =
        desk.store.complete(address, &Complete { grant, result: result(&"r".repeat(100)) }).await.unwrap();
    assert_eq!(told.reply, CompleteReply::Recorded { late: false });
}

async fn release(desk: &Desk, (address, grant): &(Address, Grant)) {
    let told = desk.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
    assert_eq!(told.reply, ReleaseReply::Released);
}

#[test]
fn a_fresh_claim() {
    let scene = async |desk: &Desk| (desk.fresh(Kind::Execution), fused());
    hold([&price::CLAIM, &price::CLAIM_64], scene, async |desk, (address, claim)| {
        desk.granted(address, claim).await;
    });
}

#[test]
fn a_completion() {
    hold([&price::COMPLETE, &price::COMPLETE_64], executing, async |desk, (address, grant)| {
        complete(desk, address, *grant).await;
    });
}

#[test]
fn a_replay() {
    let scene = async |desk: &Desk| {
        let (address, grant) = executing(desk).await;
        complete(desk, &address, grant).await;
        address
    };
    hold([&price::REPLAY, &price::REPLAY_64], scene, async |desk, address| {
        let told = desk.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(told.reply, ClaimReply::Completed { .. }), "{told:?}");
    });
}

#[test]
fn a_contended_claim() {
    hold([&price::CONTENDED, &price::CONTENDED_64], executing, async |desk, (address, _)| {
        let told = desk.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(told.reply, ClaimReply::InProgress { .. }), "{told:?}");
    });
}

#[test]
fn a_begin() {
    let scene = async |desk: &Desk| held(desk, Kind::Execution, &call()).await;
    hold([&price::BEGIN, &price::BEGIN_64], scene, async |desk, (address, grant)| {
        let told = desk.store.begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(told.reply, BeginReply::Begun(_)), "{told:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let scene = async |desk: &Desk| {
        let lease = held(desk, Kind::Lease, &call()).await;
        release(desk, &lease).await;
        (lease.0, call())
    };
    hold([&price::LEASE, &price::LEASE_64], scene, async |desk, (address, claim)| {
        desk.granted(address, claim).await;
    });
}

#[test]
fn a_release() {
    let scene = async |desk: &Desk| held(desk, Kind::Lease, &call()).await;
    hold([&price::RELEASE, &price::RELEASE_64], scene, release);
}

#[test]
fn a_cancel() {
    let scene = async |desk: &Desk| held(desk, Kind::Execution, &call()).await;
    hold([&price::CANCEL, &price::CANCEL_64], scene, async |desk, (address, grant)| {
        let told = desk.store.cancel(address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(told.stamp.changed, "{told:?}");
    });
}

#[test]
fn an_abandon() {
    hold([&price::ABANDON, &price::ABANDON_64], executing, async |desk, (address, grant)| {
        let told = desk
            .store
            .abandon(
                address,
                &Abandon { grant: *grant, cause: label("it broke"), late_effects: std::time::Duration::ZERO },
            )
            .await;
        assert!(told.unwrap().stamp.changed);
    });
}

/// Beats of so many live records of one kind, all in one call.
fn hold_beats(kind: Kind, [one, thousand]: [&Price<3>; 2]) {
    runtime().block_on(async {
        let mut meter = Meter::open().await;
        let claim = if kind == Kind::Lease { call() } else { fused() };
        for (price, many) in [(one, 1), (thousand, 1_000)] {
            let live = join_all((0..many).map(|_| held(&meter.desk, kind, &claim))).await;
            let beats: Vec<_> = live.into_iter().map(|(address, grant)| Beat { address, grant }).collect();
            let beat = async |desk: &Desk, ()| {
                let told = desk.store.heartbeat(&beats).await.unwrap();
                assert!(told.iter().all(|told| matches!(told.reply, HeartbeatReply::Kept { .. })));
            };
            meter.measure(price, ALONE, async |_: &Desk| (), beat).await;
        }
        meter.settle();
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

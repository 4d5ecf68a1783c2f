//! What operations cost: commits and bytes of the log, held to a price list. Not one of the figures is a time, so what becomes
//! dearer fails on a busy machine as on a quiet one, and nothing else does.

mod meter;
mod prices;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, Grant, Kind, Label};
use sentinel_testbed::Price;

use crate::harness::{claim, fused, granted, success};
use meter::{Desk, Meter};
use prices as price;

/// How often an operation is measured alone, and how many go together in company.
const ALONE: usize = 16;
const COMPANY: usize = 64;

/// Holds an operation to two prices: alone, and of so many that come together.
fn hold<T>(
    [alone, company]: [&Price<2>; 2],
    scene: impl AsyncFn(&Desk) -> T,
    operation: impl AsyncFn(&Desk, &T),
) {
    runtime().block_on(async {
        let mut meter = Meter::default();
        meter.measure_alone(alone, ALONE, &scene, &operation).await;
        meter.measure_company(company, COMPANY, &scene, &operation).await;
        meter.settle();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn executing(desk: &Desk) -> (Address, Grant) {
    desk.held(Kind::Execution, &fused()).await
}

async fn complete(desk: &Desk, address: &Address, grant: Grant) {
    let told =
        desk.store.complete(address, &Complete { grant, result: success(&[b'r'; 100]) }).await.unwrap();
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
        granted(&desk.store, address, claim).await;
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
    let scene = async |desk: &Desk| desk.held(Kind::Execution, &claim(Phase::Claimed)).await;
    hold([&price::BEGIN, &price::BEGIN_64], scene, async |desk, (address, grant)| {
        let told = desk.store.begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(told.reply, BeginReply::Begun(_)), "{told:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let scene = async |desk: &Desk| {
        let lease = desk.held(Kind::Lease, &claim(Phase::Claimed)).await;
        release(desk, &lease).await;
        (lease.0, claim(Phase::Claimed))
    };
    hold([&price::LEASE, &price::LEASE_64], scene, async |desk, (address, claim)| {
        granted(&desk.store, address, claim).await;
    });
}

#[test]
fn a_release() {
    let scene = async |desk: &Desk| desk.held(Kind::Lease, &claim(Phase::Claimed)).await;
    hold([&price::RELEASE, &price::RELEASE_64], scene, release);
}

#[test]
fn a_cancel() {
    let scene = async |desk: &Desk| desk.held(Kind::Execution, &claim(Phase::Claimed)).await;
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
                &Abandon {
                    grant: *grant,
                    cause: Label::new("it broke").unwrap(),
                    late_effects: std::time::Duration::ZERO,
                },
            )
            .await;
        assert!(told.unwrap().stamp.changed);
    });
}

/// Beats of so many live records of one kind, all in one call.
fn hold_beats(kind: Kind, [one, thousand]: [&Price<2>; 2]) {
    runtime().block_on(async {
        let mut meter = Meter::default();
        let claim = if kind == Kind::Lease { claim(Phase::Claimed) } else { fused() };
        for (price, many) in [(one, 1), (thousand, 1_000)] {
            let live = async |desk: &Desk| {
                let live = join_all((0..many).map(|_| desk.held(kind, &claim))).await;
                live.into_iter().map(|(address, grant)| Beat { address, grant }).collect::<Vec<_>>()
            };
            let beat = async |desk: &Desk, beats: &Vec<Beat>| {
                let told = desk.store.heartbeat(beats).await.unwrap();
                assert!(told.iter().all(|told| matches!(told.reply, HeartbeatReply::Kept { .. })));
            };
            meter.measure_alone(price, 1, &live, &beat).await;
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

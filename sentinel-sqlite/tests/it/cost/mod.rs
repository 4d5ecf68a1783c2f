//! What operations cost: commits and bytes of the log, checked against budgets. None of the figures is a time, so the
//! result does not depend on how busy the machine is.

mod budgets;
mod meter;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, Grant, Kind, Label};
use sentinel_testbed::CostBudget;

use crate::harness::{claim, fused, granted, success};
use budgets as budget;
use meter::{Fixture, Meter};

/// How often an operation is measured alone, and how many go together in one batch.
const ALONE: usize = 16;
const BATCHED: usize = 64;

/// Checks an operation against two budgets: alone, and of `BATCHED` that come together.
fn assert_cost<T>(
    [alone, batched]: [&CostBudget<2>; 2],
    setup: impl AsyncFn(&Fixture) -> T,
    operation: impl AsyncFn(&Fixture, &T),
) {
    runtime().block_on(async {
        let mut meter = Meter::default();
        meter.measure_alone(alone, ALONE, &setup, &operation).await;
        meter.measure_batched(batched, BATCHED, &setup, &operation).await;
        meter.assert_met();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn executing(fixture: &Fixture) -> (Address, Grant) {
    fixture.held(Kind::Execution, &fused()).await
}

async fn complete(fixture: &Fixture, address: &Address, grant: Grant) {
    let reply =
        fixture.store.complete(address, &Complete { grant, result: success(&[b'r'; 100]) }).await.unwrap();
    assert_eq!(reply.reply, CompleteReply::Recorded { late: false });
}

async fn release(fixture: &Fixture, (address, grant): &(Address, Grant)) {
    let reply = fixture.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
    assert_eq!(reply.reply, ReleaseReply::Released);
}

#[test]
fn a_fresh_claim() {
    let setup = async |fixture: &Fixture| (fixture.fresh(Kind::Execution), fused());
    assert_cost([&budget::CLAIM, &budget::CLAIM_64], setup, async |fixture, (address, claim)| {
        granted(&fixture.store, address, claim).await;
    });
}

#[test]
fn a_completion() {
    assert_cost([&budget::COMPLETE, &budget::COMPLETE_64], executing, async |fixture, (address, grant)| {
        complete(fixture, address, *grant).await;
    });
}

#[test]
fn a_replay() {
    let setup = async |fixture: &Fixture| {
        let (address, grant) = executing(fixture).await;
        complete(fixture, &address, grant).await;
        address
    };
    assert_cost([&budget::REPLAY, &budget::REPLAY_64], setup, async |fixture, address| {
        let reply = fixture.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::Completed { .. }), "{reply:?}");
    });
}

#[test]
fn a_contended_claim() {
    assert_cost([&budget::CONTENDED, &budget::CONTENDED_64], executing, async |fixture, (address, _)| {
        let reply = fixture.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::InProgress { .. }), "{reply:?}");
    });
}

#[test]
fn a_begin() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Execution, &claim(Phase::Claimed)).await;
    assert_cost([&budget::BEGIN, &budget::BEGIN_64], setup, async |fixture, (address, grant)| {
        let reply = fixture.store.begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(reply.reply, BeginReply::Begun(_)), "{reply:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let setup = async |fixture: &Fixture| {
        let lease = fixture.held(Kind::Lease, &claim(Phase::Claimed)).await;
        release(fixture, &lease).await;
        (lease.0, claim(Phase::Claimed))
    };
    assert_cost([&budget::LEASE, &budget::LEASE_64], setup, async |fixture, (address, claim)| {
        granted(&fixture.store, address, claim).await;
    });
}

#[test]
fn a_release() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Lease, &claim(Phase::Claimed)).await;
    assert_cost([&budget::RELEASE, &budget::RELEASE_64], setup, release);
}

#[test]
fn a_cancel() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Execution, &claim(Phase::Claimed)).await;
    assert_cost([&budget::CANCEL, &budget::CANCEL_64], setup, async |fixture, (address, grant)| {
        let reply = fixture.store.cancel(address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(reply.stamp.changed, "{reply:?}");
    });
}

#[test]
fn an_abandon() {
    assert_cost([&budget::ABANDON, &budget::ABANDON_64], executing, async |fixture, (address, grant)| {
        let reply = fixture
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
        assert!(reply.unwrap().stamp.changed);
    });
}

/// Heartbeats of one and of 1,000 live records of one kind, all in one call.
fn assert_cost_of_beats(kind: Kind, [one, thousand]: [&CostBudget<2>; 2]) {
    runtime().block_on(async {
        let mut meter = Meter::default();
        let claim = if kind == Kind::Lease { claim(Phase::Claimed) } else { fused() };
        for (budget, many) in [(one, 1), (thousand, 1_000)] {
            let live = async |fixture: &Fixture| {
                let live = join_all((0..many).map(|_| fixture.held(kind, &claim))).await;
                live.into_iter().map(|(address, grant)| Beat { address, grant }).collect::<Vec<_>>()
            };
            let beat = async |fixture: &Fixture, beats: &Vec<Beat>| {
                let reply = fixture.store.heartbeat(beats).await.unwrap();
                assert!(reply.iter().all(|reply| matches!(reply.reply, HeartbeatReply::Kept { .. })));
            };
            meter.measure_alone(budget, 1, &live, &beat).await;
        }
        meter.assert_met();
    });
}

#[test]
fn a_heartbeat_of_executions() {
    assert_cost_of_beats(Kind::Execution, [&budget::BEAT, &budget::BEAT_1000]);
}

#[test]
fn a_heartbeat_of_leases() {
    assert_cost_of_beats(Kind::Lease, [&budget::BEAT_LEASE, &budget::BEAT_LEASE_1000]);
}

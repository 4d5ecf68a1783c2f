//! What operations cost: calls of scripts, commands of the server and bytes of the append-only file, held to a price
//! list. Not one of the figures is a time, so what becomes dearer fails on a busy machine as on a quiet one, and
//! nothing else does.

mod budgets;
mod meter;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, Grant, Kind};
use sentinel_testbed::CostBudget as Price;

use crate::harness::{call, fused, label, result, runtime};
use budgets as budget;
use meter::{Meter, Subject};

/// How often an operation is measured alone, and how many are measured together.
const ALONE: usize = 16;
const TOGETHER: usize = 64;

/// Holds an operation to two prices: alone, and of so many that come together.
fn hold<T>(
    [alone, together_budget]: [&Price<3>; 2],
    fixture: impl AsyncFn(&Subject) -> T,
    operation: impl AsyncFn(&Subject, &T),
) {
    runtime().block_on(async {
        let mut meter = Meter::open().await;
        meter.measure(alone, ALONE, &fixture, async |subject, set: T| operation(subject, &set).await).await;
        let all = async |subject: &Subject| join_all((0..TOGETHER).map(|_| fixture(subject))).await;
        let together = async |subject: &Subject, all: Vec<T>| {
            join_all(all.iter().map(|set| operation(subject, set))).await;
        };
        meter.measure(together_budget, 1, all, together).await;
        meter.assert_within_budget();
    });
}

async fn held(subject: &Subject, kind: Kind, claim: &Claim) -> (Address, Grant) {
    let address = subject.fresh(kind);
    let grant = subject.granted(&address, claim).await;
    (address, grant)
}

async fn executing(subject: &Subject) -> (Address, Grant) {
    held(subject, Kind::Execution, &fused()).await
}

async fn complete(subject: &Subject, address: &Address, grant: Grant) {
    let stamped =
        subject.store.complete(address, &Complete { grant, result: result(&"r".repeat(100)) }).await.unwrap();
    assert_eq!(stamped.reply, CompleteReply::Recorded { late: false });
}

async fn release(subject: &Subject, (address, grant): &(Address, Grant)) {
    let stamped = subject.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
    assert_eq!(stamped.reply, ReleaseReply::Released);
}

#[test]
fn a_fresh_claim() {
    let fixture = async |subject: &Subject| (subject.fresh(Kind::Execution), fused());
    hold([&budget::CLAIM, &budget::CLAIM_64], fixture, async |subject, (address, claim)| {
        subject.granted(address, claim).await;
    });
}

#[test]
fn a_completion() {
    hold([&budget::COMPLETE, &budget::COMPLETE_64], executing, async |subject, (address, grant)| {
        complete(subject, address, *grant).await;
    });
}

#[test]
fn a_replay() {
    let fixture = async |subject: &Subject| {
        let (address, grant) = executing(subject).await;
        complete(subject, &address, grant).await;
        address
    };
    hold([&budget::REPLAY, &budget::REPLAY_64], fixture, async |subject, address| {
        let stamped = subject.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(stamped.reply, ClaimReply::Completed { .. }), "{stamped:?}");
    });
}

#[test]
fn a_contended_claim() {
    hold([&budget::CONTENDED, &budget::CONTENDED_64], executing, async |subject, (address, _)| {
        let stamped = subject.store.claim(address, &fused()).await.unwrap();
        assert!(matches!(stamped.reply, ClaimReply::InProgress { .. }), "{stamped:?}");
    });
}

#[test]
fn a_begin() {
    let fixture = async |subject: &Subject| held(subject, Kind::Execution, &call()).await;
    hold([&budget::BEGIN, &budget::BEGIN_64], fixture, async |subject, (address, grant)| {
        let stamped = subject.store.begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(stamped.reply, BeginReply::Begun(_)), "{stamped:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let fixture = async |subject: &Subject| {
        let lease = held(subject, Kind::Lease, &call()).await;
        release(subject, &lease).await;
        (lease.0, call())
    };
    hold([&budget::LEASE, &budget::LEASE_64], fixture, async |subject, (address, claim)| {
        subject.granted(address, claim).await;
    });
}

#[test]
fn a_release() {
    let fixture = async |subject: &Subject| held(subject, Kind::Lease, &call()).await;
    hold([&budget::RELEASE, &budget::RELEASE_64], fixture, release);
}

#[test]
fn a_cancel() {
    let fixture = async |subject: &Subject| held(subject, Kind::Execution, &call()).await;
    hold([&budget::CANCEL, &budget::CANCEL_64], fixture, async |subject, (address, grant)| {
        let stamped = subject.store.cancel(address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(stamped.stamp.changed, "{stamped:?}");
    });
}

#[test]
fn an_abandon() {
    hold([&budget::ABANDON, &budget::ABANDON_64], executing, async |subject, (address, grant)| {
        let reply = subject
            .store
            .abandon(
                address,
                &Abandon { grant: *grant, cause: label("it broke"), late_effects: std::time::Duration::ZERO },
            )
            .await;
        assert!(reply.unwrap().stamp.changed);
    });
}

/// Beats of so many live records of one kind, all in one call.
fn hold_beats(kind: Kind, [one, thousand]: [&Price<3>; 2]) {
    runtime().block_on(async {
        let mut meter = Meter::open().await;
        let claim = if kind == Kind::Lease { call() } else { fused() };
        for (budget, many) in [(one, 1), (thousand, 1_000)] {
            let live = join_all((0..many).map(|_| held(&meter.subject, kind, &claim))).await;
            let beats: Vec<_> = live.into_iter().map(|(address, grant)| Beat { address, grant }).collect();
            let beat = async |subject: &Subject, ()| {
                let stamped = subject.store.heartbeat(&beats).await.unwrap();
                assert!(stamped.iter().all(|stamped| matches!(stamped.reply, HeartbeatReply::Kept { .. })));
            };
            meter.measure(budget, ALONE, async |_: &Subject| (), beat).await;
        }
        meter.assert_within_budget();
    });
}

#[test]
fn a_heartbeat_of_executions() {
    hold_beats(Kind::Execution, [&budget::BEAT, &budget::BEAT_1000]);
}

#[test]
fn a_heartbeat_of_leases() {
    hold_beats(Kind::Lease, [&budget::BEAT_LEASE, &budget::BEAT_LEASE_1000]);
}

//! What operations cost: each alone, and many together, checked against budgets. None of the figures is a time, so the
//! result does not depend on how busy the machine is.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore, Grant, Kind};
use sentinel_testbed::{CostBudget, Unit};

use crate::fixtures::{call, claimed, complete, fused, label, runtime};

/// How many of an operation are measured one after the other.
pub const ALONE: usize = 16;
/// How many are measured together.
pub const TOGETHER: usize = 64;

/// A store on which operations are measured.
#[expect(async_fn_in_trait, reason = "a test awaits it on its own thread")]
pub trait Subject {
    /// The store.
    fn store(&self) -> &dyn CoordinationStore;

    /// An address that no other request names. Its key is as long as a user's keys are, and as evenly spread.
    fn fresh(&self, kind: Kind) -> Address;

    /// Sends requests together.
    async fn together(&self, all: impl IntoIterator<Item = impl Future>) {
        join_all(all).await;
    }
}

/// Counts what the operations on a store cost, in `N` units.
#[expect(async_fn_in_trait, reason = "a test awaits it on its own thread")]
pub trait Meter<const N: usize>: Sized {
    /// The store that is measured.
    type Subject: Subject;

    /// How often a request with heartbeats is sent in a round.
    const HEARTBEATS: usize = ALONE;

    /// Opens a store for a test. No other test uses it, or its server, meanwhile.
    async fn open(test: &str) -> Self;

    /// The units of a budget.
    fn units(budget: &CostBudget<N>) -> &'static [Unit; N];

    /// Prepares the next round. Returns whether it is on a new store; otherwise the records of the round before are
    /// still there.
    async fn next_round(&mut self) -> bool;

    /// The store of this round.
    fn subject(&self) -> &Self::Subject;

    /// What these operations cost.
    async fn count(&mut self, operations: impl AsyncFnOnce(&Self::Subject)) -> [f64; N];

    /// Checks what else is true of a store to which only heartbeats were sent after its claims.
    async fn check_after_heartbeats(self) {}
}

/// Makes a test of each operation, `$budgets` being a module with a budget for each.
#[macro_export]
macro_rules! cost_tests {
    ($meter:ty, $budgets:ident) => {
        $crate::cost_tests! { $meter, $budgets:
            a_fresh_claim(CLAIM, CLAIM_64);
            a_completion(COMPLETE, COMPLETE_64);
            a_replay(REPLAY, REPLAY_64);
            a_contended_claim(CONTENDED, CONTENDED_64);
            a_begin(BEGIN, BEGIN_64);
            a_claim_of_a_free_lease(LEASE, LEASE_64);
            a_release(RELEASE, RELEASE_64);
            a_cancel(CANCEL, CANCEL_64);
            an_abandon(ABANDON, ABANDON_64);
            a_heartbeat_of_executions(BEAT, BEAT_1000);
            a_heartbeat_of_leases(BEAT_LEASE, BEAT_LEASE_1000);
        }
    };
    ($meter:ty, $budgets:ident: $($operation:ident($one:ident, $many:ident);)*) => {$(
        #[test]
        fn $operation() {
            $crate::cost::$operation::<_, $meter>([&$budgets::$one, &$budgets::$many]);
        }
    )*};
}

/// Measures rounds until the budget is met, or until there were enough of them. Returns what is wrong.
async fn trial<const N: usize, M: Meter<N>>(
    meter: &mut M,
    budget: &CostBudget<N>,
    mut round: impl AsyncFnMut(&mut M) -> [f64; N],
) -> Option<String> {
    // The first round pays for connections, prepared statements, unknown scripts and first pages.
    round(meter).await;
    let mut trial = budget.trial(M::units(budget));
    while trial.goes_on() {
        trial.note(round(meter).await);
    }
    trial.verdict().err()
}

#[track_caller]
fn assert_none<const N: usize>(wrong: [Option<String>; N]) {
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks an operation against two budgets: alone, and of [`TOGETHER`] that come together. Only the operations are
/// measured, not what prepares them.
fn check<const N: usize, M: Meter<N>, T>(
    test: &str,
    [alone, together]: [&CostBudget<N>; 2],
    prepare: impl AsyncFn(&M::Subject) -> T,
    operation: impl AsyncFn(&M::Subject, &T),
) {
    runtime().block_on(async {
        let mut meter = M::open(test).await;
        let one_by_one = async |meter: &mut M| {
            meter.next_round().await;
            let mut prepared = Vec::new();
            for _ in 0..ALONE {
                prepared.push(prepare(meter.subject()).await);
            }
            let all = async |subject: &M::Subject| {
                for one in &prepared {
                    operation(subject, one).await;
                }
            };
            meter.count(all).await.map(|figure| figure / ALONE as f64)
        };
        let wrong_alone = trial(&mut meter, alone, one_by_one).await;
        let many = async |meter: &mut M| {
            meter.next_round().await;
            let mut prepared = Vec::new();
            for _ in 0..TOGETHER {
                prepared.push(prepare(meter.subject()).await);
            }
            let all = async |subject: &M::Subject| {
                subject.together(prepared.iter().map(|one| operation(subject, one))).await;
            };
            meter.count(all).await
        };
        let wrong_together = trial(&mut meter, together, many).await;
        assert_none([wrong_alone, wrong_together]);
    });
}

async fn held<S: Subject>(subject: &S, kind: Kind, claim: &Claim) -> (Address, Grant) {
    let address = subject.fresh(kind);
    let grant = claimed(subject.store(), &address, claim).await;
    (address, grant)
}

async fn executing<S: Subject>(subject: &S) -> (Address, Grant) {
    held(subject, Kind::Execution, &fused()).await
}

async fn record_result<S: Subject>(subject: &S, (address, grant): &(Address, Grant)) {
    let reply = subject.store().complete(address, &complete(*grant, &"r".repeat(100))).await.unwrap();
    assert_eq!(reply.reply, CompleteReply::Recorded { late: false });
}

async fn release<S: Subject>(subject: &S, (address, grant): &(Address, Grant)) {
    let reply = subject.store().release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
    assert_eq!(reply.reply, ReleaseReply::Released);
}

/// Claims an absent key.
pub fn a_fresh_claim<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| (subject.fresh(Kind::Execution), fused());
    check::<N, M, _>("a_fresh_claim", budgets, prepare, async |subject, (address, claim)| {
        claimed(subject.store(), address, claim).await;
    });
}

/// Records a result.
pub fn a_completion<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    check::<N, M, _>("a_completion", budgets, executing, record_result);
}

/// Claims a completed key.
pub fn a_replay<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| {
        let run = executing(subject).await;
        record_result(subject, &run).await;
        run.0
    };
    check::<N, M, _>("a_replay", budgets, prepare, async |subject, address| {
        let reply = subject.store().claim(address, &fused()).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::Completed { .. }), "{reply:?}");
    });
}

/// Claims a key that is executing.
pub fn a_contended_claim<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    check::<N, M, _>("a_contended_claim", budgets, executing, async |subject, (address, _)| {
        let reply = subject.store().claim(address, &fused()).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::InProgress { .. }), "{reply:?}");
    });
}

/// Begins.
pub fn a_begin<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| held(subject, Kind::Execution, &call()).await;
    check::<N, M, _>("a_begin", budgets, prepare, async |subject, (address, grant)| {
        let reply = subject.store().begin(address, &Begin { grant: *grant }).await.unwrap();
        assert!(matches!(reply.reply, BeginReply::Begun(_)), "{reply:?}");
    });
}

/// Claims a lease that was held and released.
pub fn a_claim_of_a_free_lease<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| {
        let lease = held(subject, Kind::Lease, &call()).await;
        release(subject, &lease).await;
        (lease.0, call())
    };
    check::<N, M, _>("a_claim_of_a_free_lease", budgets, prepare, async |subject, (address, claim)| {
        claimed(subject.store(), address, claim).await;
    });
}

/// Gives a lease back.
pub fn a_release<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| held(subject, Kind::Lease, &call()).await;
    check::<N, M, _>("a_release", budgets, prepare, release);
}

/// Withdraws a call that did not run.
pub fn a_cancel<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    let prepare = async |subject: &M::Subject| held(subject, Kind::Execution, &call()).await;
    check::<N, M, _>("a_cancel", budgets, prepare, async |subject, (address, grant)| {
        let reply = subject.store().cancel(address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(reply.stamp.changed, "{reply:?}");
    });
}

/// Reports an unknown outcome.
pub fn an_abandon<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    check::<N, M, _>("an_abandon", budgets, executing, async |subject, (address, grant)| {
        let abandon = Abandon { grant: *grant, cause: label("it broke"), late_effects: Duration::ZERO };
        assert!(subject.store().abandon(address, &abandon).await.unwrap().stamp.changed);
    });
}

/// Heartbeats of one live record and of 1,000, all in one request.
fn check_heartbeats<const N: usize, M: Meter<N>>(
    test: &str,
    kind: Kind,
    [one, thousand]: [&CostBudget<N>; 2],
) {
    runtime().block_on(async {
        let mut meter = M::open(test).await;
        let claim = if kind == Kind::Lease { call() } else { fused() };
        let mut wrong = [None, None];
        for (n, (budget, many)) in [(one, 1), (thousand, 1_000)].into_iter().enumerate() {
            let mut beats: Vec<Beat> = Vec::new();
            let round = async |meter: &mut M| {
                if meter.next_round().await || beats.is_empty() {
                    let subject = meter.subject();
                    let live = join_all((0..many).map(|_| held(subject, kind, &claim))).await;
                    beats = live.into_iter().map(|(address, grant)| Beat { address, grant }).collect();
                }
                let all = async |subject: &M::Subject| {
                    for _ in 0..M::HEARTBEATS {
                        let replies = subject.store().heartbeat(&beats).await.unwrap();
                        let kept = |reply: &HeartbeatReply| matches!(reply, HeartbeatReply::Kept { .. });
                        assert!(replies.iter().all(|reply| kept(&reply.reply)));
                    }
                };
                meter.count(all).await.map(|figure| figure / M::HEARTBEATS as f64)
            };
            wrong[n] = trial(&mut meter, budget, round).await;
        }
        assert_none(wrong);
        meter.check_after_heartbeats().await;
    });
}

/// Heartbeats of executions.
pub fn a_heartbeat_of_executions<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    check_heartbeats::<N, M>("a_heartbeat_of_executions", Kind::Execution, budgets);
}

/// Heartbeats of leases.
pub fn a_heartbeat_of_leases<const N: usize, M: Meter<N>>(budgets: [&CostBudget<N>; 2]) {
    check_heartbeats::<N, M>("a_heartbeat_of_leases", Kind::Lease, budgets);
}

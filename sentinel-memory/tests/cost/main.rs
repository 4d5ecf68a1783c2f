//! What operations in memory cost: allocations, and their bytes, checked against budgets. A program of its own, since
//! it counts for all of its process.
//!
//! Counted on the thread that runs everything: the store and its caller, and with the client its tasks too. None of the
//! figures is a time, so the result does not depend on how busy the machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod budgets;

use std::cell::Cell;
use std::time::Duration;

use sentinel_client::{LeaseOutcome, Outcome, Sentinel};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore as _, Grant, Key, Kind, Label, Namespace, Payload, RecordedResult,
    Terms,
};
use sentinel_memory::MemoryStore;
use sentinel_testbed::CostBudget;
use tokio::runtime::Runtime;

use budgets as budget;

/// How many of an operation a round measures, each alone. The one in the middle counts: a table that grew, or a block
/// that a queue needs now and then, is not what the others cost.
const ROUND: usize = 65;

/// A store and a client, on one thread.
struct Fixture {
    runtime: Runtime,
    store: MemoryStore,
    sentinel: Sentinel,
    keys: Cell<u32>,
}

impl Fixture {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (store, sentinel) = runtime.block_on(async {
            let store = MemoryStore::new();
            (store.clone(), Sentinel::new(store).namespace("billing").unwrap())
        });
        Self { runtime, store, sentinel, keys: Cell::new(0) }
    }

    /// Checks an operation against its budget.
    fn assert_cost<T>(
        &self,
        budget: &CostBudget<2>,
        setup: impl AsyncFn(&Fixture) -> T,
        operation: impl AsyncFn(&Fixture, T),
    ) {
        let mut trial = budget.trial(&budget::UNITS);
        while trial.goes_on() {
            let setups: Vec<_> = (0..ROUND).map(|_| self.runtime.block_on(setup(self))).collect();
            let mut counted: Vec<_> = setups
                .into_iter()
                .map(|set| {
                    // Boxed beforehand: a debug build's runtime boxes a large future itself, which is no cost of ours.
                    let mut operation = Box::pin(operation(self, set));
                    let info = allocation_counter::measure(|| self.runtime.block_on(operation.as_mut()));
                    [info.count_total, info.bytes_total]
                })
                .collect();
            trial.note([0, 1].map(|n| {
                counted.sort_unstable_by_key(|counts| counts[n]);
                counted[ROUND / 2][n] as f64
            }));
        }
        trial.verdict().unwrap_or_else(|message| panic!("{message}"));
    }

    /// As long as a user's keys are, and all of one length.
    fn key(&self) -> String {
        self.keys.set(self.keys.get() + 1);
        format!("invoice-{:032}", self.keys.get())
    }

    fn fresh(&self, kind: Kind) -> Address {
        Address { namespace: Namespace::new("billing").unwrap(), kind, key: Key::new(self.key()).unwrap() }
    }

    async fn granted(&self, address: &Address, claim: &Claim) -> Grant {
        let reply = self.store.claim(address, claim).await.unwrap();
        let ClaimReply::Granted(granted) = reply.reply else { panic!("not granted: {reply:?}") };
        Grant { token: granted.token, claim_id: claim.claim_id }
    }

    async fn held(&self, kind: Kind) -> (Address, Grant) {
        let address = self.fresh(kind);
        let grant = self.granted(&address, &call()).await;
        (address, grant)
    }

    async fn executing(&self) -> (Address, Grant) {
        let address = self.fresh(Kind::Execution);
        let grant = self.granted(&address, &fused()).await;
        (address, grant)
    }

    async fn completed(&self) -> Address {
        let (address, grant) = self.executing().await;
        self.store.complete(&address, &Complete { grant, result: result() }).await.unwrap();
        address
    }

    async fn release(&self, (address, grant): &(Address, Grant)) {
        let reply = self.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
        assert_eq!(reply.reply, ReleaseReply::Released);
    }
}

fn call() -> Claim {
    Claim {
        cause: None,
        about: None,
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(600), Duration::from_secs(3600)).unwrap(),
        retention: None,
        fingerprint: None,
        accepts: sentinel_core::Accepts::json(),
        worker: Label::new("web1:8742").unwrap(),
        phase: Phase::Claimed,
    }
}

fn fused() -> Claim {
    Claim { phase: Phase::Executing, ..call() }
}

fn result() -> RecordedResult {
    RecordedResult::success(Payload::new(Payload::JSON, "r".repeat(100)))
}

#[test]
fn a_fresh_claim() {
    let setup = async |fixture: &Fixture| (fixture.fresh(Kind::Execution), fused());
    Fixture::new().assert_cost(&budget::CLAIM, setup, async |fixture, (address, claim)| {
        fixture.granted(&address, &claim).await;
    });
}

#[test]
fn a_completion() {
    let setup = async |fixture: &Fixture| {
        let (address, grant) = fixture.executing().await;
        (address, Complete { grant, result: result() })
    };
    Fixture::new().assert_cost(&budget::COMPLETE, setup, async |fixture, (address, complete)| {
        let reply = fixture.store.complete(&address, &complete).await.unwrap();
        assert_eq!(reply.reply, CompleteReply::Recorded { late: false });
    });
}

#[test]
fn a_replay() {
    let setup = async |fixture: &Fixture| (fixture.completed().await, fused());
    Fixture::new().assert_cost(&budget::REPLAY, setup, async |fixture, (address, claim)| {
        let reply = fixture.store.claim(&address, &claim).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::Completed { .. }), "{reply:?}");
    });
}

#[test]
fn a_contended_claim() {
    let setup = async |fixture: &Fixture| (fixture.executing().await.0, fused());
    Fixture::new().assert_cost(&budget::CONTENDED, setup, async |fixture, (address, claim)| {
        let reply = fixture.store.claim(&address, &claim).await.unwrap();
        assert!(matches!(reply.reply, ClaimReply::InProgress { .. }), "{reply:?}");
    });
}

#[test]
fn a_begin() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Execution).await;
    Fixture::new().assert_cost(&budget::BEGIN, setup, async |fixture, (address, grant)| {
        let reply = fixture.store.begin(&address, &Begin { grant }).await.unwrap();
        assert!(matches!(reply.reply, BeginReply::Begun(_)), "{reply:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let setup = async |fixture: &Fixture| {
        let lease = fixture.held(Kind::Lease).await;
        fixture.release(&lease).await;
        (lease.0, call())
    };
    Fixture::new().assert_cost(&budget::LEASE, setup, async |fixture, (address, claim)| {
        fixture.granted(&address, &claim).await;
    });
}

#[test]
fn a_release() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Lease).await;
    Fixture::new().assert_cost(&budget::RELEASE, setup, async |fixture, lease| fixture.release(&lease).await);
}

#[test]
fn a_cancel() {
    let setup = async |fixture: &Fixture| fixture.held(Kind::Execution).await;
    Fixture::new().assert_cost(&budget::CANCEL, setup, async |fixture, (address, grant)| {
        let reply = fixture.store.cancel(&address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(reply.stamp.changed, "{reply:?}");
    });
}

#[test]
fn an_inspection() {
    let setup = async |fixture: &Fixture| fixture.completed().await;
    Fixture::new().assert_cost(&budget::INSPECT, setup, async |fixture, address| {
        assert!(fixture.store.inspect(&address).await.unwrap().record.is_some());
    });
}

#[test]
fn a_heartbeat() {
    for (budget, many) in [(&budget::BEAT, 1), (&budget::BEAT_1000, 1_000)] {
        let fixture = Fixture::new();
        let mut beats = Vec::new();
        for _ in 0..many {
            let (address, grant) = fixture.runtime.block_on(fixture.held(Kind::Lease));
            beats.push(Beat { address, grant });
        }
        fixture.assert_cost(
            budget,
            async |_: &Fixture| (),
            async |fixture, ()| {
                let reply = fixture.store.heartbeat(&beats).await.unwrap();
                assert!(reply.iter().all(|reply| matches!(reply.reply, HeartbeatReply::Kept { .. })));
            },
        );
    }
}

/// All of `once`: its task, its checks, its encoding, its keeper.
async fn once(fixture: &Fixture, key: String) -> Outcome<String, std::io::Error> {
    fixture.sentinel.once(key).run(|_| async { Ok("receipt".to_owned()) }).await.unwrap()
}

#[test]
fn a_fresh_once() {
    Fixture::new().assert_cost(
        &budget::ONCE,
        async |fixture: &Fixture| fixture.key(),
        async |fixture, key| {
            assert!(matches!(once(fixture, key).await, Outcome::Completed(_)));
        },
    );
}

#[test]
fn a_replayed_once() {
    let setup = async |fixture: &Fixture| {
        let key = fixture.key();
        assert!(matches!(once(fixture, key.clone()).await, Outcome::Completed(_)));
        key
    };
    Fixture::new().assert_cost(&budget::ONCE_REPLAYED, setup, async |fixture, key| {
        assert!(matches!(once(fixture, key).await, Outcome::Replayed(_)));
    });
}

#[test]
fn a_lease_acquired_and_released() {
    Fixture::new().assert_cost(
        &budget::LEASE_HELD,
        async |fixture: &Fixture| fixture.key(),
        async |fixture, key| {
            let LeaseOutcome::Held(lease) = fixture.sentinel.lease(key).acquire().await.unwrap() else {
                panic!("not held")
            };
            lease.release().await.unwrap();
        },
    );
}

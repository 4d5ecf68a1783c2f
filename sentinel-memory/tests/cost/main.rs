//! What operations in memory cost: allocations, and their bytes, held to a price list. A program of its own, since it counts
//! for all of its process.
//!
//! Counted on the thread that runs everything: the store and its caller, and with the client its tasks too. Nothing here is a
//! time, so what becomes dearer fails on a busy machine as on a quiet one, and nothing else does.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod prices;

use std::cell::Cell;
use std::time::Duration;

use sentinel_client::{LeaseOutcome, Outcome, Sentinel};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore as _, Grant, Key, Kind, Label, Namespace, Payload, Recorded, Terms,
};
use sentinel_memory::MemoryStore;
use sentinel_testbed::Price;
use tokio::runtime::Runtime;

use prices as price;

/// How many of an operation a round measures, each alone. The one in the middle counts: a table that grew, or a block that a
/// queue needs now and then, is not what the others cost.
const ROUND: usize = 65;

/// A store and a client, on one thread.
struct Desk {
    runtime: Runtime,
    store: MemoryStore,
    sentinel: Sentinel,
    keys: Cell<u32>,
}

impl Desk {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (store, sentinel) = runtime.block_on(async {
            let store = MemoryStore::new();
            (store.clone(), Sentinel::new(store).namespace("billing").unwrap())
        });
        Self { runtime, store, sentinel, keys: Cell::new(0) }
    }

    /// Holds an operation to its price.
    fn hold<T>(&self, price: &Price<2>, scene: impl AsyncFn(&Desk) -> T, operation: impl AsyncFn(&Desk, T)) {
        let mut trial = price.trial(&price::UNITS);
        while trial.goes_on() {
            let scenes: Vec<_> = (0..ROUND).map(|_| self.runtime.block_on(scene(self))).collect();
            let mut counted: Vec<_> = scenes
                .into_iter()
                .map(|set| {
                    // Boxed beforehand: a debug build's runtime boxes a large future itself, which is no price of ours.
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
        trial.verdict().unwrap_or_else(|told| panic!("{told}"));
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
        let told = self.store.claim(address, claim).await.unwrap();
        let ClaimReply::Granted(granted) = told.reply else { panic!("not granted: {told:?}") };
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
        let told = self.store.release(address, &Release { grant: *grant, vouched: false }).await.unwrap();
        assert_eq!(told.reply, ReleaseReply::Released);
    }
}

fn call() -> Claim {
    Claim {
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

fn result() -> Recorded {
    Recorded::success(Payload::new(Payload::JSON, "r".repeat(100)))
}

#[test]
fn a_fresh_claim() {
    let scene = async |desk: &Desk| (desk.fresh(Kind::Execution), fused());
    Desk::new().hold(&price::CLAIM, scene, async |desk, (address, claim)| {
        desk.granted(&address, &claim).await;
    });
}

#[test]
fn a_completion() {
    let scene = async |desk: &Desk| {
        let (address, grant) = desk.executing().await;
        (address, Complete { grant, result: result() })
    };
    Desk::new().hold(&price::COMPLETE, scene, async |desk, (address, complete)| {
        let told = desk.store.complete(&address, &complete).await.unwrap();
        assert_eq!(told.reply, CompleteReply::Recorded { late: false });
    });
}

#[test]
fn a_replay() {
    let scene = async |desk: &Desk| (desk.completed().await, fused());
    Desk::new().hold(&price::REPLAY, scene, async |desk, (address, claim)| {
        let told = desk.store.claim(&address, &claim).await.unwrap();
        assert!(matches!(told.reply, ClaimReply::Completed { .. }), "{told:?}");
    });
}

#[test]
fn a_contended_claim() {
    let scene = async |desk: &Desk| (desk.executing().await.0, fused());
    Desk::new().hold(&price::CONTENDED, scene, async |desk, (address, claim)| {
        let told = desk.store.claim(&address, &claim).await.unwrap();
        assert!(matches!(told.reply, ClaimReply::InProgress { .. }), "{told:?}");
    });
}

#[test]
fn a_begin() {
    let scene = async |desk: &Desk| desk.held(Kind::Execution).await;
    Desk::new().hold(&price::BEGIN, scene, async |desk, (address, grant)| {
        let told = desk.store.begin(&address, &Begin { grant }).await.unwrap();
        assert!(matches!(told.reply, BeginReply::Begun(_)), "{told:?}");
    });
}

#[test]
fn a_claim_of_a_free_lease() {
    let scene = async |desk: &Desk| {
        let lease = desk.held(Kind::Lease).await;
        desk.release(&lease).await;
        (lease.0, call())
    };
    Desk::new().hold(&price::LEASE, scene, async |desk, (address, claim)| {
        desk.granted(&address, &claim).await;
    });
}

#[test]
fn a_release() {
    let scene = async |desk: &Desk| desk.held(Kind::Lease).await;
    Desk::new().hold(&price::RELEASE, scene, async |desk, lease| desk.release(&lease).await);
}

#[test]
fn a_cancel() {
    let scene = async |desk: &Desk| desk.held(Kind::Execution).await;
    Desk::new().hold(&price::CANCEL, scene, async |desk, (address, grant)| {
        let told = desk.store.cancel(&address, &Cancel { claim_id: grant.claim_id }).await.unwrap();
        assert!(told.stamp.changed, "{told:?}");
    });
}

#[test]
fn an_inspection() {
    let scene = async |desk: &Desk| desk.completed().await;
    Desk::new().hold(&price::INSPECT, scene, async |desk, address| {
        assert!(desk.store.inspect(&address).await.unwrap().record.is_some());
    });
}

#[test]
fn a_heartbeat() {
    for (price, many) in [(&price::BEAT, 1), (&price::BEAT_1000, 1_000)] {
        let desk = Desk::new();
        let mut beats = Vec::new();
        for _ in 0..many {
            let (address, grant) = desk.runtime.block_on(desk.held(Kind::Lease));
            beats.push(Beat { address, grant });
        }
        desk.hold(
            price,
            async |_: &Desk| (),
            async |desk, ()| {
                let told = desk.store.heartbeat(&beats).await.unwrap();
                assert!(told.iter().all(|told| matches!(told.reply, HeartbeatReply::Kept { .. })));
            },
        );
    }
}

/// All of `once`: its task, its checks, its encoding, its keeper.
async fn once(desk: &Desk, key: String) -> Outcome<String, std::io::Error> {
    desk.sentinel.once(key).run(|_| async { Ok("receipt".to_owned()) }).await.unwrap()
}

#[test]
fn a_fresh_once() {
    Desk::new().hold(
        &price::ONCE,
        async |desk: &Desk| desk.key(),
        async |desk, key| {
            assert!(matches!(once(desk, key).await, Outcome::Completed(_)));
        },
    );
}

#[test]
fn a_replayed_once() {
    let scene = async |desk: &Desk| {
        let key = desk.key();
        assert!(matches!(once(desk, key.clone()).await, Outcome::Completed(_)));
        key
    };
    Desk::new().hold(&price::ONCE_REPLAYED, scene, async |desk, key| {
        assert!(matches!(once(desk, key).await, Outcome::Replayed(_)));
    });
}

#[test]
fn a_lease_acquired_and_released() {
    Desk::new().hold(
        &price::LEASE_HELD,
        async |desk: &Desk| desk.key(),
        async |desk, key| {
            let LeaseOutcome::Held(lease) = desk.sentinel.lease(key).acquire().await.unwrap() else {
                panic!("not held")
            };
            lease.release().await.unwrap();
        },
    );
}

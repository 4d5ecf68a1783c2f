use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::{
    Fault, FaultPlan, Faulty, Harness, InjectedFault, Latency, Layer, Layered, Recorder,
};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Applied, ClaimId, CoordinationStore, ErrorKind, Grant, Key, Label, Namespace, State, StoreError,
    Terms,
};

use crate::memory::Memory;

struct DynHarness {
    below: Recorder,
    faulty: Faulty,
    address: Address,
}

impl DynHarness {
    async fn new(plan: FaultPlan) -> Self {
        let below = Recorder::new(Memory::open().await.store());
        let faulty = Faulty::new(Arc::new(below.clone()), plan);
        let (namespace, key) = (Namespace::new("faults").unwrap(), Key::new("key").unwrap());
        Self { below, faulty, address: Address::execution(namespace, key) }
    }

    fn claim(n: u128) -> Claim {
        Claim {
            cause: None,
            about: None,
            claim_id: ClaimId::from_bits(n),
            terms: Terms::new(Duration::from_secs(1), Duration::from_secs(1)).unwrap(),
            retention: None,
            fingerprint: None,
            worker: Label::lossy("worker"),
            phase: Phase::Claimed,
            accepts: sentinel_core::Accepts::any(),
        }
    }

    async fn ask(&self, n: u128) -> Result<Stamped<ClaimReply>, sentinel_core::StoreError> {
        self.faulty.claim(&self.address, &Self::claim(n)).await
    }

    /// How many requests arrived.
    fn arrived(&self) -> usize {
        self.below.entries().len()
    }
}

#[tokio::test]
async fn a_lost_request_never_arrives_and_is_ambiguous() {
    let harness = DynHarness::new(FaultPlan::none().nth("claim", 1, Fault::LoseRequest)).await;
    let error = harness.ask(1).await.unwrap_err();
    assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply));
    assert_eq!(harness.arrived(), 0);
    assert!(matches!(harness.ask(1).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn a_lost_reply_belongs_to_a_request_that_was_carried_out() {
    let harness = DynHarness::new(FaultPlan::none().nth("claim", 1, Fault::LoseReply)).await;
    assert_eq!(harness.ask(1).await.unwrap_err().applied(), Applied::Ambiguous);
    assert_eq!(harness.arrived(), 1);
    assert!(!harness.ask(1).await.unwrap().stamp.changed);
}

#[tokio::test]
async fn a_request_that_is_not_applied_never_left() {
    let harness = DynHarness::new(FaultPlan::none().every("claim", Fault::NotApplied)).await;
    let error = harness.ask(1).await.unwrap_err();
    assert!(error.applied() == Applied::No && error.is_worth_repeating() && harness.arrived() == 0);
}

#[tokio::test]
async fn a_repeated_request_arrives_twice() {
    let harness = DynHarness::new(FaultPlan::none().nth("claim", 1, Fault::Repeat)).await;
    assert!(!harness.ask(1).await.unwrap().stamp.changed);
    assert_eq!(harness.arrived(), 2);
}

#[tokio::test]
async fn a_late_request_arrives_after_its_caller_got_an_error() {
    let late = Fault::ArriveAfter(Latency::Yields(3));
    let harness = DynHarness::new(FaultPlan::none().nth("claim", 1, late).nth(
        "claim",
        2,
        Fault::RepeatAfter(Latency::Yields(3)),
    ))
    .await;
    assert_eq!(harness.ask(1).await.unwrap_err().applied(), Applied::Ambiguous);
    assert_eq!(harness.arrived(), 0);
    let granted = harness.ask(2).await.unwrap();
    assert!(granted.stamp.changed && harness.arrived() == 1);
    harness.faulty.wait_for_late_requests().await;
    let changed: Vec<_> =
        harness.below.entries().into_iter().map(|e| e.reply.unwrap().unwrap().stamp.changed).collect();
    assert_eq!(changed, [true, false, false]);
    assert_eq!(harness.faulty.injected()[0], InjectedFault { op: "claim", nth: 1, fault: late });
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_on_tokios_clock() {
    let harness = DynHarness::new(
        FaultPlan::none().every("inspect", Fault::Delay(Latency::Time(Duration::from_secs(3600)))),
    )
    .await;
    let before = tokio::time::Instant::now();
    harness.faulty.inspect(&harness.address).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(3600));
}

#[tokio::test]
async fn a_plan_can_change_and_still_counts_from_the_first_request() {
    let harness = DynHarness::new(FaultPlan::none()).await;
    let granted = harness.ask(1).await.unwrap();
    let grant = Grant { token: granted.stamp.token, claim_id: ClaimId::from_bits(1) };
    harness.faulty.begin(&harness.address, &Begin { grant }).await.unwrap();
    harness.faulty.then(|plan| plan.nth("begin", 3, Fault::LoseReply));
    harness.faulty.begin(&harness.address, &Begin { grant }).await.unwrap();
    harness.faulty.begin(&harness.address, &Begin { grant }).await.unwrap_err();
    assert_eq!(harness.faulty.count("begin"), 3);
    let inspection = harness.faulty.inspect(&harness.address).await.unwrap();
    assert_eq!(inspection.record.unwrap().state, State::Executing);
}

#[tokio::test]
async fn a_batch_of_heartbeats_is_one_request() {
    let harness = DynHarness::new(FaultPlan::none().nth("heartbeat", 1, Fault::Repeat)).await;
    let beat = |n| Beat {
        address: harness.address.clone(),
        grant: Grant { token: sentinel_core::Token::new(1).unwrap(), claim_id: ClaimId::from_bits(n) },
    };
    let replies = harness.faulty.heartbeat(&[beat(1), beat(2), beat(3)]).await.unwrap();
    assert_eq!((replies.len(), harness.arrived(), harness.faulty.count("heartbeat")), (3, 6, 1));
}

#[tokio::test]
async fn the_same_seed_brings_the_same_faults() {
    let mut courses = Vec::new();
    for _ in 0..2 {
        let harness = DynHarness::new(FaultPlan::seeded(7)).await;
        for n in 0..200 {
            // Some are lost: that is the point.
            drop(harness.ask(n).await);
        }
        harness.faulty.wait_for_late_requests().await;
        courses.push(harness.faulty.injected());
    }
    assert_eq!(courses[0], courses[1]);
    let kinds = [Fault::LoseRequest, Fault::LoseReply, Fault::Repeat, Fault::NotApplied];
    assert!(kinds.iter().all(|kind| courses[0].iter().any(|met| met.fault == *kind)), "{:?}", courses[0]);
}

#[test]
#[should_panic(expected = "is no operation of a store")]
fn a_misspelt_operation_panics() {
    let _ = FaultPlan::none().every("beginn", Fault::LoseReply);
}

/// A course in which nothing about one key is sent.
#[derive(Debug)]
struct Shut {
    store: Arc<dyn CoordinationStore>,
    key: Key,
}

#[async_trait]
impl Layer for Shut {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        match address.key == self.key {
            true => Err(StoreError::not_applied(ErrorKind::Unreachable, "shut")),
            false => op.send(&*self.store, address).await,
        }
    }
}

#[tokio::test]
async fn through_a_layer_each_heartbeat_counts_for_itself() {
    let store = Memory::open().await.store();
    let mut beats = Vec::new();
    for key in ["open", "shut", "open, too"] {
        let address = Address::execution(Namespace::new("layers").unwrap(), Key::new(key).unwrap());
        let claim = DynHarness::claim(1);
        let token = store.claim(&address, &claim).await.unwrap().stamp.token;
        beats.push(Beat { address, grant: Grant { token, claim_id: claim.claim_id } });
    }
    let layered = Layered(Shut { store, key: Key::new("shut").unwrap() });
    let replies = layered.heartbeat(&beats).await.unwrap();
    let kept = |n: usize| matches!(replies[n].reply, HeartbeatReply::Kept { .. });
    assert!(kept(0) && kept(2), "{replies:?}");
    assert_eq!(replies[1].reply, HeartbeatReply::Unknown);
    assert_eq!(layered.heartbeat(&beats[1..2]).await.unwrap_err().applied(), Applied::No);
}

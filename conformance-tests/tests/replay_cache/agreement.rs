//! Generated: whatever two processes do, one of them through the cache, and whatever the clocks do, the cache replies
//! to a claim as the store behind it would.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};
use sentinel_core::kernel::{Reading, apply};
use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, Clock as _, CoordinationStore, Grant, Record, StoreTime, Token};

use crate::harness::{DynHarness, about, call, key, result};

#[derive(Debug, Clone)]
enum Step {
    /// Claims and, where it is granted, completes; here or in another process.
    Once {
        here: bool,
        key: u8,
        fingerprint: Option<u8>,
        retention: Option<u32>,
    },
    /// Time passes, on the cache's host by a number of thousandths more.
    Pass {
        secs: u32,
        faster: u32,
    },
    /// The store's clock is set back.
    SetBack {
        secs: u32,
    },
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let once = (any::<bool>(), 0..3_u8, proptest::option::of(0..3_u8), proptest::option::of(0..4_000_u32));
    prop_oneof![
        6 => once.prop_map(|(here, key, fingerprint, retention)| Step::Once { here, key, fingerprint, retention }),
        3 => (0..2_500_u32, prop_oneof![3 => Just(0), 1 => 0..1_000_u32])
            .prop_map(|(secs, faster)| Step::Pass { secs, faster }),
        1 => (0..600_u32).prop_map(|secs| Step::SetBack { secs }),
        1 => Just(Step::Purge),
    ]
}

struct World {
    harness: DynHarness,
    /// The two clocks have advanced by the same amount: then the replies are the same to the microsecond.
    alike: bool,
    replayed_here: u32,
}

impl World {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Once { here, key: n, fingerprint, retention } => {
                let claim = Claim {
                    fingerprint: fingerprint.and_then(|n| about(&n.to_string())),
                    retention: retention.map(|secs| Duration::from_secs(secs.into())),
                    ..call()
                };
                self.once(*here, &key(&n.to_string()), &claim).await;
            }
            Step::Pass { secs, faster } => {
                let by = Duration::from_secs((*secs).into());
                self.harness.theirs.advance(by);
                self.harness.ours.advance(by + by * *faster / 1000);
                self.alike &= *faster == 0;
            }
            Step::SetBack { secs } => {
                let now = self.harness.theirs.now().as_micros() - u64::from(*secs) * 1_000_000;
                self.harness.theirs.set(StoreTime::from_micros(now));
                self.alike &= *secs == 0;
            }
            Step::Purge => {
                let purge = Purge { namespace: key("k").namespace, limit: 100, dry_run: false };
                self.harness.cache.purge(&purge).await.unwrap();
            }
        }
    }

    async fn once(&mut self, here: bool, address: &Address, claim: &Claim) {
        let expected = self.expected(address, claim).await;
        let store: &dyn CoordinationStore = if here { &*self.harness.cache } else { &self.harness.store };
        let asked = self.harness.asked();
        let actual = store.claim(address, claim).await.unwrap();
        if here && asked == self.harness.asked() {
            self.replayed_here += 1;
            if self.alike {
                assert_eq!(actual, expected);
            }
        }
        match (&actual.reply, &expected.reply) {
            (ClaimReply::Completed { result: ours, .. }, ClaimReply::Completed { result: theirs, .. }) => {
                assert_eq!((ours, actual.stamp.rev), (theirs, expected.stamp.rev))
            }
            (ClaimReply::Completed { .. }, other) | (other, ClaimReply::Completed { .. }) => {
                panic!("the cache and the store disagree: {actual:?}, {other:?}")
            }
            _ => {}
        }
        if let ClaimReply::Granted(granted) = actual.reply {
            let grant = Grant { token: granted.token, claim_id: claim.claim_id };
            let complete = Complete { grant, result: result(&claim.claim_id.to_string()) };
            let reply = store.complete(address, &complete).await.unwrap().reply;
            assert!(matches!(reply, CompleteReply::Recorded { .. }));
        }
    }

    /// The reply of the store, computed on a copy of its record.
    async fn expected(&self, address: &Address, claim: &Claim) -> Stamped<ClaimReply> {
        let seen = self.harness.store.inspect(address).await.unwrap();
        let mut record = seen.record.unwrap_or(Record::absent());
        let at = Reading { kind: address.kind, now: seen.now, floor: Token::NONE };
        apply(&mut record, claim, at).unwrap().stamped
    }
}

#[test]
fn the_cache_replies_as_the_store_would() {
    let config = Config {
        cases: 3_000,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let actual = std::cell::Cell::new(0);
    let steps = proptest::collection::vec(step(), 1..40);
    let tested = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            let mut world = World { harness: DynHarness::new(), alike: true, replayed_here: 0 };
            for step in &steps {
                world.take(step).await;
            }
            actual.set(actual.get() + world.replayed_here);
        });
        Ok(())
    });
    tested.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(actual.get() > 1_000, "only {} replays were answered by the cache", actual.get());
}

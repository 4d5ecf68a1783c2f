//! A cache before a store that counts what it is asked, each on a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::{Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Fingerprint, Grant, Key, Label, ManualClock, Namespace, Payload,
    Recorded, ReplayCache, ReplayLimits, StoreError, StoreTime, Terms,
};
use sentinel_memory::MemoryStore;

/// Asked by the cache: how often for a claim, and in all.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn CoordinationStore>,
    claims: AtomicU32,
}

#[async_trait]
impl Layer for Counting {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        if matches!(op, Op::Claim(_)) {
            self.claims.fetch_add(1, Ordering::SeqCst);
        }
        op.send(&*self.inner, address).await
    }
}

pub(crate) struct Bench {
    pub(crate) cache: ReplayCache<Arc<Layered<Counting>>>,
    /// The store behind, as other processes see it.
    pub(crate) store: MemoryStore,
    /// The store's clock.
    pub(crate) theirs: Arc<ManualClock>,
    /// The clock of the cache's host.
    pub(crate) ours: Arc<ManualClock>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_limits(ReplayLimits::default())
    }

    pub(crate) fn with_limits(limits: ReplayLimits) -> Self {
        let clock = |micros| Arc::new(ManualClock::new(StoreTime::from_micros(micros)));
        let (theirs, ours) = (clock(1_700_000_000_000_000), clock(5_000_000));
        let store = MemoryStore::with_clock(theirs.clone());
        let counting = Counting { inner: Arc::new(store.clone()), claims: AtomicU32::new(0) };
        let cache = ReplayCache::with_limits(Arc::new(Layered(counting)), limits).with_clock(ours.clone());
        Self { cache, store, theirs, ours }
    }

    /// Time passes for both.
    pub(crate) fn advance(&self, by: Duration) {
        self.theirs.advance(by);
        self.ours.advance(by);
    }

    /// How many claims have reached the store.
    pub(crate) fn asked(&self) -> u32 {
        self.cache.inner().0.claims.load(Ordering::SeqCst)
    }

    /// Completes a key in another process.
    pub(crate) async fn completed_elsewhere(&self, address: &Address, claim: &Claim, text: &str) {
        complete(&self.store, address, claim, text).await;
    }

    /// What a claim through the cache is answered: the result's text, or None if it is not completed.
    pub(crate) async fn told(&self, address: &Address, claim: &Claim) -> Option<String> {
        text(self.cache.claim(address, claim).await.unwrap().reply)
    }
}

/// Claims, begins and completes.
pub(crate) async fn complete(store: &dyn CoordinationStore, address: &Address, claim: &Claim, text: &str) {
    let granted = store.claim(address, claim).await.unwrap().reply;
    let ClaimReply::Granted(Granted { token, .. }) = granted else { panic!("{granted:?}") };
    let grant = Grant { token, claim_id: claim.claim_id };
    let reply = store.complete(address, &Complete { grant, result: result(text) }).await.unwrap().reply;
    assert_eq!(reply, CompleteReply::Recorded { late: false });
}

pub(crate) fn text(reply: ClaimReply) -> Option<String> {
    match reply {
        ClaimReply::Completed { result, .. } => {
            Some(String::from_utf8(result.payload.bytes.to_vec()).unwrap())
        }
        _ => None,
    }
}

pub(crate) fn key(key: &str) -> Address {
    Address::execution(Namespace::new("cached").unwrap(), Key::new(key).unwrap())
}

pub(crate) fn result(text: &str) -> Recorded {
    Recorded::success(Payload::new("text/plain", text.to_owned()))
}

pub(crate) fn about(request: &str) -> Option<Fingerprint> {
    Some(Fingerprint::new(request).unwrap())
}

pub(crate) fn call() -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(10), Duration::from_secs(60)).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("ann").unwrap(),
        phase: Phase::Executing,
    }
}

pub(crate) fn kept(retention: Duration) -> Claim {
    Claim { retention: Some(retention), ..call() }
}

pub(crate) fn asking(request: &str) -> Claim {
    Claim { fingerprint: about(request), ..call() }
}

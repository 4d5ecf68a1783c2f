//! A cache before a store that counts its requests, each on a clock of its own.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::{ReplayCache, ReplayLimits};
use sentinel_conformance::{Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Fingerprint, Grant, Key, Label, ManualClock, Namespace, Payload,
    RecordedResult, StoreError, StoreTime, Terms,
};
use sentinel_memory::MemoryStore;

/// Between a reply of the store and its arrival.
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Counts the claims that reach a store, and runs a function between a reply and its arrival.
pub(crate) struct Counting {
    inner: Arc<dyn CoordinationStore>,
    claims: AtomicU32,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
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
        let reply = op.send(&*self.inner, address).await;
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        reply
    }
}

pub(crate) struct DynHarness {
    pub(crate) cache: Arc<ReplayCache<Arc<Layered<Counting>>>>,
    /// The store behind the cache, as other processes use it.
    pub(crate) store: MemoryStore,
    /// The store's clock.
    pub(crate) theirs: Arc<ManualClock>,
    /// The clock of the cache's host.
    pub(crate) ours: Arc<ManualClock>,
}

impl DynHarness {
    pub(crate) fn new() -> Self {
        Self::with_limits(ReplayLimits::default())
    }

    pub(crate) fn with_limits(limits: ReplayLimits) -> Self {
        let clock = |micros| Arc::new(ManualClock::new(StoreTime::from_micros(micros)));
        let (theirs, ours) = (clock(1_700_000_000_000_000), clock(5_000_000));
        let store = MemoryStore::with_clock(theirs.clone());
        let counting = Counting {
            inner: Arc::new(store.clone()),
            claims: AtomicU32::new(0),
            meanwhile: Mutex::default(),
        };
        let cache = ReplayCache::with_limits(Arc::new(Layered(counting)), limits).with_clock(ours.clone());
        Self { cache: Arc::new(cache), store, theirs, ours }
    }

    /// Time passes for both.
    pub(crate) fn advance(&self, by: Duration) {
        self.theirs.advance(by);
        self.ours.advance(by);
    }

    /// What happens between the next reply of the store and its arrival.
    pub(crate) fn meanwhile(&self, happens: impl Future<Output = ()> + Send + 'static) {
        *self.cache.inner().0.meanwhile.lock().unwrap() = Some(Box::pin(happens));
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
    pub(crate) async fn replayed(&self, address: &Address, claim: &Claim) -> Option<String> {
        text(self.cache.claim(address, claim).await.unwrap().reply)
    }
}

/// Claims and begins.
pub(crate) async fn begun(store: &dyn CoordinationStore, address: &Address, claim: &Claim) -> Grant {
    let granted = store.claim(address, claim).await.unwrap().reply;
    let ClaimReply::Granted(Granted { token, .. }) = granted else { panic!("{granted:?}") };
    Grant { token, claim_id: claim.claim_id }
}

/// Claims, begins and completes.
pub(crate) async fn complete(store: &dyn CoordinationStore, address: &Address, claim: &Claim, text: &str) {
    let grant = begun(store, address, claim).await;
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

pub(crate) fn result(text: &str) -> RecordedResult {
    RecordedResult::success(Payload::new("text/plain", text.to_owned()))
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
        accepts: sentinel_core::Accepts::any(),
        cause: None,
        about: None,
    }
}

pub(crate) fn kept(retention: Duration) -> Claim {
    Claim { retention: Some(retention), ..call() }
}

pub(crate) fn asking(request: &str) -> Claim {
    Claim { fingerprint: about(request), ..call() }
}

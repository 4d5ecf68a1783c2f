//! A client whose requests are recorded, behind a network that loses, delays and repeats them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sentinel::cache::ReplayCache;
use sentinel::kernel::{Op, Reply};
use sentinel::prelude::*;
use sentinel::record::{Address, ClaimId, State};
use sentinel::store::StoreError;
use sentinel::store::operation::Stamped;
use sentinel_conformance::{FaultPlan, Faulty, Layer, Layered};

use crate::{Lied, SECOND};

/// Records what a client sends, before the network loses it.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) store: Arc<dyn CoordinationStore>,
    pub(crate) sent: Arc<Mutex<Vec<Op>>>,
}

#[async_trait]
impl Layer for Wire {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.sent.lock().unwrap().push(op.clone());
        op.send(&*self.store, address).await
    }
}

impl Wire {
    pub(crate) fn claim_ids(&self) -> Vec<ClaimId> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .filter_map(|op| if let Op::Claim(claim) = op { Some(claim.claim_id) } else { None })
            .collect()
    }

    pub(crate) fn sent(&self, name: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|op| op.name() == name).count()
    }
}

/// A client behind a recorder and a network, another client on the same store, and a count of runs.
pub(crate) struct Harness {
    pub(crate) wire: Wire,
    pub(crate) network: Arc<Faulty>,
    pub(crate) ours: Sentinel,
    pub(crate) other: Sentinel,
    pub(crate) runs: Arc<AtomicU32>,
}

impl Harness {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let store = MemoryStore::new();
        let network = Arc::new(Faulty::new(Arc::new(store.clone()), plan));
        let wire = Wire { store: network.clone(), sent: Arc::default() };
        let ours = Sentinel::new(Layered(wire.clone())).retry_timeout(SECOND * 2);
        Self { wire, network, ours, other: Sentinel::new(store), runs: Arc::default() }
    }

    /// The same, with a replay cache in the client under test.
    pub(crate) fn with_cache(plan: FaultPlan) -> Self {
        let harness = Self::new(plan);
        let ours = Sentinel::new(ReplayCache::new(Layered(harness.wire.clone()))).retry_timeout(SECOND * 2);
        Self { ours, ..harness }
    }

    /// A call of the client under test that counts its run.
    pub(crate) async fn pay(&self) -> Outcome<String, Lied> {
        let runs = self.runs.clone();
        let once = self.ours.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 600);
        once.run(|_| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok("receipt".to_owned())
        })
        .await
        .unwrap()
    }

    /// The same with a preparation: claim and begin are two requests.
    pub(crate) async fn prepare_and_pay(&self) -> Outcome<String, Lied> {
        let runs = self.runs.clone();
        let once = self.ours.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 600).prepare(|_| async { Ok(()) });
        once.run(|_, ()| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok("receipt".to_owned())
        })
        .await
        .unwrap()
    }

    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    /// The key's state after all late messages have arrived.
    pub(crate) async fn state(&self) -> State {
        self.network.wait_for_late_requests().await;
        crate::state(&self.other, "k").await
    }
}

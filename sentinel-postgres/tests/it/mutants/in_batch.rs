//! A store whose every claim, begin, release and completion goes out beside another's: in a statement for many.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::{DynHarness, Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, CoordinationStore, Grant, Key, Namespace, StoreError, Token};

use crate::harness::{Fixture, call};

#[derive(Debug)]
pub(super) struct BatchedCalls {
    inner: Arc<dyn CoordinationStore>,
    /// Where the others claim.
    elsewhere: Namespace,
}

impl BatchedCalls {
    pub(super) fn of(inner: Arc<dyn CoordinationStore>) -> Self {
        Self { inner, elsewhere: Namespace::new(format!("other-{}", ClaimId::random())).unwrap() }
    }
}

#[async_trait]
impl Layer for BatchedCalls {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        if !matches!(op, Op::Claim(_) | Op::Complete(_) | Op::Begin(_) | Op::Release(_)) {
            return op.send(&*self.inner, address).await;
        }
        let elsewhere = || {
            let key = Key::new(ClaimId::random().to_string()).unwrap();
            Address::execution(self.elsewhere.clone(), key)
        };
        // One for each batcher. What the second begins was never granted.
        let (claimed, nothing, claim) = (elsewhere(), elsewhere(), call());
        let begin = Begin { grant: Grant { token: Token::NONE, claim_id: ClaimId::random() } };
        let (reply, ..) = tokio::join!(
            op.send(&*self.inner, address),
            self.inner.claim(&claimed, &claim),
            self.inner.begin(&nothing, &begin),
        );
        reply
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.inner.heartbeat(beats).await
    }
}

/// The store, and its clock.
pub(super) struct Batched {
    pub(super) fixture: Fixture,
    pub(super) store: Arc<Layered<BatchedCalls>>,
}

#[async_trait]
impl DynHarness for Batched {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        self.store.clone()
    }

    async fn advance(&self, by: Duration) {
        self.fixture.advance(by).await;
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.fixture.set_back(by).await
    }
}

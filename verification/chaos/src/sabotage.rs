//! Workers that break a rule on purpose: what the verdict has to notice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::operation::*;
use sentinel::{Address, CoordinationStore, State, StoreError};
use sentinel_conformance::{Layer, Layered};
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Sabotage {
    /// Runs although somebody else does, or did: what has no grant is told that it has one.
    RunsWithoutGrant,
    /// Runs although its begin was refused: its lease is over, or somebody else holds it.
    BeginsLate,
    /// Takes its result for recorded, and has sent nothing.
    RecordsNothing,
}

/// The store as this worker sees it.
pub(crate) fn over(
    store: Arc<dyn CoordinationStore>,
    sabotage: Option<Sabotage>,
) -> Arc<dyn CoordinationStore> {
    match sabotage {
        Some(sabotage) => Arc::new(Layered(Saboteur { store, sabotage })),
        None => store,
    }
}

#[derive(Debug)]
struct Saboteur {
    store: Arc<dyn CoordinationStore>,
    sabotage: Sabotage,
}

#[async_trait]
impl Layer for Saboteur {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        if self.sabotage == Sabotage::RecordsNothing && matches!(op, Op::Complete(_)) {
            let stamp = self.store.inspect(address).await.map(|seen| Stamp::unseen(seen.now))?;
            return Ok(Stamped { reply: Reply::Complete(CompleteReply::Recorded { late: false }), stamp });
        }
        let Stamped { mut reply, stamp } = op.send(&*self.store, address).await?;
        let granted = |state| Granted {
            token: stamp.token,
            state,
            incarnation: 1,
            lease_until: stamp.now.plus(Duration::from_secs(1)),
            hard_until: stamp.now.plus(Duration::from_secs(1)),
        };
        match (self.sabotage, &reply) {
            (Sabotage::RunsWithoutGrant, Reply::Claim(ClaimReply::InProgress { .. })) => {
                reply = Reply::Claim(ClaimReply::Granted(granted(State::Executing)));
            }
            (Sabotage::BeginsLate, Reply::Begin(BeginReply::Expired | BeginReply::Superseded(_))) => {
                reply = Reply::Begin(BeginReply::Begun(granted(State::Executing)));
            }
            _ => {}
        }
        Ok(Stamped { reply, stamp })
    }
}

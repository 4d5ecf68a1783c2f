//! Workers that break a rule on purpose: what the checker has to detect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::record::{Address, State};
use sentinel::store::operation::*;
use sentinel::store::{CoordinationStore, StoreError};
use sentinel_conformance::{Layer, Layered};
use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Mutation {
    /// Runs although another worker does, or did: it takes a refused claim for a grant.
    RunsWithoutGrant,
    /// Runs although its begin was refused: its lease is over, or another worker holds it.
    BeginsLate,
    /// Takes its result for recorded, and has sent nothing.
    RecordsNothing,
}

/// The store as this worker sees it.
pub(crate) fn over(
    store: Arc<dyn CoordinationStore>,
    mutation: Option<Mutation>,
) -> Arc<dyn CoordinationStore> {
    match mutation {
        Some(mutation) => Arc::new(Layered(MutatedStore { store, mutation })),
        None => store,
    }
}

#[derive(Debug)]
struct MutatedStore {
    store: Arc<dyn CoordinationStore>,
    mutation: Mutation,
}

#[async_trait]
impl Layer for MutatedStore {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        if self.mutation == Mutation::RecordsNothing && matches!(op, Op::Complete(_)) {
            let stamp = self.store.inspect(address).await.map(|found| Stamp::unseen(found.now))?;
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
        match (self.mutation, &reply) {
            (Mutation::RunsWithoutGrant, Reply::Claim(ClaimReply::InProgress { .. })) => {
                reply = Reply::Claim(ClaimReply::Granted(granted(State::Executing)));
            }
            (Mutation::BeginsLate, Reply::Begin(BeginReply::Expired | BeginReply::Superseded(_))) => {
                reply = Reply::Begin(BeginReply::Begun(granted(State::Executing)));
            }
            _ => {}
        }
        Ok(Stamped { reply, stamp })
    }
}

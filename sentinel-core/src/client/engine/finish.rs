//! Getting out: what the store is told of a function that started. The function is never invoked again.

use std::time::Duration;

use super::super::keeper::Keeping;
use super::super::outcome::{Doubtful, Failure, Outcome};
use super::super::retry::Persist;
use super::enter::{Call, Held};
use crate::error::{StoreError, Trouble};
use crate::operation::*;
use crate::payload::{Payload, Recorded};
use crate::record::State;
use crate::terms::Label;

/// A function that started. Dropped before its end is known (the runtime shuts down), it abandons: the key is uncertain
/// at once, and never released.
#[derive(Debug)]
pub(super) struct Started {
    held: Held,
    keeping: Option<Keeping>,
    /// The function has ended, and its end is about to be told: nothing is left to abandon on drop.
    ended: bool,
}

impl Started {
    pub(super) fn new(mut held: Held) -> Self {
        held.start();
        let keeping = Some(held.keep());
        Self { held, keeping, ended: false }
    }

    /// Records a result. Heartbeats go on until the store has answered.
    pub(super) async fn complete<T, E>(mut self, value: Result<T, E>, result: Recorded) -> Outcome<T, E> {
        self.ended = true;
        let (call, grant) = (self.held.call(), self.held.grant);
        let mut op = Complete { grant, result };
        let mut told = call.complete(&op, call.patience).await;
        if matches!(&told, Err(error) if error.trouble() == Trouble::InvalidRequest) {
            // The store will not take these bytes. The truth is recorded without them.
            op.result = Recorded { payload: Payload::empty(), omitted: true, ..op.result };
            told = call.complete(&op, call.patience).await;
        }
        match told {
            Ok(CompleteReply::Recorded { .. }) => match value {
                Ok(value) => Outcome::Completed(value),
                Err(error) => Outcome::Failed(Failure::Recorded(error)),
            },
            Ok(CompleteReply::Superseded(current)) => Outcome::Superseded(value, current),
            Ok(CompleteReply::Conflict) => {
                Outcome::Superseded(value, Current { state: State::Completed, token: grant.token })
            }
            Ok(CompleteReply::NotBegun) => {
                Outcome::Superseded(value, Current { state: State::Claimed, token: grant.token })
            }
            Err(_) => {
                let (again, keeping) = (call.clone(), self.keeping.take());
                self.held.call().core.keeper.spawn(async move {
                    let _kept_alive = keeping;
                    // For ever: as long as this process lives, somebody knows the truth.
                    let _ = again.complete(&op, Duration::MAX).await;
                });
                Outcome::Unconfirmed(value)
            }
        }
    }

    /// Nothing happened, vouched: anyone may try again.
    pub(super) async fn release<T, E>(mut self, error: E) -> Outcome<T, E> {
        self.ended = true;
        let call = self.held.call();
        let op = Release { grant: self.held.grant, vouched: true };
        if call.release(&op, call.patience).await.is_err() {
            let (again, keeping) = (call.clone(), self.keeping.take());
            self.held.call().core.keeper.spawn(async move {
                let _kept_alive = keeping;
                let _ = again.release(&op, Duration::MAX).await;
            });
        }
        Outcome::Failed(Failure::NothingHappened(error))
    }

    /// Nobody knows what happened: the key is uncertain now, not when its lease lapses.
    pub(super) async fn abandon<T, E>(mut self, cause: Label, error: Option<E>) -> Outcome<T, E> {
        self.ended = true;
        self.keeping = None;
        let grant = self.held.grant;
        let op = Abandon { grant, cause };
        self.held.call().abandon(&op).await;
        Outcome::Doubtful(Doubtful { cause: op.cause, error, token: grant.token, claim_id: grant.claim_id })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.ended {
            let (call, grant) = (self.held.call().clone(), self.held.grant);
            let cause = Label::lossy("the function's task was dropped before it ended");
            let op = Abandon { grant, cause };
            self.held.call().core.keeper.spawn(async move { call.abandon(&op).await });
        }
    }
}

impl Call {
    async fn complete(&self, op: &Complete, patience: Duration) -> Result<CompleteReply, StoreError> {
        let send = || self.core.store.complete(&self.address, op);
        let told = self.core.settle(&self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.map(|settled| settled.stamped.reply)
    }

    pub(crate) async fn release(&self, op: &Release, patience: Duration) -> Result<ReleaseReply, StoreError> {
        let send = || self.core.store.release(&self.address, op);
        let told = self.core.settle(&self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.map(|settled| settled.stamped.reply)
    }

    /// Best effort: a run that is not abandoned becomes uncertain when its lease lapses.
    async fn abandon(&self, op: &Abandon) {
        let send = || self.core.store.abandon(&self.address, op);
        let told = self.core.settle(&self.address, Persist::Always, self.patience, send).await;
        if let Err(error) = told {
            tracing::warn!(%error, "a run in doubt could not be abandoned; it becomes uncertain when it lapses");
        }
        self.core.watchers.wake(&self.address);
    }
}

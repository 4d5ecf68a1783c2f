//! Getting out: what the store is told of a function that started. The function is never invoked again.

use std::time::Duration;

use super::super::keeper::Keeping;
use super::super::outcome::{Doubtful, Failure, Outcome};
use super::super::retry::Persist;
use super::enter::{Call, Held};
use crate::error::{StoreError, Trouble};
use crate::operation::*;
use crate::payload::{Payload, Recorded};
use crate::record::{Grant, State};
use crate::terms::Label;

/// A function that started. Dropped before its end is known (the runtime shuts down), it abandons: the key is uncertain
/// at once, and never released.
#[derive(Debug)]
pub(super) struct Started {
    held: Option<Held>,
    keeping: Option<Keeping>,
}

impl Started {
    pub(super) fn new(mut held: Held) -> Self {
        held.start();
        let keeping = Some(held.keep());
        Self { held: Some(held), keeping }
    }

    /// The function has ended, and its end is about to be told: nothing is left to abandon on drop.
    fn ended(mut self) -> Option<(std::sync::Arc<Call>, Grant, Option<Keeping>)> {
        let held = self.held.take()?;
        Some((held.call.clone(), held.grant, self.keeping.take()))
    }

    /// Records a result. Heartbeats go on until the store has answered.
    pub(super) async fn complete<T, E>(self, value: Result<T, E>, result: Recorded) -> Outcome<T, E> {
        let Some((call, grant, keeping)) = self.ended() else { return Outcome::Unconfirmed(value) };
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
                let again = call.clone();
                call.core.keeper.spawn(async move {
                    let _kept_alive = keeping;
                    // For ever: as long as this process lives, somebody knows the truth.
                    let _ = again.complete(&op, Duration::MAX).await;
                });
                Outcome::Unconfirmed(value)
            }
        }
    }

    /// Nothing happened, vouched: anyone may try again.
    pub(super) async fn release<T, E>(self, error: E) -> Outcome<T, E> {
        let vouched = Outcome::Failed(Failure::NothingHappened(error));
        let Some((call, grant, keeping)) = self.ended() else { return vouched };
        let op = Release { grant, vouched: true };
        if call.release(&op, call.patience).await.is_err() {
            let again = call.clone();
            call.core.keeper.spawn(async move {
                let _kept_alive = keeping;
                let _ = again.release(&op, Duration::MAX).await;
            });
        }
        vouched
    }

    /// Nobody knows what happened: the key is uncertain now, not when its lease lapses.
    pub(super) async fn abandon<T, E>(self, cause: Label, error: Option<E>) -> Outcome<T, E> {
        let Some(held) = &self.held else { unreachable!("a started function has its grant") };
        let Grant { token, claim_id } = held.grant;
        let doubtful = Outcome::Doubtful(Doubtful { cause: cause.clone(), error, token, claim_id });
        if let Some((call, grant, keeping)) = self.ended() {
            drop(keeping);
            call.abandon(&Abandon { grant, cause }).await;
        }
        doubtful
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let (call, grant) = (held.call.clone(), held.grant);
            let cause = Label::lossy("the function's task was dropped before it ended");
            let op = Abandon { grant, cause };
            held.call.core.keeper.spawn(async move { call.abandon(&op).await });
        }
    }
}

impl Call {
    async fn complete(&self, op: &Complete, patience: Duration) -> Result<CompleteReply, StoreError> {
        let send = || self.core.store.complete(&self.address, op);
        let told = self.core.settle("complete", &self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.map(|settled| settled.stamped.reply)
    }

    pub(crate) async fn release(&self, op: &Release, patience: Duration) -> Result<ReleaseReply, StoreError> {
        let send = || self.core.store.release(&self.address, op);
        let told = self.core.settle("release", &self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.map(|settled| settled.stamped.reply)
    }

    /// Best effort: a run that is not abandoned becomes uncertain when its lease lapses.
    async fn abandon(&self, op: &Abandon) {
        let send = || self.core.store.abandon(&self.address, op);
        let told = self.core.settle("abandon", &self.address, Persist::Always, self.patience, send).await;
        if let Err(error) = told {
            tracing::warn!(%error, "a run in doubt could not be abandoned; it becomes uncertain when it lapses");
        }
        self.core.watchers.wake(&self.address);
    }
}

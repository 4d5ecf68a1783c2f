//! Getting out: what the store is told of a function that started. The function is never invoked again.

use std::time::Duration;

use super::super::Core;
use super::super::keeper::Keeping;
use super::super::outcome::{Doubtful, Failure, Outcome};
use super::super::retry::Persist;
use super::enter::Held;
use crate::address::Address;
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
        let Held { core, patience, .. } = &self.held;
        let (address, grant) = (self.held.address(), self.held.grant());
        let mut op = Complete { grant, result };
        let mut told = core.complete(address, &op, *patience).await;
        if matches!(&told, Err(error) if error.trouble() == Trouble::InvalidRequest) {
            // The store will not take these bytes. The truth is recorded without them.
            op.result = Recorded { payload: Payload::empty(), omitted: true, ..op.result };
            told = core.complete(address, &op, *patience).await;
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
                let (core, address) = (core.clone(), address.clone());
                let keeping = self.keeping.take();
                self.held.core.keeper.spawn(async move {
                    let _kept_alive = keeping;
                    // For ever: as long as this process lives, somebody knows the truth.
                    let _ = core.complete(&address, &op, Duration::MAX).await;
                });
                Outcome::Unconfirmed(value)
            }
        }
    }

    /// Nothing happened, vouched: anyone may try again.
    pub(super) async fn release<T, E>(mut self, error: E) -> Outcome<T, E> {
        self.ended = true;
        let Held { core, patience, .. } = &self.held;
        let address = self.held.address();
        let op = Release { grant: self.held.grant(), vouched: true };
        if core.release(address, &op, *patience).await.is_err() {
            let (core, address) = (core.clone(), address.clone());
            let keeping = self.keeping.take();
            self.held.core.keeper.spawn(async move {
                let _kept_alive = keeping;
                let _ = core.release(&address, &op, Duration::MAX).await;
            });
        }
        Outcome::Failed(Failure::NothingHappened(error))
    }

    /// Nobody knows what happened: the key is uncertain now, not when its lease lapses.
    pub(super) async fn abandon<T, E>(mut self, cause: Label, error: Option<E>) -> Outcome<T, E> {
        self.ended = true;
        self.keeping = None;
        let grant = self.held.grant();
        let op = Abandon { grant, cause, late_effects: self.held.late_effects };
        self.held.core.abandon(self.held.address(), &op, self.held.patience).await;
        Outcome::Doubtful(Doubtful { cause: op.cause, error, token: grant.token, claim_id: grant.claim_id })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.ended {
            let Held { core, patience, .. } = &self.held;
            let (again, address, patience) = (core.clone(), self.held.address().clone(), *patience);
            let cause = Label::lossy("the function's task was dropped before it ended");
            let late_effects = self.held.late_effects;
            let op = Abandon { grant: self.held.grant(), cause, late_effects };
            core.keeper.spawn(async move { again.abandon(&address, &op, patience).await });
        }
    }
}

impl Core {
    async fn complete(
        &self,
        address: &Address,
        op: &Complete,
        patience: Duration,
    ) -> Result<CompleteReply, StoreError> {
        let send = || self.store.complete(address, op);
        let told = self.settle(address, Persist::Always, patience, send).await;
        self.watchers.wake(address);
        told.map(|settled| settled.stamped.reply)
    }

    pub(crate) async fn release(
        &self,
        address: &Address,
        op: &Release,
        patience: Duration,
    ) -> Result<ReleaseReply, StoreError> {
        let send = || self.store.release(address, op);
        let told = self.settle(address, Persist::Always, patience, send).await;
        self.watchers.wake(address);
        told.map(|settled| settled.stamped.reply)
    }

    /// Best effort: a run that is not abandoned becomes uncertain when its lease lapses.
    async fn abandon(&self, address: &Address, op: &Abandon, patience: Duration) {
        let send = || self.store.abandon(address, op);
        if let Err(error) = self.settle(address, Persist::Always, patience, send).await {
            tracing::warn!(%error, "a run in doubt could not be abandoned; it becomes uncertain when it lapses");
        }
        self.watchers.wake(address);
    }
}

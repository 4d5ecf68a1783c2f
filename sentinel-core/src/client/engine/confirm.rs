//! A result that the function recorded itself, in a transaction of its own: it is true only if the record says so.

use std::time::Duration;

use super::super::Core;
use super::super::outcome::{Doubtful, Outcome};
use super::super::retry::Persist;
use super::finish::Started;
use crate::address::Address;
use crate::error::StoreError;
use crate::operation::{Abandon, AbandonReply};
use crate::payload::Recorded;
use crate::record::State;
use crate::terms::Label;

impl Started {
    pub(super) fn recorded_itself(&self) -> bool {
        self.held.run.has_recorded_itself()
    }

    /// Asks the record whether the function's transaction was committed. The question is an abandon: it is refused where
    /// the execution is completed, waits for a transaction that is still open, and leaves no doubt unrecorded.
    pub(super) async fn confirm<T, E>(mut self, value: T, result: Recorded) -> Outcome<T, E> {
        self.ended = true;
        let grant = self.held.grant();
        let cause = Label::lossy("the transaction that was to record the result was not committed");
        let op = Abandon { grant, cause, late_effects: self.held.late_effects };
        match self.held.core.give_up(self.held.address(), &op, self.held.patience).await {
            Ok(AbandonReply::Abandoned) => {
                let (cause, token, claim_id) = (op.cause, grant.token, grant.claim_id);
                Outcome::Doubtful(Doubtful { cause, error: None, token, claim_id })
            }
            // It is completed: the same request as everywhere says with which bytes, and passes the barrier.
            Ok(AbandonReply::Superseded(current))
                if current.state == State::Completed && current.token == grant.token =>
            {
                self.complete(Ok(value), result).await
            }
            Ok(AbandonReply::Superseded(current)) => Outcome::Superseded(Ok(value), current),
            Err(_) => {
                let (core, address) = (self.held.core.clone(), self.held.address().clone());
                let keeping = self.keeping.take();
                self.held.core.keeper.spawn(async move {
                    let _kept_alive = keeping;
                    let _ = core.give_up(&address, &op, Duration::MAX).await;
                });
                Outcome::Unconfirmed(Ok(value))
            }
        }
    }
}

impl Core {
    async fn give_up(
        &self,
        address: &Address,
        op: &Abandon,
        patience: Duration,
    ) -> Result<AbandonReply, StoreError> {
        let send = || self.store.abandon(address, op);
        let told = self.settle(address, Persist::Always, patience, send).await;
        self.watchers.wake(address);
        told.map(|settled| settled.stamped.reply)
    }
}

//! The second half of a call: reports the end of a function that started. The function is never called again.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Address, ErrorKind, Label, Payload, RecordedResult, State, StoreError};

use super::super::keeper::KeepAliveGuard;
use super::super::open_work::{Work, WorkGuard};
use super::super::outcome::{Failure, NotStored, Outcome, RanUncertain};
use super::super::retry::RetryPolicy;
use super::super::shared::Core;
use super::ended::Ended;
use super::enter::HeldGrant;

/// A function that started. If it is dropped before the function has ended (the runtime shuts down), it abandons: the
/// key becomes uncertain at once, and is never released.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) held: HeldGrant,
    pub(super) keep_alive: Option<KeepAliveGuard>,
    /// Whether the function has ended and its end is being reported: then the drop abandons nothing.
    pub(super) ended: bool,
}

impl Started {
    pub(super) fn new(mut held: HeldGrant) -> Self {
        held.start();
        let keep_alive = Some(held.keep());
        Self { held, keep_alive, ended: false }
    }

    pub(super) fn mark_ended(&mut self, work: Work) {
        self.ended = true;
        self.held.work.becomes(work);
    }

    /// Records a result. Heartbeats are sent until the store has answered.
    pub(super) async fn complete<T, E>(
        mut self,
        value: Result<T, E>,
        Ended { recorded, not_stored }: Ended,
    ) -> Outcome<T, E> {
        self.mark_ended(Work::Result);
        let (core, address, grant) = (&self.held.core, self.held.address(), self.held.grant());
        let retry_timeout = self.held.confirm_within.min(self.held.report_for());
        let mut op = Complete { grant, result: recorded };
        let mut not_stored = not_stored;
        let mut reply = core.complete(address, &op, retry_timeout, &self.held.work).await;
        if let Err(error) = &reply
            && error.kind() == ErrorKind::InvalidRequest
            && !op.result.omitted
        {
            // The store refuses these bytes. The result is recorded without them.
            not_stored = Some(NotStored::Refused(error.clone()));
            op.result = RecordedResult { payload: Payload::empty(), omitted: true, ..op.result };
            reply = core.complete(address, &op, retry_timeout, &self.held.work).await;
        }
        match reply {
            Ok(CompleteReply::Recorded { .. }) => match (value, not_stored) {
                (Ok(value), None) => Outcome::Completed(value),
                (Ok(value), Some(why)) => Outcome::CompletedNotStored(value, why),
                (Err(error), _) => Outcome::Failed(Failure::ForGood(error)),
            },
            Ok(CompleteReply::Superseded(current)) => Outcome::Superseded(value, current),
            Ok(CompleteReply::Conflict) => {
                Outcome::Superseded(value, Current { state: State::Completed, token: grant.token })
            }
            Ok(CompleteReply::NotBegun) => {
                Outcome::Superseded(value, Current { state: State::Claimed, token: grant.token })
            }
            Err(error) => {
                self.goes_on(error, Report::Complete(op));
                Outcome::Unconfirmed(value)
            }
        }
    }

    /// Releases the key: the worker vouches that nothing happened.
    pub(super) async fn release<T, E>(mut self, error: E) -> Outcome<T, E> {
        self.mark_ended(Work::Release);
        let HeldGrant { core, retry_timeout, .. } = &self.held;
        let op = Release { grant: self.held.grant(), vouched: true };
        let retry_timeout = (*retry_timeout).min(self.held.report_for());
        if let Err(unanswered) = core.release(self.held.address(), &op, retry_timeout, &self.held.work).await
        {
            self.goes_on(unanswered, Report::Release(op));
        }
        Outcome::Failed(Failure::NothingHappened(error))
    }

    /// Marks the execution as uncertain now, instead of when its lease lapses: its outcome is unknown.
    pub(super) async fn abandon<T, E>(mut self, cause: Label, error: Option<E>) -> Outcome<T, E> {
        self.mark_ended(Work::Abandon);
        self.keep_alive = None;
        let grant = self.held.grant();
        let op = Abandon { grant, cause: cause.clone(), late_effects: self.held.late_effects };
        let held = &self.held;
        let retry_timeout = held.retry_timeout.min(held.report_for());
        if let Err(unanswered) = held.core.abandon(held.address(), &op, retry_timeout, &held.work).await {
            self.goes_on(unanswered, Report::Abandon(op));
        }
        Outcome::RanUncertain(RanUncertain { cause, error, token: grant.token, claim_id: grant.claim_id })
    }

    /// After an error that can pass, repeats the report in the background, with heartbeats, until 10 minutes after the
    /// hard deadline.
    pub(super) fn goes_on(self, error: StoreError, report: Report) {
        let limit = self.held.report_for();
        if !error.can_pass() || limit.is_zero() {
            return self.held.give_up(error);
        }
        let core = self.held.core.clone();
        core.keeper.spawn(async move {
            // The heartbeats stop when this is dropped.
            let started = self;
            let held = &started.held;
            if let Err(error) = held.core.report(held.address(), &report, limit, &held.work).await {
                held.give_up(error);
            }
        });
    }
}

/// The end of a function that started, as it is reported to the store.
pub(super) enum Report {
    Complete(Complete),
    Release(Release),
    Abandon(Abandon),
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.ended {
            let core = self.held.core.clone();
            let (again, address, limit) = (core.clone(), self.held.address().clone(), self.held.report_for());
            let work = core.open_work.open(&address, Work::Abandon);
            let cause = Label::lossy("the function's task was dropped before it ended");
            let late_effects = self.held.late_effects;
            let op = Abandon { grant: self.held.grant(), cause, late_effects };
            core.keeper.spawn(async move {
                if let Err(error) = again.abandon(&address, &op, limit, &work).await {
                    work.give_up(error);
                }
            });
        }
    }
}

impl Core {
    async fn report(
        &self,
        address: &Address,
        report: &Report,
        limit: Duration,
        work: &WorkGuard,
    ) -> Result<(), StoreError> {
        match report {
            Report::Complete(op) => self.complete(address, op, limit, work).await.map(drop),
            Report::Release(op) => self.release(address, op, limit, work).await.map(drop),
            Report::Abandon(op) => self.abandon(address, op, limit, work).await.map(drop),
        }
    }

    async fn complete(
        &self,
        address: &Address,
        op: &Complete,
        retry_timeout: Duration,
        work: &WorkGuard,
    ) -> Result<CompleteReply, StoreError> {
        let send = || self.store.complete(address, op);
        let reply = self.send_until_answered(address, RetryPolicy::Report(work), retry_timeout, send).await;
        self.watchers.wake(address);
        reply.map(|answered| answered.stamped.reply)
    }

    pub(crate) async fn release(
        &self,
        address: &Address,
        op: &Release,
        retry_timeout: Duration,
        work: &WorkGuard,
    ) -> Result<ReleaseReply, StoreError> {
        let send = || self.store.release(address, op);
        let reply = self.send_until_answered(address, RetryPolicy::Report(work), retry_timeout, send).await;
        self.watchers.wake(address);
        reply.map(|answered| answered.stamped.reply)
    }

    /// Sends an abandon. A run that is not abandoned becomes uncertain when its lease lapses.
    pub(super) async fn abandon(
        &self,
        address: &Address,
        op: &Abandon,
        retry_timeout: Duration,
        work: &WorkGuard,
    ) -> Result<AbandonReply, StoreError> {
        let send = || self.store.abandon(address, op);
        let reply = self.send_until_answered(address, RetryPolicy::Report(work), retry_timeout, send).await;
        self.watchers.wake(address);
        reply.map(|answered| answered.stamped.reply)
    }
}

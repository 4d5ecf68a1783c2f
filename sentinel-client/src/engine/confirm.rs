//! Confirms a result that the function recorded itself, in a transaction of its own: the record decides whether it was.

use sentinel_core::operation::{Abandon, AbandonReply};
use sentinel_core::{Label, RecordedResult, State};

use super::super::open_work::Work;
use super::super::outcome::{Outcome, RanUncertain};
use super::finish::{Report, Started};

impl Started {
    pub(super) fn recorded_itself(&self) -> bool {
        self.held.run.has_recorded_itself()
    }

    /// Checks in the record whether the function's transaction was committed. The check is an abandon: it is refused if
    /// the execution is completed, waits for a transaction that is still open, and otherwise records the doubt.
    pub(super) async fn confirm<T, E>(mut self, value: T, result: RecordedResult) -> Outcome<T, E> {
        self.mark_ended(Work::Result);
        let grant = self.held.grant();
        let cause = Label::lossy("the transaction that was to record the result was not committed");
        let op = Abandon { grant, cause, late_effects: self.held.late_effects };
        let retry_timeout = self.held.retry_timeout.min(self.held.report_for());
        let held = &self.held;
        match held.core.abandon(held.address(), &op, retry_timeout, &held.work).await {
            Ok(AbandonReply::Abandoned) => {
                let (cause, token, claim_id) = (op.cause, grant.token, grant.claim_id);
                Outcome::RanUncertain(RanUncertain { cause, error: None, token, claim_id })
            }
            // The execution is completed. A repeated complete shows whether its result is this one, and passes the
            // barrier.
            Ok(AbandonReply::Superseded(current))
                if current.state == State::Completed && current.token == grant.token =>
            {
                self.complete(Ok(value), result.into()).await
            }
            Ok(AbandonReply::Superseded(current)) => Outcome::Superseded(Ok(value), current),
            Err(error) => {
                self.goes_on(error, Report::Abandon(op));
                Outcome::Unconfirmed(Ok(value))
            }
        }
    }
}

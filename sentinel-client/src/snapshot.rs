//! Reads what a caller may know of an execution, without a claim of its own.

use sentinel_core::operation::{Claim, ClaimReply, Phase};
use sentinel_core::{Accepts, Address, ErrorKind, Label, Record, State, StoreError, Terms};

use std::sync::Arc;
use std::time::Duration;

use super::retry::RetryPolicy;
use super::shared::{Core, store_broke};
use super::waited::{CompletedExecution, Waited};

/// How often a record is read that changes between two requests.
const MAX_READS: u32 = 3;

impl Core {
    /// Reads the state of an execution. A result is durable. **Errors:** the store did not answer within `within`, or
    /// could not answer.
    pub(crate) async fn snapshot(
        self: &Arc<Self>,
        address: &Address,
        worker: &Label,
        within: Duration,
    ) -> Result<Waited, StoreError> {
        let read = tokio::time::timeout(within, self.read_until_it_agrees(address, worker, within)).await;
        let late = |_| StoreError::ambiguous(ErrorKind::LostReply, format!("no reply within {within:?}"));
        read.map_err(late).flatten().map_err(StoreError::of_a_read)
    }

    async fn read_until_it_agrees(
        self: &Arc<Self>,
        address: &Address,
        worker: &Label,
        within: Duration,
    ) -> Result<Waited, StoreError> {
        for _ in 0..MAX_READS {
            let found = self.store.inspect(address).await?;
            match found.record {
                None => return Ok(Waited::Absent),
                Some(record) if record.state != State::Completed || record.is_past_retention(found.now) => {
                    return Ok(Waited::without_result(record, found.now));
                }
                Some(record) => {
                    if let Some(completed) = self.durable(address, record, worker, within).await? {
                        return Ok(Waited::Completed(completed));
                    }
                }
            }
        }
        let changing = "the record changed between each two requests";
        Err(StoreError::ambiguous(ErrorKind::Busy, changing.to_owned()))
    }

    /// The result of a completed record once it is durable. None: the record has changed since it was read.
    ///
    /// A read may return a commit that a failover can still undo; a replayed result may not (the store's barrier). So
    /// the result comes from a claim, under the claim id *of the run that completed*. Its answer is the result, behind
    /// the barrier. It is not granted as a claim of a new call would be, even if the record changes meanwhile: a record
    /// that knows the claim id refuses it. See `docs/decisions/waiting-without-claiming.md`.
    async fn durable(
        self: &Arc<Self>,
        address: &Address,
        record: Record,
        worker: &Label,
        within: Duration,
    ) -> Result<Option<CompletedExecution>, StoreError> {
        let Some(claim_id) = record.claim_id.or_else(|| record.past_claims.iter().next()) else {
            return Err(store_broke("it has a completed record that was never claimed"));
        };
        let claim = Claim {
            claim_id,
            terms: Terms::new(Terms::MIN, Terms::MIN).unwrap_or_else(|_| unreachable!("valid terms")),
            retention: None,
            fingerprint: None,
            accepts: Accepts::any(),
            worker: worker.clone(),
            phase: Phase::Claimed,
            cause: None,
            about: None,
        };
        let send = || self.store.claim(address, &claim);
        let answered = self.send_until_answered(address, RetryPolicy::Ambiguous, within, send).await?;
        let stamp = answered.stamped.stamp;
        match answered.stamped.reply {
            ClaimReply::Completed { result, .. } if stamp.rev == record.rev => {
                Ok(Some(CompletedExecution { result, fingerprint: record.fingerprint, token: stamp.token }))
            }
            // The record was purged, or lost, since it was read. No function runs under this claim.
            ClaimReply::Granted(_) if stamp.changed => {
                self.cancel_in_background(address, claim_id, within);
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

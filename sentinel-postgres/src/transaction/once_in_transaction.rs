//! Exactly once: claim, effect and completion in a transaction of the user's, who alone commits it.
//!
//! All that is done here is done under a savepoint (`savepoint.rs`), and handed out after a commit that was checked
//! (`commit.rs`).

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_client::{
    Error, InProgress, Json, ReconcilingBy, RecordedFailure, Uncertain, decode_result, encode_result,
};
use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Address, ClaimId, ErrorKind, Fingerprint, Grant, Invalid, Label, Payload, Recorded, State,
    StoreError, Terms, Token, Verdict,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, Postgres, Transaction};

use super::commit::{Completed, Pending};
use super::savepoint::{Savepoint, ended};
use crate::coordination::operations::{Coordination, MAX_ATTEMPTS};

/// How long the claim inside a transaction holds. Nobody else sees it before the commit, and then it is completed: it
/// matters only if a call is dropped midway and its transaction is committed all the same. The key is uncertain then.
const TTL: Duration = Duration::from_secs(30);

/// The answer to a call of [`PostgresStore::once_in_transaction`](crate::PostgresStore::once_in_transaction).
/// Exhaustive, so that a caller cannot take *in progress* or *uncertain* for "no value".
#[must_use = "what is pending is not done before you commit, and a call that did not run is told here only"]
#[derive(Debug)]
pub enum TransactionOutcome<T, E> {
    /// It ran in this transaction, now or in an earlier call. Effect and result become true together when you commit,
    /// by [`Pending::commit`], which hands out the value. If that fails, ask again under the same key: the answer is
    /// `Replayed`, or it runs.
    Pending(Pending<T>),
    /// It ran before; this is the recorded result.
    Replayed(T),
    /// It ran now and failed. All that it wrote is undone, nothing is recorded, and the transaction goes on without it.
    Undone(E),
    /// It failed for good before; this is the recorded failure.
    Failed(RecordedFailure),
    /// Someone else is at it, be it in a transaction that is still open. This call did not run.
    InProgress(InProgress),
    /// Someone began it, outside of a transaction, and vanished. This call did not run; reconcile.
    Uncertain(Uncertain),
    /// An operator is settling a doubt. This call did not run.
    Reconciling(ReconcilingBy),
}

/// A call that is being put together; nothing is sent before [`run`](Self::run).
#[must_use = "nothing happens before `run`"]
#[derive(Debug)]
pub struct OnceInTransaction<'a, 'c> {
    coordination: &'a Coordination,
    transaction: &'a mut Transaction<'c, Postgres>,
    address: &'a Address,
    retention: Option<Duration>,
    fingerprint: Option<Result<Fingerprint, Invalid>>,
    worker: Option<Result<Label, Invalid>>,
    lock_timeout: Duration,
    limit: usize,
}

impl<'a, 'c> OnceInTransaction<'a, 'c> {
    pub(crate) fn new(
        coordination: &'a Coordination,
        transaction: &'a mut Transaction<'c, Postgres>,
        address: &'a Address,
    ) -> Self {
        Self {
            coordination,
            transaction,
            address,
            retention: None,
            fingerprint: None,
            worker: None,
            lock_timeout: coordination.context.lock_timeout,
            limit: Payload::DEFAULT_LIMIT,
        }
    }
}

impl OnceInTransaction<'_, '_> {
    /// How long the result is kept after completion; for ever if it is not set.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// What the request is about, as the SHA-256 of its JSON: the same key with another fingerprint is an error.
    pub fn fingerprint(mut self, request: &impl Serialize) -> Self {
        self.fingerprint = Some(Fingerprint::of_json(request));
        self
    }

    /// What the request is about, as a text of your own.
    pub fn fingerprint_text(mut self, text: impl AsRef<str>) -> Self {
        self.fingerprint = Some(Fingerprint::new(text));
        self
    }

    /// The label that the record shows for this worker; the number of the process if it is not set.
    pub fn worker(mut self, label: impl AsRef<str>) -> Self {
        self.worker = Some(Label::new(label));
        self
    }

    /// How long the claim waits for another transaction that holds the key, instead of the store's lock timeout.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// The most bytes of a result that are stored (1 MiB). A larger one still completes, marked as not stored.
    pub fn payload_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Runs the function, if this call is the one that runs.
    ///
    /// The function writes through the connection that it is handed, and nowhere else: only what is in the transaction
    /// is done exactly once. Results are JSON, as those of the client.
    ///
    /// **Errors:** nothing of this call is left in the transaction, or its connection is gone and the server rolls it
    /// back. One error alone is ambiguous: the function ended the transaction (`COMMIT` or `ROLLBACK` as SQL), which it
    /// must not. `Busy` under repeatable read or serializable: run the whole transaction again. **If the caller goes
    /// away**, or a `timeout` drops this call midway, roll the transaction back: committed as it is, the key would be
    /// uncertain. **A panic** of the function is undone as its error is, and goes on.
    pub async fn run<T, E, F>(self, function: F) -> Result<TransactionOutcome<T, E>, Error>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    {
        let claim = self.claim()?;
        claim.admit(self.address.kind)?;
        let mut savepoint =
            Savepoint::enter(self.transaction, &self.coordination.context, self.lock_timeout).await?;
        let grant = match claim_in_transaction(self.coordination, &mut savepoint, self.address, &claim).await
        {
            Ok(Entry::Replied(ClaimReply::Granted(granted))) => {
                Grant { token: granted.token, claim_id: claim.claim_id }
            }
            Ok(Entry::Replied(refused)) => {
                savepoint.undo().await?;
                return refusal(refused);
            }
            Ok(Entry::CompletedHere(recorded, token)) => {
                savepoint.undo().await?;
                let value = decode_result(&Json, recorded)?;
                return Ok(TransactionOutcome::Pending(pending(
                    self.coordination,
                    value,
                    self.address,
                    token,
                )));
            }
            Err(error) => return Err(savepoint.give_up(error).await.into()),
        };
        if let Err(error) = savepoint.restore().await {
            return Err(savepoint.give_up(error).await.into());
        }
        let value = match AssertUnwindSafe(function(&mut *savepoint.connection)).catch_unwind().await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                savepoint.undo().await?;
                return Ok(TransactionOutcome::Undone(error));
            }
            Err(panic) => {
                // What cannot be undone has lost its connection, and is rolled back with it.
                drop(savepoint.undo().await);
                resume_unwind(panic)
            }
        };
        let result = encode_result(&Json, &value, self.limit);
        let completed = savepoint.complete(self.address, &Complete { grant, result }).await;
        let error = match completed {
            Ok(CompleteReply::Recorded { .. }) => match savepoint.keep().await {
                Ok(()) => {
                    let pending = pending(self.coordination, value, self.address, grant.token);
                    return Ok(TransactionOutcome::Pending(pending));
                }
                Err(error) => error,
            },
            // The claim is not there any more, though no other session can have seen it.
            Ok(_) => ended(),
            Err(error) => error,
        };
        Err(savepoint.give_up(error).await.into())
    }

    fn claim(&self) -> Result<Claim, Invalid> {
        if self.lock_timeout.is_zero() || self.lock_timeout > Duration::from_secs(60) {
            return Err(Invalid::new("lock timeout", "must be above zero and at most a minute"));
        }
        let pid = || Ok(Label::lossy(format!("pid {}", std::process::id())));
        Ok(Claim {
            claim_id: ClaimId::random(),
            terms: Terms::new(TTL, TTL)?,
            retention: self.retention,
            fingerprint: self.fingerprint.clone().transpose()?,
            worker: self.worker.clone().unwrap_or_else(pid)?,
            phase: Phase::Executing,
            accepts: Accepts::json(),
        })
    }
}

/// What a claim found.
enum Entry {
    /// The reply that any other caller would get.
    Replied(ClaimReply),
    /// It was completed earlier in this very transaction, under this token.
    CompletedHere(Recorded, Token),
}

/// Claims. What was completed is replayed only once it is as durable as the deployment promises: the store reads it on
/// a connection of its own, since a transaction passes no barrier before it commits. What that connection does not see
/// was completed in this transaction.
async fn claim_in_transaction(
    coordination: &Coordination,
    savepoint: &mut Savepoint<'_>,
    address: &Address,
    claim: &Claim,
) -> Result<Entry, StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        if let Some(Stamped { reply, .. }) = savepoint.claim_absent(address, claim).await? {
            return Ok(Entry::Replied(reply));
        }
        let Some(Stamped { reply, stamp }) = savepoint.take_over(address, claim).await? else { continue };
        let ClaimReply::Completed { result, .. } = reply else { return Ok(Entry::Replied(reply)) };
        let record = coordination.read(address, true).await?.record;
        let is_committed =
            record.is_some_and(|record| record.state == State::Completed && record.token == stamp.token);
        return Ok(match is_committed || result.verdict == Verdict::Failure {
            true => Entry::Replied(ClaimReply::Completed { result, remaining: None }),
            false => Entry::CompletedHere(result, stamp.token),
        });
    }
    let detail = "the record came and went each time it was looked at";
    Err(StoreError::not_applied(ErrorKind::Busy, detail))
}

fn pending<T>(coordination: &Coordination, value: T, address: &Address, token: Token) -> Pending<T> {
    let records = coordination.context.sql.names().qualified("records");
    Pending::new(value, Completed { records, address: address.clone(), token })
}

fn refusal<T: Serialize + DeserializeOwned, E>(reply: ClaimReply) -> Result<TransactionOutcome<T, E>, Error> {
    Ok(match reply {
        ClaimReply::Completed { result: recorded, .. } if recorded.verdict == Verdict::Failure => {
            TransactionOutcome::Failed(RecordedFailure { recorded })
        }
        ClaimReply::Completed { result: recorded, .. } => {
            TransactionOutcome::Replayed(decode_result(&Json, recorded)?)
        }
        ClaimReply::InProgress { state, remaining } => {
            TransactionOutcome::InProgress(InProgress { state, remaining })
        }
        ClaimReply::Uncertain { token, begun_at, worker } => {
            TransactionOutcome::Uncertain(Uncertain { token, begun_at, worker })
        }
        ClaimReply::Reconciling { since, operator } => {
            TransactionOutcome::Reconciling(ReconcilingBy { operator, since })
        }
        ClaimReply::FingerprintMismatch => return Err(Error::FingerprintMismatch),
        ClaimReply::Granted(_) | ClaimReply::AlreadyReleased => {
            let detail = format!("a new claim was answered as a known one: {reply:?}");
            return Err(StoreError::not_applied(ErrorKind::BrokenStore, detail).into());
        }
    })
}

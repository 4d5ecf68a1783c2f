//! Exactly once: claim, effect and completion in a transaction of the user's, who alone commits it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_client::signals::report_result_not_stored;
use sentinel_client::{
    Error, InProgress, Json, Policy, Reconciling, ReplayedFailure, RequestedExecution, Uncertain,
    decode_result, encode_checked, inherited_from, with_inherited_cause,
};
use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::{Claim, ClaimReply, Phase};
use sentinel_core::{Accepts, Address, ErrorKind, Invalid, Label, StoreError, Terms, Verdict};
use sentinel_postgres::{ClaimInTransaction, Pending, PostgresStore, check_lock_timeout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, Postgres, Transaction};

/// The ttl of the claim inside a transaction. No other session sees it before the commit, and then it is completed: it
/// matters only if a call is dropped midway and its transaction is committed all the same. The key is uncertain then.
const TTL: Duration = Duration::from_secs(30);

/// The answer to a call of [`PostgresExt::once_in_transaction`](super::PostgresExt::once_in_transaction).
/// Exhaustive, so that a caller cannot take *in progress* or *uncertain* for "no value".
#[must_use = "what is pending is not done before you commit, and only this value reports a call that did not run"]
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
    Failed(ReplayedFailure),
    /// Another call has a live claim or run, or holds the key in a transaction that is still open. This call did not
    /// run.
    InProgress(InProgress),
    /// Another call began outside of a transaction, and its outcome is unknown. This call did not run; reconcile the
    /// key.
    Uncertain(Uncertain),
    /// An operator is deciding about the key. This call did not run.
    Reconciling(Reconciling),
}

/// A request to run a function at most once in a transaction of yours. Nothing is sent before [`run`](Self::run).
#[must_use = "nothing happens before `run`"]
#[derive(Debug)]
pub struct OnceInTransaction<'a, 'c> {
    store: Result<&'a PostgresStore, StoreError>,
    transaction: &'a mut Transaction<'c, Postgres>,
    address: Result<Address, Invalid>,
    default_worker: Label,
    execution: RequestedExecution,
    lock_timeout: Option<Duration>,
}

impl<'a, 'c> OnceInTransaction<'a, 'c> {
    pub(super) fn new(
        store: Result<&'a PostgresStore, StoreError>,
        transaction: &'a mut Transaction<'c, Postgres>,
        address: Result<Address, Invalid>,
        default_worker: Label,
    ) -> Self {
        let execution = RequestedExecution::DEFAULT;
        Self { store, transaction, address, default_worker, execution, lock_timeout: None }
    }
}

impl OnceInTransaction<'_, '_> {
    sentinel_client::__execution_settings!();

    /// Applies the retention and the payload limit of a policy to this call. The rest of a policy is about runs outside
    /// of a transaction. The policy of the client applies already. A method that is called afterwards wins.
    pub fn policy(mut self, policy: Policy) -> Self {
        policy.apply_to_execution(&mut self.execution);
        self
    }

    /// How long the claim waits for another transaction that holds the key, instead of the store's lock timeout.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = Some(timeout);
        self
    }

    /// Runs the function, if this call is the one that runs.
    ///
    /// The function writes through the connection that it receives, and nowhere else: only what is in the transaction
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
        let Self { store, transaction, address, default_worker, execution, lock_timeout } = self;
        let (store, address, limit) = (store?, address?, execution.payload_limit);
        let claim = claim(execution, &address, default_worker, lock_timeout)?;
        let mut granted = match store.claim_in(transaction, &address, &claim, lock_timeout).await? {
            ClaimInTransaction::Granted(granted) => granted,
            ClaimInTransaction::CompletedHere(pending) => {
                let value = decode_result(&Json, pending.provisional().clone())?;
                return Ok(TransactionOutcome::Pending(pending.map(|_| value)));
            }
            ClaimInTransaction::Refused(reply) => return refusal(reply),
        };
        let inherited = inherited_from(claim.cause.as_ref(), &address, granted.grant().token);
        let ran = with_inherited_cause(inherited, function(granted.connection()));
        let value = match AssertUnwindSafe(ran).catch_unwind().await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                granted.undo().await?;
                return Ok(TransactionOutcome::Undone(error));
            }
            Err(panic) => {
                // What cannot be undone has lost its connection, and is rolled back with it.
                drop(granted.undo().await);
                resume_unwind(panic)
            }
        };
        let (result, not_stored) = encode_checked(&Json, &value, limit);
        let token = granted.grant().token;
        let pending = granted.complete(result).await?;
        if let Some(why) = not_stored {
            report_result_not_stored(&address, token, &why);
        }
        Ok(TransactionOutcome::Pending(pending.map(|()| value)))
    }
}

fn claim(
    execution: RequestedExecution,
    address: &Address,
    default_worker: Label,
    lock_timeout: Option<Duration>,
) -> Result<Claim, Invalid> {
    lock_timeout.map_or(Ok(()), check_lock_timeout)?;
    let claim = execution.claim(Terms::new(TTL, TTL)?, Phase::Executing, Accepts::json(), default_worker)?;
    claim.admit(address.kind)?;
    Ok(claim)
}

fn refusal<T: Serialize + DeserializeOwned, E>(reply: ClaimReply) -> Result<TransactionOutcome<T, E>, Error> {
    Ok(match reply {
        ClaimReply::Completed { result: recorded, .. } if recorded.verdict == Verdict::Failure => {
            TransactionOutcome::Failed(ReplayedFailure { recorded, error: None })
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
            TransactionOutcome::Reconciling(Reconciling { operator, since })
        }
        ClaimReply::FingerprintMismatch => return Err(Error::FingerprintMismatch),
        ClaimReply::Granted(_) | ClaimReply::AlreadyReleased => {
            let detail = format!("a new claim was answered as a known one: {reply:?}");
            return Err(StoreError::not_applied(ErrorKind::BrokenStore, detail).into());
        }
    })
}

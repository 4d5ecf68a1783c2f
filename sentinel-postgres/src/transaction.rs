//! Exactly once: claim, effect and completion in a transaction of the user's, who alone commits it.
//!
//! All that is done here stands under a savepoint, so that a refusal, an error and a panic leave no trace in the
//! transaction, and it goes on. The savepoint is our own and not one of sqlx (`Transaction::begin` within a
//! transaction): that one, dropped or broken while it is being made, rolls back the whole transaction, and the user's
//! later `commit` answers Ok.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_core::client::{
    Error, InProgress, Json, ReconcilingBy, RecordedFailure, Uncertain, decode_result, encode_result,
};
use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, Fingerprint, Grant, Invalid, Label, Payload, Recorded, State, StoreError, Terms,
    Trouble, Verdict,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};
use tokio::time::timeout;

use crate::builder::Parts;
use crate::error::Failure;
use crate::link::Query;
use crate::store::PostgresStore;
use crate::transition::{self, Unanswered};

/// How long the claim inside a transaction holds. Nobody else sees it before the commit, and then it is completed: it
/// matters only if a call is dropped midway and its transaction is committed all the same. The key is uncertain then.
const TTL: Duration = Duration::from_secs(30);

/// How often a claim looks again that keeps meeting another state than it saw.
const LOOKS: usize = 100;

/// The answer to a call of [`PostgresStore::once_in_transaction`]. Exhaustive, so that nobody can take *in progress* or
/// *uncertain* for "no value".
#[must_use = "what is pending is not done before you commit, and a call that did not run is told here only"]
#[derive(Debug)]
pub enum TransactionOutcome<T, E> {
    /// It ran now. Effect and result become true together when you commit, and not before: tell nobody earlier. If
    /// `commit` fails, ask again under the same key: the answer is `Replayed`, or it runs.
    Pending(T),
    /// It ran before; this is the recorded result. (Or earlier in this very transaction: then it is pending.)
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
    store: &'a PostgresStore,
    transaction: &'a mut Transaction<'c, Postgres>,
    address: &'a Address,
    retention: Option<Duration>,
    fingerprint: Option<Result<Fingerprint, Invalid>>,
    worker: Option<Result<Label, Invalid>>,
    lock_timeout: Duration,
    limit: usize,
}

impl PostgresStore {
    /// Runs a function at most once for the address of an execution, inside a transaction of yours in the database of
    /// this store: claim, what the function writes, and completion commit together or not at all. There is no
    /// uncertain window.
    ///
    /// **Your transaction** is never committed, rolled back or left open here. The lock timeout that the claim runs
    /// under is put back; `synchronous_commit = off` is raised to `on` for this transaction if it holds a completion.
    /// **While it is open**, whoever else asks for the key is told *in progress* after a lock timeout. Two transactions
    /// that each take several keys take them in one order, or PostgreSQL ends one of them.
    /// **Grants:** those of the store, for the role of your transaction.
    pub fn once_in_transaction<'a, 'c>(
        &'a self,
        transaction: &'a mut Transaction<'c, Postgres>,
        address: &'a Address,
    ) -> OnceInTransaction<'a, 'c> {
        OnceInTransaction {
            store: self,
            transaction,
            address,
            retention: None,
            fingerprint: None,
            worker: None,
            lock_timeout: self.parts().lock_timeout,
            limit: Payload::DEFAULT_LIMIT,
        }
    }

    /// Completes, in a transaction of yours, an execution that began outside of it (in the function of `once`): what
    /// you wrote and the result commit together. The client's own completion afterwards, with the same bytes, is a
    /// repetition. Make them with [`encode_result`](sentinel_core::client::encode_result), as the client does.
    ///
    /// **Effect:** none before you commit; the record's row is locked until then, and heartbeats pass it over.
    /// **Refusals** change nothing and leave no trace in the transaction: roll it back unless the reply is `Recorded`.
    /// **Errors:** nothing was changed, and the transaction goes on if its connection does.
    pub async fn complete_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        address: &Address,
        grant: Grant,
        result: &Recorded,
    ) -> Result<CompleteReply, StoreError> {
        let op = Complete { grant, result: result.clone() };
        op.admit(address.kind)?;
        let mut within = Within::enter(transaction, self.parts(), self.parts().lock_timeout).await?;
        let done = match within.complete(address, &op).await {
            Ok(CompleteReply::Recorded { late }) => match within.restore().await {
                Ok(()) => within.keep().await.map(|()| CompleteReply::Recorded { late }),
                Err(error) => Err(error),
            },
            Ok(refused) => return within.undo().await.map(|()| refused),
            Err(error) => Err(error),
        };
        match done {
            Ok(reply) => Ok(reply),
            Err(error) => Err(within.give_up(error).await),
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
    /// is done exactly once. It must not end the transaction. Results are JSON, as those of the client.
    ///
    /// **Errors:** nothing of this call is left in the transaction, or its connection is gone and the server rolls it
    /// back. `Busy` under repeatable read or serializable: run the whole transaction again. **If the caller goes
    /// away**, or a `timeout` drops this call midway, roll the transaction back: committed as it is, the key would be
    /// uncertain. **A panic** of the function is undone as its error is, and goes on.
    pub async fn run<T, E, F>(self, function: F) -> Result<TransactionOutcome<T, E>, Error>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    {
        let claim = self.claim()?;
        claim.admit(self.address.kind)?;
        let mut within = Within::enter(self.transaction, self.store.parts(), self.lock_timeout).await?;
        let grant = match get_in(self.store, &mut within, self.address, &claim).await {
            Ok(ClaimReply::Granted(granted)) => Grant { token: granted.token, claim_id: claim.claim_id },
            Ok(refused) => {
                within.undo().await?;
                return refusal(refused);
            }
            Err(error) => return Err(within.give_up(error).await.into()),
        };
        if let Err(error) = within.restore().await {
            return Err(within.give_up(error).await.into());
        }
        let value = match AssertUnwindSafe(function(&mut *within.connection)).catch_unwind().await {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                within.undo().await?;
                return Ok(TransactionOutcome::Undone(error));
            }
            Err(panic) => {
                // What cannot be undone has lost its connection, and is rolled back with it.
                drop(within.undo().await);
                resume_unwind(panic)
            }
        };
        let result = encode_result(&Json, &value, self.limit);
        let told = within.complete(self.address, &Complete { grant, result }).await;
        let error = match told {
            Ok(CompleteReply::Recorded { .. }) => match within.keep().await {
                Ok(()) => return Ok(TransactionOutcome::Pending(value)),
                Err(error) => error,
            },
            Ok(reply) => {
                let detail = format!("the claim was lost inside its own transaction: {reply:?}");
                StoreError::not_applied(Trouble::BrokenStore, detail)
            }
            Err(error) => error,
        };
        Err(within.give_up(error).await.into())
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
            accepts: sentinel_core::Accepts::any(),
        })
    }
}

/// Claims. What was completed is told only once it is as durable as the deployment promises: the store looks at it on a
/// connection of its own, since a transaction passes no barrier before it commits.
async fn get_in(
    store: &PostgresStore,
    within: &mut Within<'_>,
    address: &Address,
    claim: &Claim,
) -> Result<ClaimReply, StoreError> {
    for _ in 0..LOOKS {
        if let Some(reply) = within.claim_absent(address, claim).await? {
            return Ok(reply);
        }
        if let Some(reply) = within.take_over(address, claim).await? {
            if matches!(reply, ClaimReply::Completed { .. }) {
                store.look(address, true).await?;
            }
            return Ok(reply);
        }
    }
    let detail = "the record came and went each time it was looked at";
    Err(StoreError::not_applied(Trouble::Busy, detail))
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
            return Err(StoreError::not_applied(Trouble::BrokenStore, detail).into());
        }
    })
}

/// The part of a user's transaction that is ours: under a savepoint, which whoever enters keeps or undoes.
pub(crate) struct Within<'t> {
    connection: &'t mut PgConnection,
    parts: &'t Parts,
    /// The lock timeout of the transaction.
    lock_timeout: String,
}

impl<'t> Within<'t> {
    /// Sets the savepoint, and settings that an undoing takes back. Those who keep it restore the lock timeout.
    async fn enter(
        connection: &'t mut PgConnection,
        parts: &'t Parts,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let sql = format!(
            "SAVEPOINT sentinel; \
             WITH old AS MATERIALIZED (SELECT current_setting('lock_timeout') AS lock_timeout) \
             SELECT old.lock_timeout, set_config('lock_timeout', '{}', true), \
                 CASE WHEN current_setting('synchronous_commit') = 'off' \
                     THEN set_config('synchronous_commit', 'on', true) END FROM old",
            patience.as_millis().max(1)
        );
        let mut within = Self { connection, parts, lock_timeout: String::new() };
        let rows = within.command(sql).await.map_err(told)?;
        let old = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get(0));
        within.lock_timeout = old.map_err(|error| told(Failure::of(error)))?;
        Ok(within)
    }

    /// By the simple protocol: no statement is prepared, and one message takes several commands.
    async fn command(&mut self, sql: String) -> Result<Vec<PgRow>, Failure> {
        let exchange = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *self.connection);
        in_time(self.parts.deadline(), exchange).await
    }

    /// Unprepared: a pooler may stand behind the connection, and in its next transaction meet another session.
    async fn fetch(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, Failure> {
        in_time(self.parts.deadline(), query.persistent(false).fetch_all(&mut *self.connection)).await
    }

    fn offset(&self) -> i64 {
        self.parts.offset.load(Ordering::Relaxed)
    }

    async fn claim_absent(
        &mut self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<ClaimReply>, StoreError> {
        let query = transition::absent_query(&self.parts.sql, self.offset(), address, claim);
        let told = self.fetch(query).await.map_err(Unanswered::from);
        claimed(told.and_then(|rows| transition::explain_absent(claim, &rows)))
    }

    async fn take_over(
        &mut self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<ClaimReply>, StoreError> {
        let query = transition::query(&self.parts.sql, self.offset(), address, claim);
        let told = self.fetch(query).await.map_err(Unanswered::from);
        claimed(told.and_then(|rows| transition::explain(address.kind, claim, &rows)))
    }

    async fn complete(&mut self, address: &Address, op: &Complete) -> Result<CompleteReply, StoreError> {
        let query = transition::query(&self.parts.sql, self.offset(), address, op);
        let rows = self.fetch(query).await.map_err(told)?;
        let stamped = transition::explain(address.kind, op, &rows).map_err(unanswered)?;
        let made = || StoreError::not_applied(Trouble::BrokenStore, "a completion made a record");
        stamped.map(|stamped| stamped.reply).ok_or_else(made)
    }

    /// Puts the transaction's own lock timeout back.
    async fn restore(&mut self) -> Result<(), StoreError> {
        let old = self.lock_timeout.clone();
        let query = sqlx::query("SELECT set_config('lock_timeout', $1, true)").bind(old);
        self.fetch(query).await.map(drop).map_err(told)
    }

    /// What was done stays in the transaction.
    async fn keep(&mut self) -> Result<(), StoreError> {
        self.command("RELEASE SAVEPOINT sentinel".into()).await.map(drop).map_err(told)
    }

    /// Nothing was done, and no setting was changed.
    async fn undo(&mut self) -> Result<(), StoreError> {
        let both = "ROLLBACK TO SAVEPOINT sentinel; RELEASE SAVEPOINT sentinel";
        self.command(both.into()).await.map(drop).map_err(told)
    }

    /// Undoes, and tells the error that made it necessary.
    async fn give_up(&mut self, error: StoreError) -> StoreError {
        if let Err(second) = self.undo().await {
            tracing::debug!(%second, "a part of a transaction could not be undone; its connection is gone");
        }
        error
    }
}

impl Parts {
    fn deadline(&self) -> Duration {
        self.dialer.deadline
    }
}

async fn in_time(
    deadline: Duration,
    exchange: impl Future<Output = Result<Vec<PgRow>, sqlx::Error>>,
) -> Result<Vec<PgRow>, Failure> {
    match timeout(deadline, exchange).await {
        Ok(done) => done.map_err(Failure::of),
        Err(_) => Err(Failure::timed_out(deadline)),
    }
}

/// A claim that met a lock met a transaction that is not decided yet.
fn claimed(told: Result<Option<Stamped<ClaimReply>>, Unanswered>) -> Result<Option<ClaimReply>, StoreError> {
    match told {
        Ok(stamped) => Ok(stamped.map(|stamped| stamped.reply)),
        Err(error) if error.is_lock_timeout() => {
            Ok(Some(ClaimReply::InProgress { state: State::Executing, remaining: Duration::ZERO }))
        }
        Err(error) => Err(unanswered(error)),
    }
}

fn unanswered(error: Unanswered) -> StoreError {
    match error {
        Unanswered::Failed(failure) => told(failure),
        Unanswered::Error(error) => not_applied(error),
    }
}

/// An error inside a transaction: nothing is durable before its commit, so nothing was changed, whatever it was.
pub(crate) fn told(failure: Failure) -> StoreError {
    let hint = match &failure {
        failure if failure.is_conflict() => "roll your transaction back, and run all of it again",
        Failure::RolledBack(error) if error.code() == "25P02" => {
            let detail =
                "your transaction had failed before, and takes no more: a statement's error was passed over";
            return StoreError::not_applied(Trouble::InvalidRequest, detail);
        }
        Failure::Lost(_) => "your transaction is lost with its connection, and is rolled back",
        _ => return not_applied(failure.into()),
    };
    let error = StoreError::from(failure);
    StoreError::not_applied(error.trouble(), format!("{}; {hint}", cause(&error))).caused_by(error)
}

fn not_applied(error: StoreError) -> StoreError {
    match error.applied() {
        sentinel_core::Applied::No => error,
        sentinel_core::Applied::Ambiguous => {
            StoreError::not_applied(error.trouble(), cause(&error)).caused_by(error)
        }
    }
}

/// What was underneath: the error itself would say that it may have been carried out.
fn cause(error: &StoreError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| "inside your transaction".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Applied, Trouble};

    use super::*;

    #[test]
    fn what_broke_within_a_transaction_has_changed_nothing_and_says_what_it_was() {
        let broken = std::io::Error::other("the cable was cut");
        let lost = StoreError::ambiguous(Trouble::LostReply, "perhaps").caused_by(broken);
        let error = told(Failure::Lost(lost));
        assert_eq!((error.applied(), error.trouble()), (Applied::No, Trouble::LostReply));
        let words = error.to_string();
        assert!(words.contains("the cable was cut; your transaction is lost"), "{words}");
        let words = told(Failure::timed_out(Duration::from_secs(1))).to_string();
        assert!(words.contains("inside your transaction; your transaction is lost"), "{words}");
    }
}

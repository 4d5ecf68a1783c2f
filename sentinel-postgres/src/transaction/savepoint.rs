//! The part of a user's transaction that is ours: under a savepoint, so that a refusal, an error and a panic leave no
//! trace in the transaction, and it goes on.
//!
//! The savepoint is our own and not one of sqlx (`Transaction::begin` within a transaction): that one, dropped or
//! broken while it is being made, rolls back the whole transaction, and the user's later `commit` answers Ok.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, ErrorKind, State, StoreError, StoreTime};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::time::timeout;

use crate::connection::session::Query;
use crate::coordination::context::Context;
use crate::coordination::transition::{self, CallError};
use crate::error::StatementError;

/// The part of a user's transaction that is ours: under a savepoint, which the caller keeps or undoes.
pub(crate) struct Savepoint<'t> {
    pub(crate) connection: &'t mut PgConnection,
    pub(super) context: &'t Context,
    /// The transaction's own settings.
    own: Own,
}

/// Settings of a transaction that are other ones within the savepoint.
#[derive(Debug, Default)]
struct Own {
    lock_timeout: String,
    row_security: String,
}

impl<'t> Savepoint<'t> {
    /// Sets the savepoint, and settings that an undoing takes back. A caller that keeps it restores the lock timeout.
    pub(crate) async fn enter(
        connection: &'t mut PgConnection,
        context: &'t Context,
        lock_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let sql = format!(
            "SAVEPOINT sentinel; \
             WITH old AS MATERIALIZED (SELECT current_setting('lock_timeout') AS lock_timeout, \
                 current_setting('row_security') AS row_security) \
             SELECT old.lock_timeout, old.row_security, set_config('lock_timeout', '{}', true), \
                 set_config('row_security', 'off', true), \
                 CASE WHEN current_setting('synchronous_commit') = 'off' \
                     THEN set_config('synchronous_commit', 'on', true) END FROM old",
            lock_timeout.as_millis().max(1)
        );
        let mut savepoint = Self { connection, context, own: Own::default() };
        let rows = savepoint.command(sql).await.map_err(in_transaction)?;
        let own = |row: &PgRow| Ok(Own { lock_timeout: row.try_get(0)?, row_security: row.try_get(1)? });
        let old = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(own);
        savepoint.own = old.map_err(|error| in_transaction(StatementError::of(error)))?;
        Ok(savepoint)
    }

    /// By the simple protocol: no statement is prepared, and one message takes several commands.
    async fn command(&mut self, sql: String) -> Result<Vec<PgRow>, StatementError> {
        let exchange = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *self.connection);
        in_time(self.context.connector.deadline, exchange).await
    }

    /// Unprepared: a pooler may stand behind the connection, and in its next transaction meet another session.
    async fn fetch(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, StatementError> {
        in_time(self.context.connector.deadline, query.persistent(false).fetch_all(&mut *self.connection))
            .await
    }

    fn offset(&self) -> i64 {
        self.context.offset()
    }

    pub(crate) async fn claim_absent(
        &mut self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let query = transition::absent_query(&self.context.sql, self.offset(), address, claim);
        let rows = self.fetch(query).await.map_err(CallError::from);
        claimed(rows.and_then(|rows| transition::explain_absent(claim, &rows)))
    }

    pub(crate) async fn take_over(
        &mut self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let query = transition::query(&self.context.sql, self.offset(), address, claim);
        let rows = self.fetch(query).await.map_err(CallError::from);
        claimed(rows.and_then(|rows| transition::explain(address.kind, claim, &rows)))
    }

    pub(crate) async fn complete(
        &mut self,
        address: &Address,
        op: &Complete,
    ) -> Result<CompleteReply, StoreError> {
        let query = transition::query(&self.context.sql, self.offset(), address, op);
        let rows = self.fetch(query).await.map_err(in_transaction)?;
        let stamped = transition::explain(address.kind, op, &rows).map_err(to_store_error)?;
        let made = || StoreError::not_applied(ErrorKind::BrokenStore, "a completion made a record");
        stamped.map(|stamped| stamped.reply).ok_or_else(made)
    }

    /// Puts the transaction's own settings back.
    pub(crate) async fn restore(&mut self) -> Result<(), StoreError> {
        let Own { lock_timeout, row_security } = &self.own;
        let (lock_timeout, row_security) = (lock_timeout.clone(), row_security.clone());
        let sql = "SELECT set_config('lock_timeout', $1, true), set_config('row_security', $2, true)";
        let query = sqlx::query(sql).bind(lock_timeout).bind(row_security);
        self.fetch(query).await.map(drop).map_err(in_transaction)
    }

    /// What was done stays in the transaction.
    pub(crate) async fn keep(&mut self) -> Result<(), StoreError> {
        self.command("RELEASE SAVEPOINT sentinel".into()).await.map(drop).map_err(after)
    }

    /// Nothing was done, and no setting was changed.
    pub(crate) async fn undo(&mut self) -> Result<(), StoreError> {
        let both = "ROLLBACK TO SAVEPOINT sentinel; RELEASE SAVEPOINT sentinel";
        self.command(both.into()).await.map(drop).map_err(after)
    }

    /// Undoes, and gives the error that made it necessary. Where the transaction was not there any more to be undone,
    /// that counts instead: something may have been committed.
    pub(crate) async fn give_up(&mut self, error: StoreError) -> StoreError {
        match self.undo().await {
            Ok(()) => error,
            Err(second) if second.applied() == Applied::Ambiguous => second,
            Err(second) => {
                tracing::debug!(%second, "a part of a transaction could not be undone; its connection \
                    is gone");
                error
            }
        }
    }
}

async fn in_time(
    deadline: Duration,
    exchange: impl Future<Output = Result<Vec<PgRow>, sqlx::Error>>,
) -> Result<Vec<PgRow>, StatementError> {
    match timeout(deadline, exchange).await {
        Ok(done) => done.map_err(StatementError::of),
        Err(_) => Err(StatementError::timed_out(deadline)),
    }
}

/// A claim that met a lock: another transaction is not decided yet.
fn claimed(
    reply: Result<Option<Stamped<ClaimReply>>, CallError>,
) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
    match reply {
        Ok(stamped) => Ok(stamped),
        Err(error) if error.is_lock_timeout() => {
            let reply = ClaimReply::InProgress { state: State::Executing, remaining: Duration::ZERO };
            Ok(Some(Stamped { reply, stamp: Stamp::unseen(StoreTime::ZERO) }))
        }
        Err(error) => Err(to_store_error(error)),
    }
}

fn to_store_error(error: CallError) -> StoreError {
    match error {
        CallError::Failed(failure) => in_transaction(failure),
        CallError::Error(error) => not_applied(error),
    }
}

/// The transaction, or our savepoint in it, was ended by the function that ran inside.
pub(crate) fn ended() -> StoreError {
    let detail = "the function ended the transaction itself, by COMMIT or ROLLBACK as SQL. What it wrote may be \
                  committed, with or without the record of this key: compare both, and remove that \
                  statement from the \
                  function";
    StoreError::ambiguous(ErrorKind::InvalidRequest, detail)
}

/// An error after the function ran.
fn after(failure: StatementError) -> StoreError {
    if failure.is_outside() { ended() } else { in_transaction(failure) }
}

/// An error inside a transaction: nothing is durable before its commit, so nothing was changed, whatever it was.
pub(crate) fn in_transaction(failure: StatementError) -> StoreError {
    let hint = match &failure {
        failure if failure.is_conflict() => "roll your transaction back, and run all of it again",
        failure if failure.is_outside() => {
            let detail = "your transaction had been ended before this call, by COMMIT or ROLLBACK as SQL; nothing of \
                          this call was applied";
            return StoreError::not_applied(ErrorKind::InvalidRequest, detail);
        }
        StatementError::RolledBack(error) if error.code() == "25P02" => {
            let detail = "your transaction had failed before and accepts no more statements: the error of an earlier \
                          statement was ignored";
            return StoreError::not_applied(ErrorKind::InvalidRequest, detail);
        }
        StatementError::Lost(_) => "your transaction is lost with its connection, and is rolled back",
        _ => return not_applied(failure.into()),
    };
    let error = StoreError::from(failure);
    StoreError::not_applied(error.kind(), format!("{}; {hint}", cause(&error))).caused_by(error)
}

fn not_applied(error: StoreError) -> StoreError {
    match error.applied() {
        Applied::No => error,
        Applied::Ambiguous => StoreError::not_applied(error.kind(), cause(&error)).caused_by(error),
    }
}

/// The underlying cause: the message of the error itself would claim that it may have been carried out.
fn cause(error: &StoreError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| "inside your transaction".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Applied, ErrorKind};

    use super::*;

    #[test]
    fn an_error_within_a_transaction_changed_nothing_and_names_its_cause() {
        let broken = std::io::Error::other("the cable was cut");
        let lost = StoreError::ambiguous(ErrorKind::LostReply, "perhaps").caused_by(broken);
        let error = in_transaction(StatementError::Lost(lost));
        assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::LostReply));
        let words = error.to_string();
        assert!(words.contains("the cable was cut; your transaction is lost"), "{words}");
        let words = in_transaction(StatementError::timed_out(Duration::from_secs(1))).to_string();
        assert!(words.contains("inside your transaction; your transaction is lost"), "{words}");
    }
}

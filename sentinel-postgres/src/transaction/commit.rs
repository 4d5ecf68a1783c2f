//! The end of a user's transaction: a commit that checks what the server did.
//!
//! The server answers the `COMMIT` of a transaction in which a statement failed with `ROLLBACK`, and sqlx reports that
//! as success. So before `COMMIT` is sent, the transaction has to show that it is open, that no statement in it failed,
//! and that what was completed in it is still there. Nothing comes between that check and the `COMMIT`: the transaction
//! is owned here.

use sentinel_core::{Address, Token};
use sqlx::postgres::PgTransactionManager;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _, Transaction};
use sqlx_core::transaction::TransactionManager as _;

use super::fence::literal;
use crate::connection::notices::NoticeListener;
use crate::error::StatementError;

/// Commits a transaction, and checks that the server committed it. Use it in place of `transaction.commit()`, which
/// answers `Ok` also where the server rolled the transaction back because a statement in it had failed.
///
/// **Effect:** `Ok`: the transaction is committed, and is as durable as its `synchronous_commit` promises. **Errors:**
/// [`CommitError`] reports whether something may have been committed. **Cost:** one round trip more.
pub async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), CommitError> {
    conclude(transaction, &[]).await
}

/// Why a transaction was not committed, or is not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The server rolled the transaction back. Nothing of it was applied.
    #[error(
        "the transaction was rolled back, and nothing of it was applied: {why}; run the whole \
            transaction again"
    )]
    RolledBack {
        /// The reason, in the server's words where there are any.
        why: String,
    },
    /// A statement had ended the transaction (`COMMIT` or `ROLLBACK` as SQL) before this commit. `COMMIT` was not sent.
    #[error(
        "the transaction had been ended before this commit by a statement of its own (COMMIT or ROLLBACK as SQL); what \
         was written before and after that statement may be applied; call again with the same key to find \
         out, and remove the statement"
    )]
    Ended,
    /// What was completed in the transaction is not in it any more. `COMMIT` was not sent, and what was open is rolled
    /// back.
    #[error(
        "a completion in the transaction was undone: the transaction was rolled back to an earlier \
        savepoint, or ended by a statement of its own; the rest was not committed; run the whole \
        transaction again"
    )]
    NotRecorded,
    /// The transaction is a savepoint within another one, and cannot be committed alone. It is rolled back.
    #[error(
        "this is a savepoint within another transaction, which alone can be committed; the savepoint is rolled back; \
         end it with sqlx's `commit`, then commit the outermost transaction"
    )]
    Nested,
    /// `COMMIT` was sent, and its outcome is not known.
    #[error(
        "whether the transaction is committed is not known: {why}; call again with the same key to find out"
    )]
    Unknown {
        /// The outcome of the commit.
        why: String,
    },
}

impl CommitError {
    /// Whether it is proven that nothing of the transaction was applied. Where all of the effect was in the
    /// transaction, that vouches for "nothing happened".
    pub fn nothing_was_applied(&self) -> bool {
        matches!(self, Self::RolledBack { .. })
    }
}

/// A value that becomes true when the transaction in which it came about is committed, and that is handed out only
/// then.
///
/// To commit several of them at once, put them together with [`and`](Self::and) or [`all`](Self::all).
#[must_use = "nothing is durable before `commit`, which alone returns the value"]
#[derive(Debug)]
pub struct Pending<T> {
    value: T,
    completed: Vec<Completed>,
}

/// An execution that was completed in a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Completed {
    /// The table of records, as SQL names it.
    pub(crate) records: String,
    pub(crate) address: Address,
    pub(crate) token: Token,
}

impl<T> Pending<T> {
    pub(crate) fn new(value: T, completed: Completed) -> Self {
        Self { value, completed: vec![completed] }
    }

    /// Commits the transaction, and hands out the value if the server committed it with what was completed in it.
    ///
    /// **Errors:** [`CommitError`] reports whether something may have been committed. After any of them, ask again
    /// under the same key: the answer is `Replayed`, or it runs. **Cost:** one round trip more than
    /// `transaction.commit()`.
    pub async fn commit(self, transaction: Transaction<'_, Postgres>) -> Result<T, CommitError> {
        conclude(transaction, &self.completed).await.map(|()| self.value)
    }

    /// The value before the commit, for what else is written in the same transaction. It is not true yet.
    pub fn provisional(&self) -> &T {
        &self.value
    }

    /// Another value for the same completion: what [`commit`](Self::commit) then hands out.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Pending<U> {
        Pending { value: change(self.value), completed: self.completed }
    }

    /// Two in one: both are committed by one commit.
    pub fn and<U>(self, other: Pending<U>) -> Pending<(T, U)> {
        let completed = self.completed.into_iter().chain(other.completed).collect();
        Pending { value: (self.value, other.value), completed }
    }

    /// Many in one: all are committed by one commit.
    pub fn all(pending: impl IntoIterator<Item = Self>) -> Pending<Vec<T>> {
        let mut all = Pending { value: Vec::new(), completed: Vec::new() };
        for Self { value, completed } in pending {
            all.value.push(value);
            all.completed.extend(completed);
        }
        all
    }
}

async fn conclude(
    mut transaction: Transaction<'_, Postgres>,
    completed: &[Completed],
) -> Result<(), CommitError> {
    match PgTransactionManager::get_transaction_depth(&transaction) {
        0 => return Err(CommitError::Ended),
        1 => {}
        _ => {
            drop(transaction.rollback().await);
            return Err(CommitError::Nested);
        }
    }
    let ready = match check(&mut transaction, completed).await {
        Ok(ready) => ready,
        Err(error) => {
            // There is nothing more to report: the connection is gone, or the transaction is over already.
            drop(transaction.rollback().await);
            return Err(error);
        }
    };
    let (committed, doubt) = match ready.notices {
        None => (transaction.commit().await, None),
        Some(notices) => (notices.over(transaction.commit()).await, notices.doubt()),
    };
    match (committed.map_err(StatementError::of), doubt) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(doubt)) => Err(CommitError::Unknown { why: format!("the server warns: {doubt}") }),
        (Err(StatementError::RolledBack(error)), _) => {
            Err(CommitError::RolledBack { why: error.to_string() })
        }
        (
            Err(StatementError::Lost(error) | StatementError::NotSent(error) | StatementError::Broken(error)),
            _,
        ) => Err(CommitError::Unknown { why: error.to_string() }),
    }
}

/// A transaction that can be committed.
struct Ready {
    /// With a synchronous standby: whether the commit's wait for it is cut short.
    notices: Option<NoticeListener>,
}

/// Checks the transaction. `SAVEPOINT` fails where none is open, and anything fails where a statement failed.
async fn check(connection: &mut PgConnection, completed: &[Completed]) -> Result<Ready, CommitError> {
    let recorded: Vec<_> = completed.iter().map(Completed::is_there).collect();
    let recorded = if recorded.is_empty() { "true".to_owned() } else { recorded.join(" AND ") };
    let sql = format!(
        "SAVEPOINT sentinel; RELEASE SAVEPOINT sentinel; SELECT {recorded}, \
         current_setting('synchronous_standby_names') <> '', current_setting('lc_messages') ~ \
         '^(en|C|POSIX|$)'"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(not_ready)?;
    let row = rows.first().ok_or_else(|| not_ready(sqlx::Error::RowNotFound))?;
    let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    let (recorded, has_standby, has_english_messages): (bool, bool, bool) = read().map_err(not_ready)?;
    if !recorded {
        return Err(CommitError::NotRecorded);
    }
    Ok(Ready { notices: has_standby.then(|| NoticeListener::new(has_english_messages)) })
}

impl Completed {
    fn is_there(&self) -> String {
        let (Self { records, address, .. }, token) = (self, self.token.get());
        format!(
            "EXISTS (SELECT FROM {records} WHERE namespace = {} AND kind = '{}' AND key = {} AND token = {token} \
             AND state = 'completed')",
            literal(address.namespace.as_str()),
            address.kind,
            literal(address.key.as_str()),
        )
    }
}

/// `COMMIT` was not sent: what is open is rolled back, by the server if its connection is gone.
fn not_ready(error: sqlx::Error) -> CommitError {
    match StatementError::of(error) {
        failure if failure.is_outside() => CommitError::Ended,
        StatementError::RolledBack(error) if error.code() == "25P02" => {
            CommitError::RolledBack { why: "a statement in it had failed, and its error was ignored".into() }
        }
        StatementError::RolledBack(error) => CommitError::RolledBack { why: error.to_string() },
        StatementError::Lost(error) | StatementError::NotSent(error) | StatementError::Broken(error) => {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            CommitError::RolledBack { why: format!("its connection is lost: {cause}") }
        }
    }
}

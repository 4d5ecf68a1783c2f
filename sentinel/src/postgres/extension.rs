//! The methods that take a transaction of the user's and a type of the client.

use sentinel_client::{Run, Sentinel, default_worker};
use sentinel_core::operation::CompleteReply;
use sentinel_core::{Address, RecordedResult, StoreError};
use sentinel_postgres::PostgresStore;
use sqlx::{Postgres, Transaction};

use super::once_in_transaction::OnceInTransaction;
use super::store_of::store_of;

/// Work in a transaction of yours, in the database of the store.
///
/// For a client, whose store is a [`PostgresStore`], and for a [`PostgresStore`] itself. Where the client has another
/// store, each method is an error (`InvalidRequest`) before anything is sent. So it is where the client's store wraps a
/// [`PostgresStore`], for the transaction would bypass the wrapper; only a
/// [`ReplayCache`](sentinel_client::ReplayCache) may be in front of it.
pub trait PostgresExt: Sealed + Sync {
    /// What names an execution: the key for a client, which has a namespace, and the [`Address`] for a store.
    type Execution: ?Sized;

    /// The PostgreSQL store, for what only it has: fences, `check_grant_in`, `complete_grant_in`.
    fn postgres_store(&self) -> Result<&PostgresStore, StoreError>;

    /// Runs a function at most once for an execution, inside a transaction of yours in the database of the store:
    /// claim, what the function writes, and completion commit together or not at all. There is no uncertain window.
    ///
    /// **Your transaction** is never committed, rolled back or left open here. The lock timeout that the claim runs
    /// under is put back; `synchronous_commit = off` is raised to `on` for this transaction if it holds a completion.
    /// **While it is open**, other claims of the key are *in progress* after a lock timeout. Two transactions
    /// that each take several keys take them in one order, or PostgreSQL ends one of them.
    /// **Grants:** those of the store, for the role of your transaction.
    fn once_in_transaction<'a, 'c>(
        &'a self,
        transaction: &'a mut Transaction<'c, Postgres>,
        execution: &Self::Execution,
    ) -> OnceInTransaction<'a, 'c>;

    /// Completes, in a transaction of yours, a run of `once`: what you wrote and the result commit together. Commit
    /// with [`commit`](super::commit), and make the result with [`encode_result`](sentinel_client::encode_result), as
    /// the client does.
    ///
    /// **From the call on, also if it fails, the client records no success on its own.** When the function has returned
    /// `Ok`, the client asks the record: `Completed` if your transaction was committed, and otherwise `RanUncertain`,
    /// for what the function wrote may have been rolled back.
    /// **Effect:** none before you commit; the record's row is locked until then, and heartbeats pass it over.
    /// **Refusals** change nothing and leave no trace in the transaction: roll it back unless the reply is `Recorded`.
    /// **Errors:** no record was changed, and the transaction goes on if its connection does. Return the error from the
    /// function, too.
    fn complete_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        run: &Run,
        result: &RecordedResult,
    ) -> impl Future<Output = Result<CompleteReply, StoreError>> + Send {
        async {
            let store = self.postgres_store()?;
            run.records_its_result();
            store.complete_grant_in(transaction, run.address(), run.grant(), result).await
        }
    }
}

/// Only types of this crate can have the methods.
pub trait Sealed {}

impl Sealed for PostgresStore {}
impl Sealed for Sentinel {}

/// The record shows `host:pid` as the worker's label, unless another one is set.
impl PostgresExt for PostgresStore {
    type Execution = Address;

    fn postgres_store(&self) -> Result<&PostgresStore, StoreError> {
        Ok(self)
    }

    fn once_in_transaction<'a, 'c>(
        &'a self,
        transaction: &'a mut Transaction<'c, Postgres>,
        execution: &Address,
    ) -> OnceInTransaction<'a, 'c> {
        OnceInTransaction::new(Ok(self), transaction, Ok(execution.clone()), default_worker())
    }
}

/// The key is in the client's namespace, and the record shows the client's worker label.
impl PostgresExt for Sentinel {
    type Execution = str;

    fn postgres_store(&self) -> Result<&PostgresStore, StoreError> {
        store_of(self.store())
    }

    fn once_in_transaction<'a, 'c>(
        &'a self,
        transaction: &'a mut Transaction<'c, Postgres>,
        execution: &str,
    ) -> OnceInTransaction<'a, 'c> {
        let address = self.address(execution);
        let worker = self.current_worker().clone();
        let once = OnceInTransaction::new(self.postgres_store(), transaction, address, worker);
        match self.current_policy() {
            Some(policy) => once.policy(policy.clone()),
            None => once,
        }
    }
}

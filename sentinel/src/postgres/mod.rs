//! The items that only PostgreSQL has: the store's settings, work in a transaction of yours, and fences.
//!
//! [`PostgresExt`], which is in the prelude too, adds the methods that take a transaction of yours to a client and to a
//! [`PostgresStore`].

mod extension;
mod once_in_transaction;
mod store_of;

pub use extension::PostgresExt;
pub use once_in_transaction::{OnceInTransaction, TransactionOutcome};
pub use sentinel_postgres::{
    CommitError, Fence, Pending, PostgresStore, PostgresStoreBuilder, Rejected, Rejection, commit,
    fence_address,
};

//! The items that only PostgreSQL has: the store's settings, work in a transaction of yours, and fences.
//!
//! [`PostgresExt`], which is in the prelude too, adds the methods that take a transaction of yours to a client and to a
//! [`PostgresStore`]; [`RunExt`] adds those of a running function.

mod extension;
mod once_in_transaction;
mod run;
mod store_of;

pub use extension::PostgresExt;
pub use once_in_transaction::{OnceInTransaction, TransactionOutcome};
#[cfg(feature = "http")]
pub use run::RecordInError;
pub use run::RunExt;
pub use sentinel_postgres::{
    CommitError, Fence, Pending, PostgresStore, PostgresStoreBuilder, Rejected, Rejection, commit,
    fence_address,
};

//! The store of Sentinel on PostgreSQL 14 and newer.
//!
//! Each transition is one statement that locks the record's row, reads the server's clock above the lock, decides,
//! writes record and event, and is committed by itself. Operations that arrive at the same time are sent in one
//! statement, over a few connections that the store owns. See [`PostgresStore`].
//!
//! Programs use it through the facade, `sentinel` (package `sentinel-coordination`). Its module `postgres` adds the
//! methods that take a transaction of yours and a type of the client, `once_in_transaction` and `complete_in`. The
//! author of another runtime builds the same from [`PostgresStore::claim_in`] and [`PostgresStore::complete_grant_in`].

mod batch;
mod builder;
mod connection;
mod coordination;
mod doctor;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod notify;
mod parts;
mod schema;
mod store;
mod transaction;
mod url;

pub use builder::PostgresStoreBuilder;
pub use store::PostgresStore;
pub use transaction::claim_in::{ClaimInTransaction, GrantInTransaction, check_lock_timeout};
pub use transaction::commit::{CommitError, Pending, commit};
pub use transaction::fence::{Fence, Rejected, Rejection, fence_address};

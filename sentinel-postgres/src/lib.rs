//! The store of Sentinel on PostgreSQL 14 and newer.
//!
//! Each transition is one statement that locks the record's row, reads the server's clock above the lock, judges, writes
//! record and event, and is committed by itself. What comes in at the same time goes out together, over a few connections
//! that the store owns. [`PostgresStore`] says more.

mod builder;
mod claim;
mod commit;
mod doctor;
mod error;
mod fence;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod heartbeat;
mod hello;
mod lane;
mod link;
mod listen;
mod purge;
mod read;
mod row;
mod schema;
mod source;
mod spare;
mod statement;
mod store;
mod survey;
mod timeline;
mod transaction;
mod transition;
mod trim;
mod url;
mod warnings;
mod within;

pub use builder::PostgresStoreBuilder;
pub use commit::{CommitError, Pending, commit};
pub use fence::{Fence, Rejected, Rejection, fence_address};
pub use store::PostgresStore;
pub use transaction::{OnceInTransaction, TransactionOutcome};

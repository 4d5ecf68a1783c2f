//! The embedded store of Sentinel: one SQLite file, no server.
//!
//! Any number of processes on one host open the same file at once. The file is in WAL mode and each commit is synced
//! (`synchronous=FULL`), so what was acknowledged survives `kill -9` and, as far as the disk keeps what it has synced,
//! the loss of power.
//!
//! A store owns one writer connection on a thread of its own, the *lane*. Whatever waits when the lane is free goes
//! into one `BEGIN IMMEDIATE .. COMMIT`: each operation runs the kernel on the record that it reads inside, and is
//! answered after the commit. Reads have a thread and a connection of their own.
//!
//! ```no_run
//! # async fn example() -> Result<(), sentinel_core::StoreError> {
//! let store = sentinel_sqlite::SqliteStore::open("/var/lib/billing/sentinel.db").await?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```

mod address;
mod connection;
mod doctor;
mod driver;
mod error;
mod exit;
mod filesystem;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod lane;
mod ledger;
mod line;
mod purge;
mod read;
mod row;
mod schema;
mod seal;
mod store;
mod survey;

pub use schema::SCHEMA_VERSION;
pub use store::{SqliteStore, SqliteStoreBuilder};

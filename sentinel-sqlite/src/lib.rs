//! The embedded store of Sentinel: one SQLite file, no server.
//!
//! Any number of processes on one host open the same file at once. The file is in WAL mode and each commit is synced
//! (`synchronous=FULL`), so what was acknowledged survives `kill -9` and, as far as the disk keeps what it has synced,
//! the loss of power.
//!
//! A store owns one writer connection on a thread of its own. Whatever waits when that thread is free goes into one
//! `BEGIN IMMEDIATE .. COMMIT`: each operation runs the kernel on the record that it reads inside, and its caller gets
//! the reply after the commit. Reads have a thread and a connection of their own.
//!
//! ```no_run
//! # async fn example() -> Result<(), sentinel_core::StoreError> {
//! let store = sentinel_sqlite::SqliteStore::open("/var/lib/billing/sentinel.db").await?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```

mod batch;
mod builder;
mod connection;
mod coordination;
mod doctor;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod parts;
mod schema;
mod store;
mod url;

pub use builder::SqliteStoreBuilder;
pub use schema::SCHEMA_VERSION;
pub use store::SqliteStore;

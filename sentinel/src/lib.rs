//! Coordinate work that is **not safe to run twice**: payments, webhooks, deploy steps, invoices.
//!
//! [`once`](Sentinel::once) runs a function at most once for a key, across any number of competing workers. All later
//! callers get the recorded result. If a worker disappears after its side effect may have begun, the outcome is
//! *uncertain*. Sentinel reports that and waits for reconciliation; it never runs the work again on its own.
//!
//! ```
//! use sentinel::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sentinel::Error> {
//! let sentinel = Sentinel::new(MemoryStore::new()).namespace("billing")?;
//!
//! let charge = |run: Run| async move { Ok::<_, std::io::Error>(format!("charged under {}", run.key())) };
//! let first = sentinel.once("invoice-42").run(charge).await?;
//! assert!(matches!(first, Outcome::Completed(_)));
//!
//! let again = sentinel.once("invoice-42").run(charge).await?;
//! assert!(matches!(again, Outcome::Replayed(receipt) if receipt == "charged under invoice-42"));
//! # Ok(())
//! # }
//! ```
//!
//! # Stores
//!
//! One feature for each: `memory` (default; for unit tests and single processes), `sqlite` (one durable file for all
//! processes of a host), `postgres` (one database for all processes of all hosts; `postgres-tls` adds TLS), `redis`
//! (one server or cluster for all processes of all hosts; `redis-tls` adds TLS). [`connect`] chooses one by its
//! address.
//!
//! # When it is not the right tool
//!
//! Work that may safely run twice does not need Sentinel: a queue that retries is simpler. No library can give
//! exactly-once effects in a system that checks neither tokens nor idempotency keys. Sentinel gives at most one run,
//! and reports when its outcome is unknown.

mod connect;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "testing")]
pub mod testing;

pub use connect::connect;
pub use sentinel_client::*;
pub use sentinel_core::*;

#[cfg(feature = "memory")]
pub use sentinel_memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use sentinel_postgres::PostgresStore;
/// The items that only Redis has, besides the store.
#[cfg(feature = "redis")]
pub use sentinel_redis as redis;
#[cfg(feature = "redis")]
pub use sentinel_redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sentinel_sqlite::SqliteStore;

/// The items that most programs need.
pub mod prelude {
    pub use sentinel_client::{Failure, LeaseOutcome, Outcome, Run, Sentinel};
    pub use sentinel_core::{CoordinationStore, Token};

    #[cfg(feature = "postgres")]
    pub use crate::postgres::PostgresExt;
    #[cfg(feature = "memory")]
    pub use sentinel_memory::MemoryStore;
    #[cfg(feature = "postgres")]
    pub use sentinel_postgres::PostgresStore;
    #[cfg(feature = "redis")]
    pub use sentinel_redis::RedisStore;
    #[cfg(feature = "sqlite")]
    pub use sentinel_sqlite::SqliteStore;
}

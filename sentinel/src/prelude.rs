//! The items that most programs need.

#[cfg(feature = "postgres")]
pub use crate::postgres::{PostgresExt, RunExt};
pub use sentinel_client::{Failure, Fold, Folded, LeaseOutcome, Outcome, Policy, Run, Sentinel};
pub use sentinel_core::{CoordinationStore, Token};
#[cfg(feature = "memory")]
pub use sentinel_memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use sentinel_postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use sentinel_redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sentinel_sqlite::SqliteStore;

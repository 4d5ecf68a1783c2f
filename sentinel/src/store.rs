//! For authors of stores, and for programs that read a store directly: the contract, its requests and replies, its
//! errors, and reads over all namespaces.
//!
//! [Writing a store](https://github.com/sentinel-rs/sentinel/blob/main/docs/writing-a-store.md) explains the contract;
//! the example `own_store` is a complete store under the conformance suite.

pub use sentinel_core::store::*;
pub use sentinel_core::{
    Applied, Clock, ErrorKind, GatheredBeats, Invalid, ManualClock, StoreError, StoreTime, Survey,
    SystemClock, check_store_address,
    layer::{Layer, Layered},
    operation, survey,
};

/// What [`connect`](crate::connect) and [`Deployment::open`](crate::Deployment::open) return: a store that can also be
/// read as a whole.
///
/// An `Arc<dyn Store>` is an `Arc<dyn CoordinationStore>` where one is expected:
/// [`Sentinel::from_arc`](crate::Sentinel::from_arc) takes both.
pub trait Store: CoordinationStore + Survey {
    /// Why the last reads may lack changes that were acknowledged. Only a Redis store that was opened with
    /// [`read_in_doubt`](crate::Deployment::read_in_doubt) has such a reason; None: no reason is known.
    fn doubt(&self) -> Option<StoreError> {
        None
    }
}

#[cfg(feature = "memory")]
impl Store for sentinel_memory::MemoryStore {}

#[cfg(feature = "sqlite")]
impl Store for sentinel_sqlite::SqliteStore {}

#[cfg(feature = "postgres")]
impl Store for sentinel_postgres::PostgresStore {}

#[cfg(feature = "redis")]
impl Store for sentinel_redis::RedisStore {
    fn doubt(&self) -> Option<StoreError> {
        Self::doubt(self)
    }
}

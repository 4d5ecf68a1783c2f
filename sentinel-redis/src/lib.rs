//! The Redis store of [Sentinel](https://github.com/sentinel-rs/sentinel): one Lua script per transition, under the
//! rules of the specification, and held to them by the shared conformance suite.
//!
//! ```no_run
//! use sentinel_client::Sentinel;
//! use sentinel_redis::RedisStore;
//!
//! # async fn open() -> Result<(), Box<dyn std::error::Error>> {
//! // Once, when the server is set up, and after each check of a possible data loss: `sentinel init`, or
//! RedisStore::init("redis://127.0.0.1:6379").await?;
//! // and from then on
//! let sentinel = Sentinel::new(RedisStore::connect("redis://127.0.0.1:6379").await?).namespace("billing")?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it can promise
//!
//! What the server keeps. With `appendfsync always` and `noeviction` on one server that is everything that was
//! acknowledged. The store detects a server that lost everything (`DataLoss`), and one that may have lost its newest
//! writes (`PossibleDataLoss`): nothing is granted then until an operator has registered the servers again. See
//! `docs/operations.md` for the settings, and for what an ACL user needs.

mod batch;
mod builder;
mod connection;
mod coordination;
mod data_loss;
mod doctor;
mod durability;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod notify;
mod parts;
mod row;
mod schema;
mod script;
mod store;
mod url;

pub use builder::RedisStoreBuilder;
pub use data_loss::Registration;
pub use durability::Durability;
pub use store::RedisStore;

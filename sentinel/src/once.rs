//! The request that [`Sentinel::once`](crate::Sentinel::once) starts, with its options.

pub use sentinel_client::{Ending, Once, Prepared};

//! What [`Sentinel::drain`](crate::Sentinel::drain) returns: the work that was begun and is not finished.

pub use sentinel_client::{Drained, Unfinished, Work};

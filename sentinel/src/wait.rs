//! Waiting for another call's run, without a claim. [`Sentinel::wait`](crate::Sentinel::wait) starts here.

pub use sentinel_client::{CompletedExecution, Wait, Waited};

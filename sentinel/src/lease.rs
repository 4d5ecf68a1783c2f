//! A lease: a right that one worker has at a time. [`Sentinel::lease`](crate::Sentinel::lease) starts here.

pub use sentinel_client::{FenceValues, Lease, LeaseRequest, ReleaseOutcome};

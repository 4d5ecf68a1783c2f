//! A lease: a right that one worker has at a time. [`Sentinel::lease`](crate::Sentinel::lease) starts here, and
//! [`Sentinel::lead`](crate::Sentinel::lead) runs a future while this process has the lease.

pub use sentinel_client::{FenceValues, Lead, Leader, Lease, LeaseRequest, Led, ReleaseOutcome};

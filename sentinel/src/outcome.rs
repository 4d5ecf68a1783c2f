//! The details that the variants of [`Outcome`](crate::Outcome), [`LeaseOutcome`](crate::LeaseOutcome) and
//! [`Failure`](crate::Failure) carry.

pub use sentinel_client::{
    InProgress, Lost, NotRun, NotStored, RanUncertain, Reconciling, ReplayedFailure, Uncertain,
};
pub use sentinel_core::operation::Current;

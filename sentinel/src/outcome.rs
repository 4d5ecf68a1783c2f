//! The details that the variants of [`Outcome`](crate::Outcome), [`LeaseOutcome`](crate::LeaseOutcome) and
//! [`Failure`](crate::Failure) carry. [`Fold`] makes one of four answers of each outcome.

pub use sentinel_client::{
    Doubt, Fold, Folded, InProgress, Lost, NotRun, NotStored, RanUncertain, Reconciling, Refusal,
    ReplayedFailure, Uncertain,
};
pub use sentinel_core::operation::Current;

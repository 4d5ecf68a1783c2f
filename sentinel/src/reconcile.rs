//! Deciding about uncertain keys: by hand with a [`Reconciler`], by code with an [`AutoReconciler`]. An [`Eviction`]
//! frees a claim or lease whose holder will not come back.

pub use sentinel_client::{
    AutoReconciler, AutoReconcilerHandle, DecisionOutcome, Eviction, Holding, ProbeResult, ReconcileOutcome,
    Reconciler, Refused, Seeking, UncertainKey,
};
pub use sentinel_core::operation::{EvictReply, ReconcileReply};

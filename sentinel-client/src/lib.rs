//! The client of Sentinel (spec §4): `once`, `lease`, the reconcilers, the keeper that sends heartbeats, and a cache of
//! completed results.
//!
//! Most programs depend on the facade, `sentinel` (package `sentinel-coordination`), which re-exports all of this.

mod attempt;
mod attempts;
mod authority;
mod auto_reconciler;
mod causes;
mod classes;
mod clock;
mod codec;
mod drain;
mod engine;
mod faithful;
mod fence;
mod fold;
mod jitter;
mod keeper;
mod lead;
mod lease;
mod messages;
mod observe;
mod once;
mod open_work;
mod outcome;
mod policy;
mod queue;
mod reconciler;
mod replay_cache;
mod requested;
mod retry;
mod run;
mod sentinel;
mod shared;
pub mod signals;
mod slots;
mod snapshot;
mod wait;
mod waited;
mod watch;
mod worker;

#[doc(hidden)]
pub use attempt::Attempt;
#[doc(hidden)]
pub use attempts::Effect;
pub use authority::Lost;
pub use auto_reconciler::{AutoReconciler, AutoReconcilerHandle, ProbeResult, UncertainKey};
#[doc(hidden)]
pub use causes::{inherited_from, with_inherited_cause};
pub use codec::{Codec, Json, Raw, decode_result, encode_checked, encode_result};
pub use engine::Ending;
pub use fence::FenceValues;
pub use fold::{Doubt, Fold, Folded, Refusal};
pub use lead::{Lead, Leader, Led};
pub use lease::{Lease, LeaseOutcome, LeaseRequest, ReleaseOutcome};
pub use once::{Once, Prepared};
pub use open_work::{Drained, Unfinished, Work};
pub use outcome::{
    CodecError, Error, Failure, InProgress, NotRun, NotStored, Outcome, RanUncertain, Reconciling,
    ReplayedFailure, Uncertain,
};
pub use policy::Policy;
pub use reconciler::{DecisionOutcome, Eviction, Holding, ReconcileOutcome, Reconciler, Refused, Seeking};
pub use replay_cache::{ReplayCache, ReplayLimits};
#[doc(hidden)]
pub use requested::RequestedExecution;
pub use run::Run;
pub use sentinel::Sentinel;
/// The contract, for crates that are built on the client alone.
pub use sentinel_core;
pub use wait::Wait;
pub use waited::{CompletedExecution, Waited};
#[doc(hidden)]
pub use worker::default_worker;

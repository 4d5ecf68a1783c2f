//! The conformance suite: what a store must do, as named tests. `coordination` has the tests of a
//! [`CoordinationStore`](sentinel_core::CoordinationStore); the other modules serve any contract.

mod coordination;
mod diff;
mod messages;
mod report;
mod rng;
mod sizes;

sentinel_core::__layers_are_stores! {
    [] coordination::history::Recorder;
    [] coordination::faults::Faulty;
}

pub use coordination::faults::{Fault, FaultPlan, Faulty, InjectedFault, Latency};
pub use coordination::harness::{DynHarness, Harness};
pub use coordination::history::{
    Entry, History, Read, ReadResult, Recorder, authorised_runs, faulty_histories, histories, linearizable,
};
pub use coordination::law_context::{LawContext, Subject};
pub use coordination::matrix::cut::{BreakableConnection, Cuts, Traffic, cut_at_any_byte};
pub use coordination::matrix::dropped::dropped_at_any_poll;
pub use coordination::negative;
pub use coordination::run_log::{CallOutcome, Effect, RunLog, Start};
pub use coordination::sequences::{
    Coverage, KernelHistory, StartState, kernel_histories, sequences, sequences_covering,
};
pub use coordination::suite::{LAWS, Law, check};
pub use messages::quietly;
pub use sentinel_core::{Layer, Layered};
pub use sizes::Sizes;

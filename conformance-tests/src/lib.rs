//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod diff;
mod faults;
mod fixtures;
mod generate;
mod handles;
mod harness;
mod history;
mod law_context;
mod laws;
mod rng;
mod run_log;
#[macro_use]
mod list;
#[macro_use]
mod list_more;
mod matrix;
mod messages;
pub mod negative;
mod regressions;
mod report;
mod sequences;
mod sizes;
mod suite;

sentinel_core::__layers_are_stores! {
    [] history::Recorder;
    [] faults::Faulty;
}

pub use faults::{Fault, Faulty, Met, Plan, Wait};
pub use harness::{Bench, Harness};
pub use history::{
    Entry, History, Look, Recorder, Saw, authorised_runs, faulty_histories, histories, linearizable,
};
pub use law_context::{LawContext, Subject};
pub use matrix::cut::{Cuts, Leg, Way, cut_at_any_byte};
pub use matrix::dropped::dropped_at_any_poll;
pub use run_log::{Answer, Effect, RunLog, Start};
pub use sentinel_core::{Layer, Layered};
pub use sequences::{Coverage, StartState, sequences, sequences_covering};
pub use sizes::Sizes;
pub use suite::{LAWS, Law, check};

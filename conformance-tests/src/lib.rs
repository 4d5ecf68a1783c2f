//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod cast;
mod deeds;
mod dice;
mod differ;
mod faults;
mod generate;
mod handles;
mod harness;
mod history;
mod lab;
mod laws;
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
mod suite;

sentinel_core::__layers_are_stores! {
    [] history::Recorder;
    [] faults::Faulty;
}

pub use deeds::{Answer, Deeds, Effect, Start};
pub use faults::{Fault, Faulty, Met, Plan, Wait};
pub use harness::{Bench, Harness};
pub use history::{
    Entry, History, Look, Recorder, Saw, authorised_runs, faulty_histories, histories, linearizable,
};
pub use lab::{Lab, Subject};
pub use matrix::cut::{Cuts, Leg, Way, cut_at_any_byte};
pub use matrix::dropped::dropped_at_any_poll;
pub use sentinel_core::{Layer, Layered};
pub use sequences::{Coverage, Standing, sequences, sequences_covering};
pub use suite::{LAWS, Law, Sizes, check};

//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod dice;
mod differ;
mod faults;
mod generate;
mod harness;
mod history;
mod layer;
mod sequences;

pub use faults::{Fault, Faulty, Met, Plan, Wait};
pub use harness::Harness;
pub use history::{Entry, Recorder, faulty_histories, histories, linearizable};
pub use layer::{Layer, Layered};
pub use sequences::{Coverage, Standing, sequences, sequences_covering};

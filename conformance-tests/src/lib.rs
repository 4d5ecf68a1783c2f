//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod cast;
mod generate;
mod harness;
mod lab;
mod laws;
mod sequences;
mod suite;

pub use harness::{Bench, Harness};
pub use lab::{Lab, Subject};
pub use sequences::{Coverage, Standing, sequences, sequences_covering};
pub use suite::{LAWS, Law, Sizes, check};

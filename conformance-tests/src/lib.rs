//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod generate;
mod harness;
mod sequences;

pub use harness::Harness;
pub use sequences::{Coverage, Standing, sequences, sequences_covering};

//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod harness;

pub use harness::Harness;

//! The conformance suite: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do, as named tests.

mod cast;
mod harness;
mod lab;
mod laws;
#[macro_use]
mod list;
mod suite;

pub use harness::{Bench, Harness};
pub use lab::{Lab, Subject};
pub use suite::{LAWS, Law, Sizes, check};

//! The suite for stores of coordination: what a [`CoordinationStore`](sentinel_core::CoordinationStore) must do.

pub(crate) mod faults;
mod fixtures;
mod generate;
mod handles;
pub(crate) mod harness;
pub(crate) mod history;
pub(crate) mod law_context;
mod laws;
mod list;
pub(crate) mod matrix;
pub mod negative;
mod regressions;
pub(crate) mod run_log;
pub(crate) mod sequences;
pub(crate) mod suite;

//! What the integration tests of several stores share. A store's own test program supplies its server and its checks.
//!
//! - [`cost`]: what operations cost, against budgets; [`cost_tests!`] makes the tests.
//! - [`mutants`]: statements or scripts without one of their guards; [`mutant_lists!`] makes the tests.
//! - [`notify`]: notifications between processes; [`notify_tests!`] makes the tests.
//! - [`deployment`]: a store in one deployment mode, for the conformance suite; [`deployments!`] makes the harnesses.
//! - [`broken_connections`], [`load`], [`crash`]: faults of the network and of a server.
//! - [`fixtures`]: requests, and what is expected of replies. [`harness!`] is what a store's own harness needs.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub mod broken_connections;
pub mod cost;
pub mod crash;
pub mod deployment;
pub mod fixtures;
mod harness;
pub mod load;
pub mod mutants;
pub mod notify;
pub mod rng;
mod suite;

// For the macros of this crate.
#[doc(hidden)]
pub use {async_trait::async_trait, sentinel_conformance, sentinel_core, tokio};

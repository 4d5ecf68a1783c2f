//! The SQLite store: its schema, its faults, its processes. What every store must do is the conformance suite's.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod contention;
mod cost;
mod faults;
mod harness;
mod listing;
mod maintenance;
mod processes;
mod schema;
mod seal;
mod transitions;

/// Every law, and the generated layers, on a file for each test.
mod conformance {
    sentinel_conformance::suite!(crate::harness::Reopened, sequences = 1_000, histories = 200);
}

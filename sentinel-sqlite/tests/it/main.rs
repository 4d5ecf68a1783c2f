//! The SQLite store: its schema, its faults, its processes. What every store must do is the conformance suite's.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod contention;
mod faults;
mod harness;
mod maintenance;
mod processes;
mod schema;
mod transitions;

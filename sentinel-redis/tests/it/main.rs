//! The Redis store under the conformance suite, in each deployment mode, and what is Redis' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod crash;
mod faults;
mod forgotten;
mod harness;
mod network;

mod always {
    sentinel_conformance::suite!(crate::harness::Always, sequences = 400, histories = 80);
}

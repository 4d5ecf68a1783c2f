//! The Redis store under the conformance suite, in each deployment mode, and what is Redis' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod clock;
mod harness;
mod mutants;
mod rig;
mod upkeep;

mod always {
    sentinel_conformance::suite!(crate::harness::Always, sequences = 400, histories = 80);
}

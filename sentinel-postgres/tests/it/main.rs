//! The PostgreSQL store under the conformance suite.
mod harness;

mod direct {
    sentinel_conformance::suite!(crate::harness::Direct, sequences = 200, histories = 40);
}

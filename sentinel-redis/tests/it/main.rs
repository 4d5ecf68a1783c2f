//! The Redis store under the conformance suite, in each deployment mode, and what is Redis' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod access;
mod barrier;
mod clock;
mod cluster;
mod contention;
mod cost;
mod crash;
mod doctor;
mod dropped;
mod faults;
mod forgotten;
mod harness;
mod late;
mod listen;
mod mutants;
mod network;
mod promotion;
mod quick;
mod read_in_doubt;
mod refusals;
mod rig;
mod rotation;
mod story;
#[cfg(feature = "tls")]
mod tls;
mod torn;
mod upkeep;
mod ways;
mod wire;
mod witness;

mod always {
    sentinel_conformance::suite!(crate::harness::Always, sequences = 800, histories = 80);
}

mod everysec {
    sentinel_conformance::suite!(crate::harness::EverySecond, sequences = 50, histories = 20, law_passes = 1);
}

#[cfg(feature = "tls")]
mod tls_acl {
    sentinel_conformance::suite!(crate::harness::TlsAcl, sequences = 50, histories = 20, law_passes = 1);
}

mod replica {
    sentinel_conformance::suite!(crate::harness::Replica, sequences = 50, histories = 20, law_passes = 1);
}

mod moving {
    sentinel_conformance::suite!(crate::harness::Cluster, sequences = 50, histories = 20, law_passes = 1);
}

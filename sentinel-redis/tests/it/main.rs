//! The Redis store under the conformance suite, in each deployment mode, and what is Redis' own.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its start state has failed")]

mod access;
mod barrier;
mod broken_connections;
mod causes;
mod clock;
mod cluster;
mod connecting;
mod contention;
mod cost;
mod crash;
mod data_loss;
mod deployments;
mod doctor;
mod dropped_records;
mod events;
mod faults;
mod harness;
mod late_effects;
mod mutants;
mod network;
mod notify;
mod pages;
mod promotion;
mod quick;
mod read_in_doubt;
mod refusals;
mod rotation;
#[cfg(feature = "tls")]
mod tls;
mod truncated_aof;
mod upkeep;
mod witness_file;

mod always {
    sentinel_conformance::suite!(crate::deployments::Always, sequences = 800, histories = 80);
}

// Every mode runs the same scripts on the same records, and a cell of the matrix depends on nothing else: `always`
// covers all of them. The other modes run every law, and a quarter of the matrix, different states for each operation.
// That is enough to notice a mode that changes how requests and replies travel.

mod everysec {
    sentinel_store_tests::deployment_suite!(crate::deployments::EverySecond);
}

#[cfg(feature = "tls")]
mod tls_acl {
    sentinel_store_tests::deployment_suite!(crate::deployments::TlsAcl);
}

mod replica {
    sentinel_store_tests::deployment_suite!(crate::deployments::Replica);
}

mod slot_migration {
    sentinel_store_tests::deployment_suite!(crate::deployments::Cluster);
}

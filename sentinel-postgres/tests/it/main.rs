//! The PostgreSQL store under the conformance suite, in each deployment mode, and what is PostgreSQL's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its start state has failed")]

mod backlog;
mod batch_isolation;
mod batched_vs_kernel;
mod batching;
mod broken_connections;
mod causes;
mod claim_in;
mod client_store;
mod commit;
mod completion;
mod connections;
mod contention;
mod corrupt_rows;
mod cost;
mod deployments;
mod doctor;
mod doctor_database;
mod effects;
mod faults;
mod fence;
mod fence_columns;
mod fixtures;
mod harness;
mod identity;
mod implied_events;
mod locks;
mod mutants;
mod notify;
mod opening;
mod readme;
mod rotation;
mod standby;
#[cfg(feature = "tls")]
mod tls;
mod transaction;
mod trimming;
mod upkeep;

mod direct {
    sentinel_conformance::suite!(crate::deployments::Direct, sequences = 400, histories = 80);
}

mod pgbouncer {
    // Each statement is planned anew there, which takes as long as all else: a quarter of the matrix.
    sentinel_store_tests::deployment_suite!(crate::deployments::Bounced);
}

mod repeatable_read {
    // The store sets these sessions to read committed all the same: a quarter of the matrix. `direct` runs all of it.
    sentinel_store_tests::deployment_suite!(crate::deployments::RepeatableRead);
}

mod serializable {
    // The store sets these sessions to read committed all the same: a quarter of the matrix. `direct` runs all of it.
    sentinel_store_tests::deployment_suite!(crate::deployments::Serializable);
}

mod unprivileged {
    // The role changes no statement, and its sessions are set to read committed too: a quarter of the matrix. `direct`
    // runs all of it.
    sentinel_store_tests::deployment_suite!(crate::deployments::Unprivileged);
}

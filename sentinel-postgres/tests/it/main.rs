//! The PostgreSQL store under the conformance suite, in each deployment mode, and what is PostgreSQL's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod backlog;
mod commit;
mod company;
mod completion;
mod contention;
mod cost;
mod doctor;
mod doctor_database;
mod effects;
mod faults;
mod fence;
mod fence_columns;
mod harness;
mod identity;
mod lanes;
mod listen;
mod locks;
mod mutants;
mod opening;
mod readme;
mod rig;
mod rotation;
mod scene;
mod spoilt;
mod standby;
mod stories;
#[cfg(feature = "tls")]
mod tls;
mod transaction;
mod trimming;
mod upkeep;
mod waves;
mod wire;

mod direct {
    sentinel_conformance::suite!(crate::harness::Direct, sequences = 400, histories = 80);
}

mod pgbouncer {
    // Each statement is planned anew there, which takes as long as all else: a quarter of the matrix.
    sentinel_conformance::suite!(
        crate::harness::Bounced,
        sequences = 50,
        histories = 20,
        matrix_share = 4,
        law_passes = 1
    );
}

mod repeatable_read {
    sentinel_conformance::suite!(
        crate::harness::RepeatableRead,
        sequences = 50,
        histories = 20,
        law_passes = 1
    );
}

mod serializable {
    sentinel_conformance::suite!(
        crate::harness::Serializable,
        sequences = 50,
        histories = 20,
        law_passes = 1
    );
}

mod unprivileged {
    sentinel_conformance::suite!(
        crate::harness::Unprivileged,
        sequences = 50,
        histories = 20,
        law_passes = 1
    );
}

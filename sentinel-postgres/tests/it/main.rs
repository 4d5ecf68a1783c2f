//! The PostgreSQL store under the conformance suite, in each deployment mode, and what is PostgreSQL's own.

mod company;
mod contention;
mod harness;
mod lanes;
mod locks;
mod mutants;
mod rig;
mod upkeep;

mod direct {
    sentinel_conformance::suite!(crate::harness::Direct, sequences = 400, histories = 80);
}

mod pgbouncer {
    sentinel_conformance::suite!(crate::harness::Bounced, sequences = 50, histories = 20);
}

mod repeatable_read {
    sentinel_conformance::suite!(crate::harness::RepeatableRead, sequences = 50, histories = 20);
}

mod serializable {
    sentinel_conformance::suite!(crate::harness::Serializable, sequences = 50, histories = 20);
}

mod unprivileged {
    sentinel_conformance::suite!(crate::harness::Unprivileged, sequences = 50, histories = 20);
}

mod waves;

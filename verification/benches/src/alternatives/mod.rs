//! The alternatives that people would use or write instead, and what these do not do.
//!
//! In memory there would be the crate `idempotent`, which keeps one entry for each key, with a fencing token and a
//! fingerprint. It is not measured: its licence (MPL-2.0) is not among those that `deny.toml` allows, for a benchmark
//! as for anything else, and its newest release (2.0) needs a newer Rust than this workspace.

pub(crate) mod set_nx;
pub(crate) mod upsert;

use crate::report::Alternative;

/// All alternatives.
pub(crate) fn all() -> Vec<Alternative> {
    let alternative = |name: &str, lacks: &str| Alternative { name: name.into(), lacks: lacks.into() };
    vec![alternative(upsert::NAME, upsert::LACKS), alternative(set_nx::NAME, set_nx::LACKS)]
}

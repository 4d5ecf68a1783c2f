//! What somebody would pick or write instead, and what it does not do.
//!
//! In memory there would be the crate `idempotent`, which keeps one entry for each key, with a fencing token and a
//! fingerprint. It is not measured: its licence (MPL-2.0) is not among those that `deny.toml` allows, for a benchmark
//! as for anything else, and its newest release (2.0) needs a newer Rust than this workspace.

pub(crate) mod set_nx;
pub(crate) mod upsert;

use serde::{Deserialize, Serialize};

/// A peer, and in one sentence what it does not do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) name: String,
    pub(crate) lacks: String,
}

/// All peers.
pub(crate) fn notes() -> Vec<Note> {
    let note = |name: &str, lacks: &str| Note { name: name.into(), lacks: lacks.into() };
    vec![note(upsert::NAME, upsert::LACKS), note(set_nx::NAME, set_nx::LACKS)]
}

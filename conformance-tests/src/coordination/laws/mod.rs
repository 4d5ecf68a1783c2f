//! The named laws: one for each sentence of spec §2, spec §3 and spec §5 and of the contract of
//! [`CoordinationStore`](sentinel_core::CoordinationStore). A law that is not in `list/laws.rs` is dead code.
#![warn(clippy::missing_docs_in_private_items)]

pub(crate) mod abandon;
pub(crate) mod addresses;
pub(crate) mod batches;
pub(crate) mod begin;
pub(crate) mod boundaries;
pub(crate) mod bounded_events;
pub(crate) mod cancel;
pub(crate) mod causes;
pub(crate) mod claims;
pub(crate) mod complete;
pub(crate) mod decisions;
pub(crate) mod decodable;
pub(crate) mod events;
pub(crate) mod evict;
pub(crate) mod fingerprints;
pub(crate) mod handles;
pub(crate) mod heartbeat;
pub(crate) mod late_effects;
pub(crate) mod lockstep;
pub(crate) mod long_times;
pub(crate) mod names;
pub(crate) mod pages;
pub(crate) mod payloads;
pub(crate) mod purge;
pub(crate) mod purges;
pub(crate) mod races;
pub(crate) mod reads;
pub(crate) mod reconcile;
pub(crate) mod release;
pub(crate) mod reopen;
pub(crate) mod results;
pub(crate) mod stamps;
pub(crate) mod threads;
pub(crate) mod tokens;
pub(crate) mod waits;

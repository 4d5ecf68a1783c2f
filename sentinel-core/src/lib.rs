//! Types, kernel, store contract and client of Sentinel: coordinating work that is not safe to run twice.
//!
//! Most programs depend on the facade, `sentinel`. This crate is for those who write a store.
//!
//! - [`kernel`]: the rules, a pure function of (record, operation, store now).
//! - [`CoordinationStore`]: what a store promises.
//! - [`Survey`]: what people on call ask of a whole store.
//! - [`client`]: `once`, `lease`, reconciliation.
//! - [`Layer`]: what stands before another store and sees each request as data.
//! - [`ReplayCache`]: a store before a store, for replays without a round trip.

mod address;
mod canonical;
mod chance;
pub mod client;
mod error;
mod event;
mod gather;
pub mod kernel;
#[doc(hidden)]
pub mod layer;
mod location;
pub mod operation;
mod payload;
mod record;
mod replay_cache;
mod replays;
mod send;
pub mod store;
pub mod survey;
mod terms;
mod time;
mod token;

pub use address::{Address, Key, Kind, Namespace};
#[cfg(feature = "simulation")]
pub use chance::seeded::seed_this_thread;
pub use client::Sentinel;
pub use error::{Applied, Invalid, StoreError, Trouble};
pub use event::{Change, Event, EventLimit};
pub use gather::GatheredBeats;
pub use layer::{Layer, Layered};
pub use location::check_store_address;
pub use payload::{Accepts, Digest, Payload, Recorded, Verdict};
pub use record::{Decision, DecisionKind, Grant, PURGE_REST, PastClaims, Record, State, idempotency_key};
pub use replay_cache::{ReplayCache, ReplayLimits};
pub use replays::Replays;
pub use store::CoordinationStore;
pub use survey::Survey;
pub use terms::{Fingerprint, Label, Terms};
pub use time::{Clock, ManualClock, StoreTime, SystemClock};
pub use token::{ClaimId, OpId, Token};

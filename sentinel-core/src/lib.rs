//! Types, kernel and store contract of Sentinel, which coordinates work that is not safe to run twice. No I/O, no
//! runtime.
//!
//! Most programs depend on the facade, `sentinel` (package `sentinel-coordination`). This crate is for authors of
//! stores.
//!
//! - [`kernel`]: the rules, a pure function of (record, operation, store now).
//! - [`CoordinationStore`]: the contract of a store.
//! - [`Survey`]: reads over all namespaces of a store, for people on call.
//! - [`Layer`]: a wrapper around another store that sees each request as data.

mod address;
mod canonical;
mod cause;
mod chance;
mod digest;
mod each;
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
mod replies;
mod send;
pub mod store;
pub mod survey;
mod terms;
mod time;
mod token;

pub use address::{Address, Key, Kind, Namespace};
pub use cause::{By, Cause, CauseQuery, Root, TraceId};
#[cfg(feature = "simulation")]
pub use chance::seeded::seed_this_thread;

pub use error::{Applied, ErrorKind, Invalid, StoreError};
pub use event::{Change, Event, EventLimit};
pub use gather::GatheredBeats;
pub use layer::{Layer, Layered};
pub use location::check_store_address;
pub use payload::{Accepts, Digest, Payload, RecordedResult, Verdict};
pub use record::{
    Decision, DecisionKind, Grant, PURGE_REST, PastClaims, Record, State, idempotency_key,
    idempotency_key_for,
};
pub use store::CoordinationStore;
pub use survey::Survey;
pub use terms::{Fingerprint, Label, Terms};
pub use time::{Clock, ManualClock, StoreTime, SystemClock};
pub use token::{ClaimId, OpId, Token};

/// For the other crates of this workspace; not part of the API.
#[doc(hidden)]
pub mod internal {
    pub use crate::chance::half_to_whole;
    pub use crate::digest::sha256;
    pub use crate::time::{measured, micros, whole};
}

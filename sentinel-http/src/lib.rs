//! Sentinel over HTTP: a layer for the `Idempotency-Key` field, fences, a receiver for webhooks, and middleware for
//! clients.
//!
//! [`IdempotencyLayer`] is a layer of tower, for any service over `http` requests: axum (with the feature `axum` also
//! extractors), plain hyper and tower. A request with a key runs its handler at most once, and every later request with
//! the key gets the recorded response.

mod admission;
mod answer;
#[cfg(feature = "axum")]
mod axum;
mod body;
mod classify;
mod count;
mod fingerprint;
mod handling;
mod inner;
mod key;
mod layer;
mod options;
mod prefer;
mod problem;
mod record;
mod report;
mod response;
mod scope;
mod service;
mod status;
mod stream;
mod vouch;

pub use admission::Limits;
pub use body::{Body, BoxError};
pub use key::{IDEMPOTENCY_KEY, MAX_KEY_BYTES};
pub use layer::IdempotencyLayer;
pub use options::InFlight;
pub use problem::{Problem, Ran, Retry};
pub use record::{RecordError, record};
pub use response::{IDEMPOTENCY_REPLAYED, MESSAGE_HTTP};
pub use scope::Scope;
pub use service::IdempotencyService;
pub use status::StatusRoute;
pub use vouch::{FailedForGood, Happened, NothingHappened};

#[cfg(feature = "axum")]
pub use self::axum::{Idempotent, IdempotentRun, NoRun};

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
mod cause;
mod classify;
#[cfg(feature = "reqwest")]
mod client;
mod count;
mod fence;
mod field;
mod fingerprint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
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
mod signature;
mod status;
mod stream;
mod vouch;
mod webhook;

pub use admission::Limits;
pub use body::{Body, BoxError};
pub use cause::{SENTINEL_CAUSE, TrustedCause, cause_fields};
#[cfg(feature = "reqwest")]
pub use client::{Certainty, Refusal, SendError, SentinelHeaders, WithRun, certainty};
pub use fence::{
    FenceKey, FenceLayer, FenceService, FenceSigner, FenceVerifier, SENTINEL_FENCE, VerifiedFence,
};
pub use key::{IDEMPOTENCY_KEY, MAX_KEY_BYTES};
pub use layer::IdempotencyLayer;
pub use options::InFlight;
pub use problem::{Problem, Ran, Retry};
pub use record::{RecordError, record};
pub use response::{IDEMPOTENCY_REPLAYED, MESSAGE_HTTP};
pub use scope::Scope;
pub use service::IdempotencyService;
pub use signature::WebhookSecret;
pub use status::StatusRoute;
pub use vouch::{FailedForGood, Happened, NothingHappened};
pub use webhook::{
    ReceivedWebhook, SENTINEL_DOUBT, SENTINEL_RECEIPT, SENTINEL_RECEIPT_TOKEN, WEBHOOK_ID, WEBHOOK_SIGNATURE,
    WEBHOOK_TIMESTAMP, WebhookReceiver, WebhookService, WebhookSource,
};

#[cfg(feature = "axum")]
pub use self::axum::{Idempotent, IdempotentRun, NoRun};

//! The receiver and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use sentinel_client::sentinel_core::{Clock, Invalid, SystemClock};
use sentinel_client::{Policy, Sentinel};

use super::source::{WebhookSource, check};
use crate::admission::{Admission, Limits};
use crate::layer::IdempotencyLayer;
use crate::options::{InFlight, Options};

/// How long a result is kept by default. Senders repeat a message for days.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Verifies the signatures of webhooks, and runs the service behind it at most once for each message: a layer of tower.
///
/// A message is identified by its source and its `webhook-id`. The source is the one whose secret has signed the
/// message, never one that the request names, so a sender cannot use the ids of another one. The same id with another
/// body gets 422 `key-reused`. The timestamp must be within 5 minutes of this service's time, and is no part of the
/// identity, because each attempt has its own.
///
/// | The message | Answer |
/// |---|---|
/// | has no valid signature | 401 `signature-invalid`; the store is not asked |
/// | was handled now | the handler's answer, with `Sentinel-Receipt` |
/// | was handled before | the recorded answer, with `Idempotency-Replayed: true` and the same receipt |
/// | is being handled | after a wait 409 `in-progress` |
/// | was begun, and its outcome is not known | 409 `uncertain` with `Sentinel-Doubt: uncertain` |
/// | was handled, and its answer was too large to be stored | the status of that answer, with an empty body |
///
/// What a response means, and how its handler runs, is as with [`IdempotencyLayer`]: 2xx and most of 4xx are recorded,
/// 5xx leaves the outcome open unless the handler vouches with [`NothingHappened`](crate::NothingHappened). The handler
/// finds [`ReceivedWebhook`](super::ReceivedWebhook) and the `Run` in the extensions of the request.
///
/// ```
/// use sentinel_http::{WebhookReceiver, WebhookSource};
///
/// # fn layer(sentinel: sentinel_client::Sentinel) -> Result<WebhookReceiver, Box<dyn std::error::Error>> {
/// // While a secret is replaced, both are active.
/// let shop = WebhookSource::new("shop")
///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?)
///     .secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse()?);
/// let receiver = WebhookReceiver::new(sentinel.namespace("webhooks")?, [shop])?;
/// # Ok(receiver) }
/// ```
#[derive(Clone)]
pub struct WebhookReceiver {
    pub(super) sources: Arc<[WebhookSource]>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Arc<Options>,
    /// What bodies hold that are read before their sender is known.
    pub(super) reading: Arc<Admission>,
}

impl WebhookReceiver {
    /// A receiver for these sources. Returns an error if there is none, if one has no name or no secret, or if two have
    /// the same name or the same secret.
    pub fn new(
        sentinel: Sentinel,
        sources: impl IntoIterator<Item = WebhookSource>,
    ) -> Result<Self, Invalid> {
        let sources: Arc<[WebhookSource]> = sources.into_iter().collect();
        check(&sources)?;
        let layer = IdempotencyLayer::single_tenant(sentinel).policy(Policy::new().retention(RETENTION));
        let receiver = Self {
            sources,
            clock: Arc::new(SystemClock),
            options: layer.into_options(),
            reading: Admission::new(Limits::default()),
        };
        Ok(receiver.limits(Limits::default()))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    /// ttl, hard ttl, late effects and retention of the runs. Default 10 s, 60 s, 1 min and 7 days; a field that the
    /// policy does not set keeps its value. After the retention a repeated message would be handled again: choose a
    /// longer one than the senders' last repetition.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|options| options.sentinel = options.sentinel.clone().policy(policy))
    }

    /// How long a message that is being handled already waits for the result, before it gets 409. Default 10 s; zero
    /// does not wait.
    #[must_use]
    pub fn wait(self, at_most: Duration) -> Self {
        self.with(|options| options.in_flight = InFlight::Wait(at_most))
    }

    /// The largest body of a message in bytes (413), and the time within which it must have arrived (408). Default 1
    /// MiB and 10 s.
    #[must_use]
    pub fn request_limit(self, bytes: usize, within: Duration) -> Self {
        self.with(|options| (options.request_limit, options.request_within) = (bytes, within))
    }

    /// The largest body of an answer that is stored. Default 1 MiB. A larger one is passed on whole to the first
    /// caller, without a receipt, and later callers get its status.
    #[must_use]
    pub fn response_limit(self, bytes: usize) -> Self {
        self.with(|options| options.response_limit = bytes)
    }

    /// How much the receiver takes on at once. Each source has its share. Bodies that are read before their source is
    /// known have a budget of their own, which is as large. Set it before the receiver is cloned.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        // One source leaves no share to others, and before the signature is verified there are no scopes.
        let shares = if self.sources.len() == 1 { 1 } else { limits.shares };
        self.reading = Admission::new(Limits { shares: 1, ..limits });
        self.with(|options| options.admission = Admission::new(Limits { shares, ..limits }))
    }

    /// Where problem documents are explained: their field `Link` with `rel="describedby"`. **Panics** if the address is
    /// not the text of a field.
    #[must_use]
    pub fn help(self, address: &str) -> Self {
        let link = HeaderValue::from_str(&format!("<{address}>; rel=\"describedby\""));
        let link = link.unwrap_or_else(|_| panic!("{address:?} is not an address"));
        self.with(|options| options.help = Some(link))
    }

    /// The name of the route in metrics. With axum it is the matched path by default.
    #[must_use]
    pub fn route(self, name: &'static str) -> Self {
        self.with(|options| options.route = Some(name))
    }

    /// Takes the time from this clock: for tests.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }
}

impl fmt::Debug for WebhookReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookReceiver").field("sources", &self.sources).finish_non_exhaustive()
    }
}

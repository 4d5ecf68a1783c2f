//! Middleware for `reqwest`: it sends the idempotency key and the fence of a run, and judges what an answer proves.
//!
//! ```
//! use reqwest::redirect::Policy;
//! use reqwest_middleware::ClientBuilder;
//! use sentinel_client::Run;
//! use sentinel_http::{Certainty, FenceKey, SentinelHeaders, WithRun as _, certainty};
//!
//! # fn build() -> Result<reqwest_middleware::ClientWithMiddleware, Box<dyn std::error::Error>> {
//! let key = FenceKey::new("2026-11", "a secret of at least thirty-two bytes")?;
//! let http = ClientBuilder::new(reqwest::Client::builder().redirect(Policy::none()).build()?)
//!     .with(SentinelHeaders::new().sign_with(key).to(["ledger.internal"]))
//!     .build();
//! # Ok(http) }
//! # async fn book(http: reqwest_middleware::ClientWithMiddleware, run: Run) {
//! let answer = http.post("https://ledger.internal/entries").with_run(&run, "book").body("{}").send().await;
//! match certainty(&answer) {
//!     Certainty::Happened => println!("booked"),
//!     Certainty::Refused => println!("refused for good"),
//!     Certainty::NothingHappened => println!("not booked: the run may vouch for that"),
//!     Certainty::Unknown => println!("it may be booked"),
//! }
//! # }
//! ```

mod body;
mod certainty;
mod document;
mod hosts;
mod redirects;
mod with_run;

use std::sync::Arc;

use http::{Extensions, HeaderValue};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use sentinel_client::sentinel_core::Clock;
use sentinel_client::{Attempt, Effect};

use self::body::watch;
use self::certainty::{Judged, Reply};
use self::document::read_document;
use self::hosts::{Host, listed};
use self::with_run::Sending;
use crate::cause::{SENTINEL_CAUSE, cause_fields};
use crate::fence::{FenceKey, FenceSigner, SENTINEL_FENCE};
use crate::key::IDEMPOTENCY_KEY;

pub use self::certainty::{Certainty, Refusal, SendError, certainty};
pub use self::with_run::WithRun;

/// Middleware that sends the headers of a run, for requests with [`with_run`](WithRun::with_run). Other requests pass
/// unchanged.
///
/// - `Idempotency-Key` goes to each host: the key of the run for the request's label, which is the same for each try.
/// - `Sentinel-Fence` and `Sentinel-Cause` go to listed hosts only, see [`to`](Self::to), and with the cause the
///   `traceparent` of its trace, unless the request has one.
///
/// It never sends a request twice, and neither does the client for a request of a run, whatever its retry policy is:
/// only a request of which no byte was sent is moved to another connection. A client that follows redirects is refused
/// before anything is sent, because it would send the key to another host.
#[derive(Debug, Clone, Default)]
#[must_use = "add it to a client with `ClientBuilder::with`"]
pub struct SentinelHeaders {
    signer: Option<FenceSigner>,
    hosts: Vec<Host>,
    honours_keys: bool,
    redirects_are_off: bool,
}

impl SentinelHeaders {
    /// Sends keys only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends fences to listed hosts, signed with this key.
    pub fn sign_with(self, key: FenceKey) -> Self {
        Self { signer: Some(FenceSigner::new(key)), ..self }
    }

    /// Sends fences to listed hosts without a signature, for networks in which mutual TLS authenticates the sender.
    pub fn unsigned(self) -> Self {
        Self { signer: Some(FenceSigner::unsigned()), ..self }
    }

    /// Lists hosts, as `name` or `name:port`: services of your own. They get fences, and what their problem documents
    /// state about an effect is trusted. The audience of their fences is the host as it is written here, which is the
    /// name to give to their [`FenceVerifier`](crate::FenceVerifier); [`to_audience`](Self::to_audience) sets another.
    ///
    /// # Panics
    ///
    /// If a host is not `name` or `name:port`, for example a URL.
    pub fn to(self, hosts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        hosts.into_iter().fold(self, |this, host| this.to_audience(host.as_ref(), host.as_ref()))
    }

    /// Lists a host whose fences are for this audience.
    ///
    /// # Panics
    ///
    /// If the host is not `name` or `name:port`.
    pub fn to_audience(mut self, host: impl AsRef<str>, audience: impl Into<String>) -> Self {
        self.hosts.push(Host::new(host.as_ref(), audience.into()));
        self
    }

    /// States that all hosts treat requests with one key as one request. Then a refusal after an attempt with an
    /// unknown effect is accepted as a refusal of that attempt, too.
    pub fn provider_honours_keys(self) -> Self {
        Self { honours_keys: true, ..self }
    }

    /// States that the client does not follow redirects, and skips the check. The check reads the policy in the `Debug`
    /// output of the client; this is for a version of `reqwest` that shows it in another form.
    pub fn redirects_are_off(self) -> Self {
        Self { redirects_are_off: true, ..self }
    }

    /// Takes the time for fences from this clock: for tests.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { signer: self.signer.map(|signer| signer.clock(clock)), ..self }
    }

    /// Adds the headers. An error means that the request must not be sent.
    fn prepare(&self, request: &mut Request, sending: &Sending) -> Result<(), Refusal> {
        if sending.may_follow_redirects && !self.redirects_are_off {
            return Err(Refusal::FollowsRedirects);
        }
        if request.headers().contains_key(IDEMPOTENCY_KEY) {
            return Err(Refusal::HasKey);
        }
        let key = sending.run.idempotency_key_for(&sending.label);
        let key = HeaderValue::try_from(key).unwrap_or_else(|_| unreachable!("a key is hexadecimal"));
        // None: the host is not listed. Some(None): it gets no fence.
        let fence = listed(&self.hosts, request.url())
            .map(|host| self.signer.as_ref().map(|signer| signer.sign(&sending.run, &host.audience)));
        let headers = request.headers_mut();
        headers.insert(IDEMPOTENCY_KEY, key);
        // A field of another origin must not reach a host, listed or not.
        headers.remove(SENTINEL_FENCE);
        headers.remove(SENTINEL_CAUSE);
        let Some(fence) = fence else { return Ok(()) };
        if let Some(fence) = fence {
            headers.insert(SENTINEL_FENCE, fence);
        }
        for (name, value) in cause_fields(&sending.run) {
            // The trace context of a middleware that exports spans is the better one.
            if let Some(name) = name.filter(|name| !headers.contains_key(name)) {
                headers.insert(name, value);
            }
        }
        Ok(())
    }

    /// What an answer proves about the effect of the request, together with earlier ones of the same run and label.
    fn judge(&self, attempt: Attempt, own: Certainty) -> Certainty {
        let effect = match own {
            Certainty::Happened => Effect::Happened,
            Certainty::Refused | Certainty::NothingHappened => Effect::None,
            Certainty::Unknown => Effect::Unknown,
        };
        match attempt.end(effect, own == Certainty::Refused && self.honours_keys) {
            Effect::Happened => Certainty::Happened,
            Effect::None => own,
            Effect::Unknown => Certainty::Unknown,
        }
    }
}

#[async_trait::async_trait]
impl Middleware for SentinelHeaders {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let Some(sending) = extensions.get::<Sending>().cloned() else {
            return next.run(request, extensions).await;
        };
        if let Err(refusal) = self.prepare(&mut request, &sending) {
            return Err(self.refused(&sending, refusal));
        }
        let url = request.url().clone();
        let is_listed = listed(&self.hosts, &url).is_some();
        let is_read = watch(request.body_mut());
        // From here on an attempt that is dropped has an unknown effect.
        let attempt = sending.run.attempt(&sending.label);
        match next.run(request, extensions).await {
            Ok(response) => {
                let (mut response, document) = read_document(response).await;
                let own = if response.url() == &url {
                    Reply::of(&response, document, is_listed).certainty()
                } else {
                    tracing::error!("the client has followed a redirect, which sends the key to another URL");
                    Certainty::Unknown
                };
                let judged = Judged(self.judge(attempt, own));
                response.extensions_mut().insert(judged);
                Ok(response)
            }
            Err(Error::Reqwest(error)) => {
                let is_unsent = error.is_connect() && !is_read.get();
                let own = if is_unsent { Certainty::NothingHappened } else { Certainty::Unknown };
                Err(match self.judge(attempt, own) {
                    Certainty::Unknown => Error::Reqwest(error),
                    judged => Error::middleware(SendError::failed(judged, error)),
                })
            }
            // Of other middleware it is not known what it has sent.
            Err(error) => {
                self.judge(attempt, Certainty::Unknown);
                Err(error)
            }
        }
    }
}

impl SentinelHeaders {
    /// The error for a request that was not sent.
    fn refused(&self, sending: &Sending, refusal: Refusal) -> Error {
        let attempt = sending.run.attempt(&sending.label);
        Error::middleware(SendError::refused(self.judge(attempt, Certainty::NothingHappened), refusal))
    }
}

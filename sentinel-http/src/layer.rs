//! The layer and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use sentinel_client::{Policy, Sentinel};
use tower_layer::Layer;

use crate::admission::{Admission, Limits};
use crate::fingerprint::Identity;
use crate::options::{InFlight, Options};
use crate::problem::Problem;
use crate::response::forbidden;
use crate::scope::Scope;
use crate::service::IdempotencyService;
use crate::status::StatusRoute;

/// Runs the handler of a request with an `Idempotency-Key` at most once per key, and replays its response to every
/// later request with that key.
///
/// Put it on routes, not on a router with a fallback, so that 404 and 405 are not recorded. What belongs outside of it:
/// authentication, rate limits, CORS, compression, for their answers depend on the caller and the moment. Middleware
/// inside of it must have no effect of its own. Clones share their limits; every other option is per clone, so a route
/// can have its own.
///
/// | The handler ended with | The record | A retry gets |
/// |---|---|---|
/// | 2xx, 3xx | the response | a replay |
/// | 4xx except 408, 425, 429 | the response, as a final failure | a replay |
/// | 408, 425, 429, 5xx, a panic | uncertain | the problem `uncertain`; nothing runs until it is reconciled |
/// | a response with [`NothingHappened`](crate::NothingHappened) | free | a new run |
/// | a response with [`Happened`](crate::Happened) or [`FailedForGood`](crate::FailedForGood) | the response | replay |
///
/// The handler runs in a task of its own: a caller who disconnects does not end it.
#[derive(Clone)]
pub struct IdempotencyLayer {
    options: Arc<Options>,
}

impl IdempotencyLayer {
    /// A layer for a service with many owners of keys: `scope` finds the owner of a request's key. Without one the
    /// request gets 403, and nothing runs. Two owners never share a record.
    ///
    /// ```compile_fail
    /// # fn layer(sentinel: sentinel_client::Sentinel) {
    /// sentinel_http::IdempotencyLayer::new(sentinel); // who owns the keys?
    /// # }
    /// ```
    pub fn new(sentinel: Sentinel, scope: impl Fn(&Parts) -> Option<Scope> + Send + Sync + 'static) -> Self {
        Self::build(sentinel, Some(Arc::new(scope)))
    }

    /// A layer for a service whose callers may all see each other's responses, for example because there is one caller.
    pub fn single_tenant(sentinel: Sentinel) -> Self {
        Self::build(sentinel, None)
    }

    fn build(sentinel: Sentinel, find_scope: Option<crate::options::FindScope>) -> Self {
        Self { options: Arc::new(Options::new(sentinel, find_scope)) }.policy(Self::default_policy())
    }

    /// ttl 10 s, hard ttl 60 s, late effects 1 min, retention 24 h.
    fn default_policy() -> Policy {
        Policy::new()
            .ttl(Duration::from_secs(10))
            .hard_ttl(Duration::from_secs(60))
            .late_effects(Duration::from_secs(60))
            .retention(Duration::from_secs(24 * 60 * 60))
    }

    /// Its options, for another front of the same steps.
    pub(crate) fn into_options(self) -> Arc<Options> {
        self.options
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.options));
        self
    }

    /// A request without a key gets 400. This is the default.
    #[must_use]
    pub fn required(self) -> Self {
        self.with(|options| options.required = true)
    }

    /// A request without a key is passed on, and may run twice.
    #[must_use]
    pub fn optional(self) -> Self {
        self.with(|options| options.required = false)
    }

    /// The methods of which requests have keys. Default POST and PATCH. **Panics** for GET, HEAD, OPTIONS and TRACE:
    /// they have no effect that a record could protect.
    #[must_use]
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        let methods: Vec<Method> = methods.into_iter().collect();
        for method in &methods {
            assert!(!method.is_safe(), "a request with the method {method} never creates a record");
        }
        self.with(|options| options.methods = methods)
    }

    /// Records the cause that a request states, of every sender: for services that only services of your own can
    /// reach. Without this, only a [`TrustedCause`](crate::TrustedCause) is recorded, which a verified fence makes.
    #[must_use]
    pub fn trust_causes(self) -> Self {
        self.with(|options| options.trusts_causes = true)
    }

    /// ttl, hard ttl, late effects and retention of the runs. Default 10 s, 60 s, 1 min and 24 h; a field that the
    /// policy does not set keeps its value. The layer waits as [`in_flight`](Self::in_flight) states, whatever the
    /// policy's wait is.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|options| options.sentinel = options.sentinel.clone().policy(policy))
    }

    /// What a request gets whose key belongs to a run in progress. Default: it waits for 10 s.
    #[must_use]
    pub fn in_flight(self, in_flight: InFlight) -> Self {
        self.with(|options| {
            options.in_flight = in_flight;
            if let InFlight::Accepted { status } = in_flight {
                options.status_at = Some(status);
            }
        })
    }

    /// Serves [`status`](Self::status) at this path. A caller can then ask for an answer at once, by
    /// `Prefer: respond-async`.
    #[must_use]
    pub fn status_at(self, path: &'static str) -> Self {
        self.with(|options| options.status_at = Some(path))
    }

    /// The status route of this layer: what became of a request.
    pub fn status(&self) -> StatusRoute {
        StatusRoute::new(self.options.clone())
    }

    /// Where problem documents are explained: their field `Link` with `rel="describedby"`. **Panics** if the address is
    /// not the text of a field.
    #[must_use]
    pub fn help(self, address: &str) -> Self {
        let link = HeaderValue::from_str(&format!("<{address}>; rel=\"describedby\""));
        let link = link.unwrap_or_else(|_| panic!("{address:?} is not an address"));
        self.with(|options| options.help = Some(link))
    }

    /// Another status for a problem, for example 425 for one in progress.
    #[must_use]
    pub fn status_of(self, problem: Problem, status: StatusCode) -> Self {
        self.with(|options| options.mapped.push((problem, status)))
    }

    /// Statuses by which this route states that nothing happened, for example 429 of its own limit.
    #[must_use]
    pub fn nothing_happened_on(self, statuses: impl IntoIterator<Item = u16>) -> Self {
        let statuses = all_statuses(statuses);
        self.with(|options| options.statuses.nothing_happened.extend(statuses))
    }

    /// Statuses by which this route states that the request failed for good.
    #[must_use]
    pub fn failed_for_good_on(self, statuses: impl IntoIterator<Item = u16>) -> Self {
        let statuses = all_statuses(statuses);
        self.with(|options| options.statuses.failed_for_good.extend(statuses))
    }

    /// Stores and replays one more field of responses. **Panics** if the field belongs to one caller, one connection or
    /// one moment, such as `set-cookie`.
    #[must_use]
    pub fn replay_header(self, name: &'static str) -> Self {
        let name = HeaderName::from_static(name);
        if let Some(why) = forbidden(&name) {
            panic!("the field {name} cannot be replayed: {why}");
        }
        self.with(|options| options.replay_headers.push(name))
    }

    /// Fields that are a part of a request's fingerprint, for example `accept` where the answer depends on it.
    #[must_use]
    pub fn fingerprint_headers(self, names: impl IntoIterator<Item = &'static str>) -> Self {
        let names: Vec<HeaderName> = names.into_iter().map(HeaderName::from_static).collect();
        self.with(|options| options.fingerprint.headers.extend(names))
    }

    /// Compares bodies as JSON: the order of members, white space and escapes do not count. Numbers are compared as
    /// they are written. What is not JSON, has a member twice or is nested deeper than 127 levels is compared as bytes.
    #[must_use]
    pub fn fingerprint_json(self) -> Self {
        self.with(|options| options.fingerprint.body = Identity::Json)
    }

    /// What identifies a body, in place of its bytes. For multipart bodies, whose boundary differs between tries.
    #[must_use]
    pub fn fingerprint(self, identify: impl Fn(&Parts, &[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.with(|options| options.fingerprint.body = Identity::Custom(Arc::new(identify)))
    }

    /// Passes bodies on as they arrive, for uploads. The fields `Content-Length` and `Content-Digest` represent the
    /// body in the fingerprint, and the layer limits neither its size nor its time. A caller who disconnects ends the
    /// body, and the handler decides what that means.
    #[must_use]
    pub fn stream_body(self) -> Self {
        self.with(|options| options.fingerprint.body = Identity::Described)
    }

    /// Makes fingerprints with a secret, for bodies that could be guessed by someone who can read the store. Requests
    /// that were recorded under another secret, or none, get 422 until their retention ends.
    #[must_use]
    pub fn fingerprint_secret(self, secret: impl AsRef<[u8]>) -> Self {
        let secret: Arc<[u8]> = secret.as_ref().into();
        self.with(|options| options.fingerprint.secret = Some(secret))
    }

    /// The largest body of a request in bytes (413), and the time within which it must have arrived (408). Default 1
    /// MiB and 10 s.
    #[must_use]
    pub fn request_limit(self, bytes: usize, within: Duration) -> Self {
        self.with(|options| (options.request_limit, options.request_within) = (bytes, within))
    }

    /// The largest body of a response that is stored. Default 1 MiB. A larger one is passed on whole to the first
    /// caller, and later callers get 410.
    #[must_use]
    pub fn response_limit(self, bytes: usize) -> Self {
        self.with(|options| options.response_limit = bytes)
    }

    /// How long a run waits for the inner service to be ready. Default 5 s. Then nothing has happened, and the request
    /// gets 503.
    #[must_use]
    pub fn ready_within(self, at_most: Duration) -> Self {
        self.with(|options| options.ready_within = at_most)
    }

    /// How much the layer takes on at once. Set it before the layer is cloned: clones made before keep their limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|options| options.admission = Admission::new(limits))
    }

    /// The name of the route in metrics. With axum it is the matched path by default.
    #[must_use]
    pub fn route(self, name: &'static str) -> Self {
        self.with(|options| options.route = Some(name))
    }
}

fn all_statuses(statuses: impl IntoIterator<Item = u16>) -> Vec<StatusCode> {
    let status = |code| StatusCode::from_u16(code).unwrap_or_else(|_| panic!("{code} is not a status"));
    statuses.into_iter().map(status).collect()
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer").field("options", &self.options).finish()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService::new(inner, self.options.clone())
    }
}

//! The options of a layer, which the service and the status route read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use sentinel_client::Sentinel;

use crate::admission::{Admission, Limits};
use crate::classify::StatusRules;
use crate::fingerprint::FingerprintOptions;
use crate::problem::Problem;
use crate::scope::Scope;

/// What a request gets whose key belongs to a run in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// It waits for the result for at most this long, and then gets 409.
    Wait(Duration),
    /// It gets 409 at once.
    Conflict,
    /// It gets 202 at once, with the address of the result: the status route, which is served at this path.
    Accepted {
        /// The path of the status route, for example `/requests`.
        status: &'static str,
    },
}

/// Finds the owner of a request's key.
pub(crate) type FindScope = Arc<dyn Fn(&Parts) -> Option<Scope> + Send + Sync>;

/// Everything that a layer was given.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) sentinel: Sentinel,
    /// None: all keys have one owner.
    pub(crate) find_scope: Option<FindScope>,
    pub(crate) required: bool,
    /// Whether the cause of any request is recorded.
    pub(crate) trusts_causes: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) in_flight: InFlight,
    /// The path of the status route.
    pub(crate) status_at: Option<&'static str>,
    pub(crate) fingerprint: FingerprintOptions,
    pub(crate) statuses: StatusRules,
    pub(crate) replay_headers: Vec<HeaderName>,
    pub(crate) request_limit: usize,
    pub(crate) request_within: Duration,
    pub(crate) response_limit: usize,
    pub(crate) ready_within: Duration,
    /// Other statuses of problem documents.
    pub(crate) mapped: Vec<(Problem, StatusCode)>,
    /// The field `Link` of problem documents.
    pub(crate) help: Option<HeaderValue>,
    pub(crate) admission: Arc<Admission>,
    /// The name of the route in metrics; None: the router's, if it has one.
    pub(crate) route: Option<&'static str>,
    /// Whether a recorded 401 was reported.
    pub(crate) recorded_401: Arc<AtomicBool>,
}

impl Options {
    pub(crate) const REQUEST_LIMIT: usize = 1 << 20;
    pub(crate) const RESPONSE_LIMIT: usize = 1 << 20;
    pub(crate) const REQUEST_WITHIN: Duration = Duration::from_secs(10);
    pub(crate) const READY_WITHIN: Duration = Duration::from_secs(5);
    pub(crate) const WAIT: Duration = Duration::from_secs(10);

    pub(crate) fn new(sentinel: Sentinel, find_scope: Option<FindScope>) -> Self {
        // With one owner of all keys there is no one to leave a share to.
        let shares = if find_scope.is_some() { Limits::default().shares } else { 1 };
        Self {
            sentinel,
            find_scope,
            required: true,
            trusts_causes: false,
            methods: vec![Method::POST, Method::PATCH],
            in_flight: InFlight::Wait(Self::WAIT),
            status_at: None,
            fingerprint: FingerprintOptions::default(),
            statuses: StatusRules::default(),
            replay_headers: Vec::new(),
            request_limit: Self::REQUEST_LIMIT,
            request_within: Self::REQUEST_WITHIN,
            response_limit: Self::RESPONSE_LIMIT,
            ready_within: Self::READY_WITHIN,
            mapped: Vec::new(),
            help: None,
            admission: Admission::new(Limits { shares, ..Limits::default() }),
            route: None,
            recorded_401: Arc::default(),
        }
    }

    /// The owner of a request's key; None: it is not known.
    pub(crate) fn scope_of(&self, parts: &Parts) -> Option<Scope> {
        match &self.find_scope {
            Some(find) => find(parts).filter(|scope| scope.as_str().is_some()),
            None => Some(Scope::new("-")),
        }
    }

    /// The name of a request's route in metrics: a template, never a path, of which there are any number.
    pub(crate) fn route_of(&self, parts: &Parts) -> String {
        let of_router = || -> Option<String> {
            #[cfg(feature = "axum")]
            if let Some(matched) = parts.extensions.get::<axum::extract::MatchedPath>() {
                return Some(matched.as_str().to_owned());
            }
            let _ = parts;
            None
        };
        self.route.map(str::to_owned).or_else(of_router).unwrap_or_else(|| "-".to_owned())
    }

    /// A recorded 401 is replayed to a caller who has signed in since: authentication belongs outside of the layer.
    pub(crate) fn warn_of_recorded_401(&self) {
        if !self.recorded_401.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a response with status 401 was recorded, and will be replayed; put authentication outside of the \
                 idempotency layer"
            );
        }
    }

    /// The status of a problem.
    pub(crate) fn status_of(&self, problem: Problem) -> StatusCode {
        let mapped = self.mapped.iter().rev().find(|(of, _)| *of == problem);
        mapped.map_or(problem.status(), |(_, status)| *status)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("required", &self.required)
            .field("methods", &self.methods)
            .field("in_flight", &self.in_flight)
            .field("fingerprint", &self.fingerprint)
            .field("replay_headers", &self.replay_headers)
            .finish_non_exhaustive()
    }
}

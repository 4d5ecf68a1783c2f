//! The steps of a request with a key, in their order.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use sentinel_client::sentinel_core::operation::Current;
use sentinel_client::sentinel_core::{Fingerprint, Key, RecordedResult, State};
use sentinel_client::{Error, Failure, Outcome, Waited};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower_service::Service;

use crate::body::{self, Body, BoxError, Unread};
use crate::cause;
use crate::count::count;
use crate::fingerprint::{Identity, fingerprint};
use crate::handling::{Cause, Handling, Presence, Progress};
use crate::inner::Inner;
use crate::key::key_of;
use crate::options::{InFlight, Options};
use crate::prefer::{PREFERENCE_APPLIED, Preferences};
use crate::problem::Problem;
use crate::report::Report;

/// A service behind an [`IdempotencyLayer`](crate::IdempotencyLayer). It never fails, and is always ready: the
/// readiness of the inner service is awaited only before its handler runs, so replays never wait for it.
#[derive(Clone)]
pub struct IdempotencyService<S> {
    inner: S,
    options: Arc<Options>,
}

impl<S> IdempotencyService<S> {
    pub(crate) fn new(inner: S, options: Arc<Options>) -> Self {
        Self { inner, options }
    }
}

impl<S> fmt::Debug for IdempotencyService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyService").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for IdempotencyService<S>
where
    S: Service<Request<Body>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (inner, options, request) = (self.inner.clone(), self.options.clone(), request.map(Body::new));
        Box::pin(async move { Ok(serve(inner, options, request).await) })
    }
}

async fn serve(service: impl Inner, options: Arc<Options>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if !options.methods.contains(&parts.method) {
        return pass(service, parts, body).await;
    }
    let route = options.route_of(&parts);
    let response = match identify(&options, &parts) {
        Ok(None) => return pass(service, parts, body).await,
        Ok(Some(named)) => handle(service, options, parts, body, named).await,
        Err(refused) => *refused,
    };
    count(route, &response);
    response
}

/// Passes a request on as it is. The inner service's error becomes 500, because this service has none.
async fn pass(mut service: impl Inner, parts: Parts, body: Body) -> Response<Body> {
    let answered = match service.ready().await {
        Ok(()) => service.handle(Request::from_parts(parts, body)).await,
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "the service behind the layer failed");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// The names of a request: its key as the caller wrote it, and the record's key and scope.
pub(crate) struct Named {
    pub(crate) key: String,
    pub(crate) record: Key,
    pub(crate) scope: Arc<str>,
    /// The fingerprint; None: it is made of the request.
    pub(crate) digest: Option<String>,
}

/// Key and scope of a request, before anything of its body is read. None: it has no key and needs none.
fn identify(options: &Options, parts: &Parts) -> Result<Option<Named>, Box<Response<Body>>> {
    let key = match key_of(&parts.headers) {
        Ok(None) if !options.required => return Ok(None),
        Ok(None) => {
            let detail = "This request needs a field Idempotency-Key, with a new value for each new request.";
            return Err(Box::new(options.plain(Problem::KeyMissing, detail)));
        }
        Ok(Some(key)) => key,
        Err(error) => {
            let detail = format!("The field Idempotency-Key cannot be used: {error}. Nothing ran.");
            return Err(Box::new(
                options.problem(|problem| Report::new(problem, detail), Problem::KeyMalformed),
            ));
        }
    };
    if is_unsupported(parts) {
        let detail = "An upgrade or a gRPC call has no response that could be replayed. Nothing ran.";
        return Err(Box::new(options.plain(Problem::Unsupported, detail)));
    }
    let named = options.scope_of(parts).and_then(|scope| {
        let record = scope.record_key(&key)?;
        Some(Named { key, record, scope: scope.as_str()?.into(), digest: None })
    });
    named.map(Some).ok_or_else(|| {
        let detail = "The service does not know who owns this key. Nothing ran.";
        Box::new(options.plain(Problem::ScopeMissing, detail))
    })
}

fn is_unsupported(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    parts.headers.contains_key(header::UPGRADE) || kind.to_ascii_lowercase().starts_with(b"application/grpc")
}

/// Handles a request whose names are known, at most once.
pub(crate) async fn handle(
    service: impl Inner,
    options: Arc<Options>,
    mut parts: Parts,
    body: Body,
    named: Named,
) -> Response<Body> {
    let preferences = Preferences::of(&parts.headers);
    let is_read = !matches!(options.fingerprint.body, Identity::Described);
    let limit = options.request_limit;
    let reserved = if is_read { body::to_reserve(&body, limit) } else { Some(0) };
    let Some(reserved) = reserved else { return too_large(&options) };
    let Some(admitted) = options.admission.run(&named.scope, reserved) else {
        let detail = "The service has too many requests in progress. This call did not run. Send it again.";
        return options.plain(Problem::Busy, detail);
    };
    let (bytes, body) = match is_read {
        true => match body::read(body, limit, options.request_within).await {
            Ok(bytes) => (bytes.clone(), Body::from(bytes)),
            Err(Unread::TooLarge) => return too_large(&options),
            Err(Unread::TooSlow) => {
                let detail = "The body of the request did not arrive in time. This call did not run.";
                return options.plain(Problem::BodyTooSlow, detail);
            }
        },
        false => (Bytes::new(), body),
    };
    let of_request = || fingerprint(&parts, received_path(&parts), &bytes, &options.fingerprint);
    let digits = named.digest.clone().unwrap_or_else(of_request);
    let Ok(fingerprint) = Fingerprint::new(&digits) else { return options.not_run() };
    drop(bytes);
    // The handler answers without a content coding, so that a replay suits each caller. Compression belongs outside.
    parts.headers.remove(header::ACCEPT_ENCODING);
    let (reports, progress) = unbounded_channel();
    let (here, presence) = Presence::new();
    let cause = cause::trusted(&parts, options.trusts_causes);
    let request = Request::from_parts(parts, body);
    let handling = Handling { service, request, options: options.clone(), reports, admitted, presence };
    let once =
        options.sentinel.once::<Cause>(named.record.as_str()).wait(Duration::ZERO).fingerprint_text(&digits);
    let once = match cause {
        Some(cause) => once.cause(cause),
        None => once,
    };
    let once = Box::pin(once.run_recorded(move |run| handling.run(run)));
    let call = Call { options: &options, named: &named, fingerprint: &fingerprint, preferences };
    let response = call.answer(once, progress).await;
    here.answered();
    response
}

fn too_large(options: &Options) -> Response<Body> {
    let detail = format!("The body may have at most {} bytes. Nothing ran.", options.request_limit);
    options.problem(|problem| Report::new(problem, detail), Problem::BodyTooLarge)
}

/// The path as it was received, before a router removed a prefix.
fn received_path(parts: &Parts) -> &str {
    #[cfg(feature = "axum")]
    if let Some(original) = parts.extensions.get::<axum::extract::OriginalUri>() {
        return original.0.path();
    }
    parts.uri.path()
}

/// One call of a request with a key, from its claim on.
struct Call<'a> {
    options: &'a Options,
    named: &'a Named,
    fingerprint: &'a Fingerprint,
    preferences: Preferences,
}

/// The outcome of the call's `once`.
type Ended = Result<Outcome<RecordedResult, Cause>, Error>;

impl Call<'_> {
    async fn answer<F>(
        &self,
        mut once: std::pin::Pin<Box<F>>,
        mut progress: UnboundedReceiver<Progress>,
    ) -> Response<Body>
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let (mut token, mut live) = (None, None);
        let ended = loop {
            tokio::select! {
                biased;
                Some(progress) = progress.recv() => match progress {
                    Progress::Begun(begun) => {
                        token = Some(begun);
                        if let Some(accepted) = self.accepted() {
                            // The handler runs in a task of its own; this one only counts its outcome.
                            drop(tokio::spawn(once));
                            return accepted;
                        }
                    }
                    Progress::Streaming(response) => {
                        drop(tokio::spawn(once));
                        return response;
                    }
                    Progress::Whole(response) => live = Some(response),
                },
                ended = &mut once => break ended,
            }
        };
        while let Ok(progress) = progress.try_recv() {
            match progress {
                Progress::Begun(begun) => token = Some(begun),
                Progress::Streaming(response) | Progress::Whole(response) => live = Some(response),
            }
        }
        let options = self.options;
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(Error::FingerprintMismatch) => return options.key_reused(),
            Err(Error::ResultNotStored(recorded) | Error::Undecodable { recorded, .. }) => {
                return options.replay(&recorded);
            }
            Err(error @ (Error::Invalid(_) | Error::Store(_))) => {
                tracing::error!(%error, "a request with a key could not run");
                return options.not_run();
            }
        };
        match outcome {
            Outcome::Completed(_)
            | Outcome::CompletedNotStored(..)
            | Outcome::Failed(Failure::ForGood(_) | Failure::NothingHappened(_) | Failure::Preparation(_)) => {
                // Each run reports its response before it ends.
                live.unwrap_or_else(|| options.not_run())
            }
            Outcome::Replayed(recorded) => options.replay(&recorded),
            Outcome::Failed(Failure::Replayed(failure)) => options.replay(&failure.recorded),
            Outcome::InProgress(_) => self.wait().await,
            Outcome::Uncertain(uncertain) => options.uncertain(&uncertain),
            Outcome::Reconciling(by) => options.reconciling(&by),
            Outcome::NotRun(reason) => {
                tracing::warn!(%reason, "a request with a key did not run");
                options.not_run()
            }
            Outcome::RanUncertain(ran) => options.ran(live, Some(ran.token), "uncertain"),
            // The effect is real, and the result is sent in the background until the store has it.
            Outcome::Unconfirmed(_) => options.ran(live, token, "fresh"),
            Outcome::Superseded(_, current) => self.superseded(current).await,
        }
    }

    /// An answer at once to a caller who prefers that, where there is a status route.
    fn accepted(&self) -> Option<Response<Body>> {
        let status_at = self.options.status_at.filter(|_| self.preferences.respond_async)?;
        let mut accepted = self.options.accepted(status_at, &self.named.key);
        accepted.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
        Some(accepted)
    }

    /// The key belongs to a run in progress. What this call held is given back already.
    async fn wait(&self) -> Response<Body> {
        if let Some(accepted) = self.accepted() {
            return accepted;
        }
        let options = self.options;
        let at_most = match options.in_flight {
            InFlight::Wait(at_most) => at_most,
            InFlight::Conflict => return options.in_progress(),
            InFlight::Accepted { status } => return options.accepted(status, &self.named.key),
        };
        let preferred = self.preferences.wait.filter(|preferred| *preferred < at_most);
        let Some(waiting) = options.admission.wait(&self.named.record) else { return options.in_progress() };
        let mut response = self.waited(preferred.unwrap_or(at_most)).await;
        drop(waiting);
        if let Some(preferred) = preferred
            && let Ok(applied) = HeaderValue::from_str(&format!("wait={}", preferred.as_secs()))
        {
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        response
    }

    async fn waited(&self, at_most: Duration) -> Response<Body> {
        let options = self.options;
        match options.sentinel.wait(self.named.record.as_str()).at_most(at_most).await {
            Ok(Waited::Completed(completed)) => {
                // The record may be of another request by now.
                match completed.is_of(Some(self.fingerprint)) {
                    true => options.replay(&completed.result),
                    false => options.key_reused(),
                }
            }
            // Free again: the body is gone, so this call cannot run it.
            Ok(Waited::InProgress(_) | Waited::Absent) => options.in_progress(),
            Ok(Waited::Uncertain(uncertain)) => options.uncertain(&uncertain),
            Ok(Waited::Reconciling(by)) => options.reconciling(&by),
            Err(error) => {
                tracing::warn!(%error, "a caller could not wait for a run");
                options.not_run()
            }
        }
    }

    /// An operator decided while the handler ran: the record counts.
    async fn superseded(&self, current: Current) -> Response<Body> {
        tracing::warn!(state = %current.state, "the result of a handler came after a decision about its key");
        if current.state == State::Completed {
            return self.waited(Duration::ZERO).await;
        }
        let detail = "The request was begun, and a decision about it was made before its result was recorded. Do not \
                      send it under another key.";
        let report = |problem| Report::new(problem, detail).support(current.token);
        self.options.problem(report, Problem::Uncertain)
    }
}

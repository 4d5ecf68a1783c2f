//! One run of the handler, in a task that a caller who goes away does not end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::response::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use metrics::gauge;
use sentinel_client::sentinel_core::{Label, RecordedResult, Token};
use sentinel_client::{Ending, Run};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use crate::admission::Running;
use crate::body::Body;
use crate::classify::Class;
use crate::inner::Inner;
use crate::options::Options;
use crate::problem::Problem;
use crate::record::{DependsOnCommit, RecordedInTransaction, ReplayHeaders, recorded};
use crate::report::Report;
use crate::stream::{Capture, Captured};
use crate::vouch::Vouched;

/// How a handler ended, for logs; the caller gets its response.
#[derive(Debug)]
pub(crate) struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the run reports to its caller.
pub(crate) enum Progress {
    /// The handler runs now.
    Begun(Token),
    /// The response, with a body that is still being read.
    Streaming(Response<Body>),
    /// The whole response. It is sent once the outcome is known.
    Whole(Response<Body>),
}

/// A handler that is ready to run.
pub(crate) struct Handling<S> {
    pub(crate) service: S,
    pub(crate) request: Request<Body>,
    pub(crate) options: Arc<Options>,
    pub(crate) reports: UnboundedSender<Progress>,
    /// Given back when the handler has ended, or when the claim is refused.
    pub(crate) admitted: Running,
    pub(crate) presence: Arc<Presence>,
}

impl<S: Inner> Handling<S> {
    /// Runs the handler, and reads its response to the end.
    pub(crate) async fn run(self, run: Run) -> Ending<RecordedResult, Cause> {
        let Self { mut service, mut request, options, reports, admitted, presence } = self;
        let _running = presence.runs();
        // A caller that has gone misses it.
        let _ = reports.send(Progress::Begun(run.token()));
        if !matches!(timeout(options.ready_within, service.ready()).await, Ok(Ok(()))) {
            let report = Report::new(Problem::Busy, "The service was not ready in time. Nothing ran.");
            let status = options.status_of(Problem::Busy);
            let _ = reports.send(Progress::Whole(report.response(status, options.help.as_ref())));
            return Ending::NothingHappened(Cause("the service was not ready".into()));
        }
        let token = run.token();
        request.extensions_mut().insert(run.attach(ReplayHeaders(options.replay_headers.clone())));
        let answered = service.handle(request).await;
        drop(service);
        let ending = match answered {
            Ok(response) => ended(response, token, &options, &reports).await,
            Err(error) => {
                tracing::warn!(%error, "the service behind the layer failed; the outcome is not known");
                unknown("the service failed")
            }
        };
        drop(admitted);
        ending
    }
}

async fn ended(
    response: Response<Body>,
    token: Token,
    options: &Options,
    reports: &UnboundedSender<Progress>,
) -> Ending<RecordedResult, Cause> {
    let (mut parts, body) = response.into_parts();
    let in_transaction = parts.extensions.remove::<RecordedInTransaction>();
    let in_transaction = in_transaction.filter(|recorded| recorded.token == token);
    let captured = {
        let head = parts.clone();
        let hand_over =
            |body| drop(reports.send(Progress::Streaming(Response::from_parts(answer_head(head), body))));
        let at_once = is_event_stream(&parts);
        Capture { limit: options.response_limit, at_once, hand_over }.read(body).await
    };
    let class = options.statuses.class(parts.status, Vouched::of(&parts.extensions));
    let Captured { bytes, trailers, broken, streamed } = captured;
    if let Some(error) = &broken {
        tracing::warn!(%error, "the body of a response failed; the outcome is not known");
    }
    if !streamed && broken.is_none() {
        let body = Body::whole(bytes.clone().unwrap_or_default(), trailers);
        let mut response = Response::from_parts(answer_head(parts.clone()), body);
        if in_transaction.is_some() {
            response.extensions_mut().insert(DependsOnCommit);
        }
        let _ = reports.send(Progress::Whole(response));
    }
    if let Some(RecordedInTransaction { result, .. }) = in_transaction {
        return Ending::Success(result.clone(), result);
    }
    if broken.is_some() {
        return unknown("response body failed");
    }
    let cause = || Cause(format!("status {}", parts.status.as_u16()));
    match class {
        Class::Success => {
            let result = recorded(&parts, bytes.as_ref(), class, &options.replay_headers);
            Ending::Success(result.clone(), result)
        }
        Class::FailedForGood => {
            if parts.status == StatusCode::UNAUTHORIZED {
                options.warn_of_recorded_401();
            }
            Ending::FailedForGood(cause(), recorded(&parts, bytes.as_ref(), class, &options.replay_headers))
        }
        Class::NothingHappened => Ending::NothingHappened(cause()),
        Class::Uncertain => unknown(cause().0),
    }
}

fn unknown(cause: impl Into<String>) -> Ending<RecordedResult, Cause> {
    let cause = cause.into();
    Ending::Unknown(Label::lossy(&cause), Some(Cause(cause)))
}

/// The head of a response as the caller gets it.
fn answer_head(mut parts: Parts) -> Parts {
    crate::response::remove_reserved(&mut parts.headers);
    parts
}

fn is_event_stream(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with(b"text/event-stream")
}

/// Whether the caller of a run is still there, for the gauge of runs whose caller has gone.
#[derive(Debug, Default)]
pub(crate) struct Presence(AtomicU8);

const RUNS: u8 = 1;
const CALLER_GONE: u8 = 2;

/// The caller's side: dropping it without an answer counts the run as detached.
#[derive(Debug)]
pub(crate) struct CallerHere(Option<Arc<Presence>>);

/// The run's side.
struct RunHere(Arc<Presence>);

impl Presence {
    /// The caller's side of a new call, and what its run takes.
    pub(crate) fn new() -> (CallerHere, Arc<Self>) {
        let presence = Arc::new(Self::default());
        (CallerHere(Some(presence.clone())), presence)
    }

    fn runs(self: Arc<Self>) -> RunHere {
        if self.0.fetch_or(RUNS, Ordering::AcqRel) & CALLER_GONE != 0 {
            gauge!("sentinel_http_detached_runs").increment(1.0);
        }
        RunHere(self)
    }
}

impl CallerHere {
    /// The caller has its answer.
    pub(crate) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for CallerHere {
    fn drop(&mut self) {
        if let Some(presence) = &self.0
            && presence.0.fetch_or(CALLER_GONE, Ordering::AcqRel) & RUNS != 0
        {
            gauge!("sentinel_http_detached_runs").increment(1.0);
        }
    }
}

impl Drop for RunHere {
    fn drop(&mut self) {
        if self.0.0.fetch_and(!RUNS, Ordering::AcqRel) & CALLER_GONE != 0 {
            gauge!("sentinel_http_detached_runs").decrement(1.0);
        }
    }
}

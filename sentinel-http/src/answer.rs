//! What a caller gets for each outcome.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sentinel_client::sentinel_core::{Label, RecordedResult, Token, Verdict};
use sentinel_client::{Reconciling, Uncertain};

use crate::body::Body;
use crate::count::Counted;
use crate::options::Options;
use crate::problem::Problem;
use crate::record::DependsOnCommit;
use crate::report::{Original, Report, insert_support, time_of_day};
use crate::response::{self, IDEMPOTENCY_REPLAYED, MESSAGE_HTTP};

impl Options {
    /// The response of a problem.
    pub(crate) fn problem(&self, report: impl FnOnce(Problem) -> Report, problem: Problem) -> Response<Body> {
        report(problem).response(self.status_of(problem), self.help.as_ref())
    }

    /// The response of a problem about which no more is known than its name.
    pub(crate) fn plain(&self, problem: Problem, detail: &'static str) -> Response<Body> {
        self.problem(|problem| Report::new(problem, detail), problem)
    }

    /// The recorded result of an earlier request.
    pub(crate) fn replay(&self, recorded: &RecordedResult) -> Response<Body> {
        let is_message = recorded.payload.content_type.as_str() == MESSAGE_HTTP;
        if recorded.omitted {
            let head = is_message.then(|| response::decode(&recorded.payload.bytes).ok()).flatten();
            return self.not_stored(head.as_ref().map(|head| (head.status(), head.headers())));
        }
        let mut replayed = match is_message {
            true => match response::decode(&recorded.payload.bytes) {
                Ok(response) => response::with_body(response),
                Err(error) => {
                    tracing::error!(%error, "a recorded response cannot be read");
                    return self.not_stored(None);
                }
            },
            false => by_operator(recorded),
        };
        replayed.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        replayed
    }

    fn not_stored(&self, original: Option<(StatusCode, &HeaderMap)>) -> Response<Body> {
        let detail =
            "An earlier request with this key was carried out, and its answer was not kept. Nothing ran now.";
        let mut report = Report::new(Problem::ResultNotStored, detail);
        if let Some((status, headers)) = original {
            report = report.original(Original { status, location: headers.get(header::LOCATION).cloned() });
        }
        report.response(self.status_of(Problem::ResultNotStored), self.help.as_ref())
    }

    /// A run of an earlier request whose outcome is not known.
    pub(crate) fn uncertain(&self, uncertain: &Uncertain) -> Response<Body> {
        let detail = format!(
            "The request was begun at {}, and its outcome is not known. Nothing ran now. Do not send it under another \
             key.",
            time_of_day(uncertain.begun_at)
        );
        self.problem(|problem| Report::new(problem, detail).support(uncertain.token), Problem::Uncertain)
    }

    /// A key about which an operator is deciding. Without a support id: the record's token is the operator's, and
    /// decisions need it.
    pub(crate) fn reconciling(&self, by: &Reconciling) -> Response<Body> {
        let detail = format!(
            "The outcome of an earlier request with this key has been under examination since {}. Nothing ran now. Do \
             not send it under another key.",
            time_of_day(by.since)
        );
        self.problem(|problem| Report::new(problem, detail), Problem::Uncertain)
    }

    /// This request ran, and its outcome is not known, or not recorded yet. The response of its handler is passed on,
    /// unless it is true only after a commit that is not proven.
    pub(crate) fn ran(
        &self,
        live: Option<Response<Body>>,
        token: Option<Token>,
        counted: &'static str,
    ) -> Response<Body> {
        let live = live.filter(|live| live.extensions().get::<DependsOnCommit>().is_none());
        let mut response = live.unwrap_or_else(|| {
            let detail =
                "The request was begun, and its outcome is not known. Do not send it under another key.";
            self.plain(Problem::Uncertain, detail)
        });
        response.extensions_mut().insert(Counted(counted));
        if let Some(token) = token {
            insert_support(response.headers_mut(), token);
        }
        response
    }

    /// A request whose key belongs to a run in progress.
    pub(crate) fn in_progress(&self) -> Response<Body> {
        self.plain(
            Problem::InProgress,
            "An earlier request with this key is still being handled. Send this request again under the same key.",
        )
    }

    pub(crate) fn key_reused(&self) -> Response<Body> {
        self.plain(
            Problem::KeyReused,
            "This key was used for a request with another method, path, query, media type or body. Nothing ran now. If \
             this is a new request, send it under a new key.",
        )
    }

    pub(crate) fn not_run(&self) -> Response<Body> {
        self.plain(
            Problem::NotRun,
            "This call did not run. An earlier copy of the request may have. Send it again under the same key.",
        )
    }

    /// The request is in progress.
    pub(crate) fn executing(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(r#"{"state":"executing"}"#.to_owned()));
        *response.status_mut() = StatusCode::ACCEPTED;
        response.extensions_mut().insert(Counted("in_progress"));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }

    /// The request is in progress, and its result will be at the status route.
    pub(crate) fn accepted(&self, status_at: &str, key: &str) -> Response<Body> {
        let mut response = self.executing();
        let query: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
        if let Ok(location) = HeaderValue::from_str(&format!("{status_at}?key={query}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// A result that an operator supplied in a form of their own: its code is the status if it is one.
fn by_operator(recorded: &RecordedResult) -> Response<Body> {
    let status = recorded.code.and_then(|code| u16::try_from(code).ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| !status.is_informational() && status.as_u16() < 600);
    let mut response = Response::new(Body::from(recorded.payload.bytes.clone()));
    *response.status_mut() = status.unwrap_or(match recorded.verdict {
        Verdict::Success => StatusCode::OK,
        // A failure must not look like a success to the caller.
        Verdict::Failure => StatusCode::UNPROCESSABLE_ENTITY,
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(&recorded.payload.content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn content_type(label: &Label) -> HeaderValue {
    let value = HeaderValue::from_str(label.as_str());
    value.unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

//! The status route: what became of a request with a key.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use sentinel_client::Waited;
use sentinel_client::sentinel_core::Key;
use tower_service::Service;

use crate::body::Body;
use crate::key::MAX_KEY_BYTES;
use crate::options::Options;
use crate::problem::Problem;
use crate::report::Report;

/// Answers `GET /..?key=K`: what became of the request with this key, under the same rule of scope as the layer.
///
/// | The request | Answer |
/// |---|---|
/// | is not known, or belongs to another scope | 404 |
/// | is in progress | 202 with `Retry-After` |
/// | is completed | its recorded response, with `Idempotency-Replayed` |
/// | has an unknown outcome, or an answer that was not kept | the problem that the layer would answer with |
///
/// A service of tower for any request body, and with the feature `axum` a handler. Each answer is `no-store` and has no
/// `ETag`, whatever was recorded, because the address can be cached. Keys appear in addresses, and so in logs: let them
/// contain nothing private.
#[derive(Clone)]
pub struct StatusRoute {
    options: Arc<Options>,
}

impl StatusRoute {
    pub(crate) fn new(options: Arc<Options>) -> Self {
        Self { options }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, parts: &Parts) -> Response<Body> {
        let is_head = parts.method == Method::HEAD;
        let mut response = match parts.method {
            Method::GET | Method::HEAD => self.look_up(parts).await,
            _ => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(header::ETAG);
        if is_head {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn look_up(&self, parts: &Parts) -> Response<Body> {
        let options = &self.options;
        let Some(key) = key_of(parts) else {
            let detail = format!("The query must have one parameter `key`, of 1 to {MAX_KEY_BYTES} bytes.");
            return options.problem(|problem| Report::new(problem, detail), Problem::KeyMalformed);
        };
        let Some(scope) = options.scope_of(parts) else {
            return options.plain(Problem::ScopeMissing, "The service does not know who owns this key.");
        };
        match scope.record_key(&key) {
            Some(record) => self.state_of(&record).await,
            None => self.unknown(),
        }
    }

    async fn state_of(&self, record: &Key) -> Response<Body> {
        let options = &self.options;
        match options.sentinel.wait(record.as_str()).at_most(Duration::ZERO).await {
            Ok(Waited::Completed(completed)) => options.replay(&completed.result),
            Ok(Waited::InProgress(_)) => options.executing(),
            Ok(Waited::Absent) => self.unknown(),
            Ok(Waited::Uncertain(uncertain)) => options.uncertain(&uncertain),
            Ok(Waited::Reconciling(by)) => options.reconciling(&by),
            Err(error) => {
                tracing::warn!(%error, "the state of a key could not be read");
                options.not_run()
            }
        }
    }

    fn unknown(&self) -> Response<Body> {
        let detail = "The request may not have arrived yet, may have failed without effect, or may be older than what \
                      the service keeps.";
        self.options.plain(Problem::UnknownKey, detail)
    }
}

impl fmt::Debug for StatusRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusRoute").field("options", &self.options).finish()
    }
}

/// The one parameter `key` of the query.
fn key_of(parts: &Parts) -> Option<String> {
    let query = parts.uri.query()?;
    let mut keys = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "key");
    let (_, key) = keys.next()?;
    let is_one = keys.next().is_none() && (1..=MAX_KEY_BYTES).contains(&key.len());
    is_one.then(|| key.into_owned())
}

impl<B> Service<Request<B>> for StatusRoute
where
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (this, (parts, _)) = (self.clone(), request.into_parts());
        Box::pin(async move { Ok(this.answer(&parts).await) })
    }
}

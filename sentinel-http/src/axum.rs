//! Extractors and responses for handlers of axum.

use std::convert::Infallible;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use futures_util::future::BoxFuture;
use http::request::Parts;
use sentinel_client::Run;

use crate::body::Body;
use crate::status::StatusRoute;
use crate::vouch::{FailedForGood, Happened, NothingHappened};

/// The run of a request, and what the extractor `E` makes of the request.
///
/// If `E` refuses the request, the handler does not start: nothing happened, and the key is free again. So a client
/// that corrects a malformed body may keep its key. With [`IdempotentRun`] and an extractor beside it, the refusal is
/// recorded like any other response.
#[derive(Debug, Clone)]
pub struct Idempotent<E> {
    /// The run.
    pub run: Run,
    /// What the extractor returned.
    pub body: E,
}

/// The run of a request. `Option<IdempotentRun>` is for routes where the key is optional.
#[derive(Debug, Clone)]
pub struct IdempotentRun(pub Run);

/// Why there is no run: the route has no [`IdempotencyLayer`](crate::IdempotencyLayer), or the request has no key and
/// needs none. 500 without a body, and an error in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRun;

impl IntoResponse for NoRun {
    fn into_response(self) -> Response {
        tracing::error!(
            "a handler asks for the run of a request that has none: put the idempotency layer on its route, and where \
             keys are optional, ask for Option<IdempotentRun>"
        );
        (NothingHappened, http::StatusCode::INTERNAL_SERVER_ERROR).into_response()
    }
}

impl<S, E> FromRequest<S> for Idempotent<E>
where
    S: Send + Sync,
    E: FromRequest<S>,
{
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let run = run_of(request.extensions()).map_err(IntoResponse::into_response)?;
        let body = E::from_request(request, state).await;
        Ok(Self { run, body: body.map_err(|refusal| (NothingHappened, refusal).into_response())? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotentRun {
    type Rejection = NoRun;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoRun> {
        run_of(&parts.extensions).map(Self)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotentRun {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(run_of(&parts.extensions).ok().map(Self))
    }
}

fn run_of(extensions: &http::Extensions) -> Result<Run, NoRun> {
    extensions.get::<Run>().cloned().ok_or(NoRun)
}

macro_rules! vouches {
    ($($vouch:ident)*) => {$(
        impl IntoResponseParts for $vouch {
            type Error = Infallible;

            fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
                parts.extensions_mut().insert(self);
                Ok(parts)
            }
        }
    )*};
}

vouches!(NothingHappened FailedForGood Happened);

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        Response::new(axum::body::Body::new(self))
    }
}

impl<S: Send + Sync + 'static> Handler<(), S> for StatusRoute {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, _: S) -> Self::Future {
        let (parts, _) = request.into_parts();
        Box::pin(async move { self.answer(&parts).await.map(axum::body::Body::new) })
    }
}

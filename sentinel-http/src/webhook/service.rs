//! The steps of a message, in their order.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use sentinel_client::Run;
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{HandledBy, Message};
use super::received::verify;
use super::receiver::WebhookReceiver;
use crate::body::{self, Body, BoxError, Unread};
use crate::cause::TrustedCause;
use crate::count::count;
use crate::problem::Problem;
use crate::report::Report;
use crate::scope::Scope;
use crate::service::{Named, handle};
use crate::signature::body_digest;

/// The service of a [`WebhookReceiver`]. It never fails, and is always ready: the readiness of the inner service is
/// awaited only before its handler runs.
#[derive(Clone)]
pub struct WebhookService<S> {
    inner: S,
    receiver: WebhookReceiver,
}

impl<S> Layer<S> for WebhookReceiver {
    type Service = WebhookService<S>;

    fn layer(&self, inner: S) -> WebhookService<S> {
        WebhookService { inner, receiver: self.clone() }
    }
}

impl<S> fmt::Debug for WebhookService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookService").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for WebhookService<S>
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
        let (inner, receiver) = (Marked(self.inner.clone()), self.receiver.clone());
        let (parts, body) = request.map(Body::new).into_parts();
        Box::pin(async move {
            let route = receiver.options.route_of(&parts);
            let response = serve(inner, receiver, parts, body).await;
            count(route, &response);
            Ok(response)
        })
    }
}

async fn serve<S, R>(
    inner: Marked<S>,
    receiver: WebhookReceiver,
    mut parts: Parts,
    body: Body,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    // Their signature would be no proof that the sender meant an effect.
    if parts.method.is_safe() {
        return not_allowed();
    }
    let bytes = match read(&receiver, body).await {
        Ok(bytes) => bytes,
        Err(refused) => return refused,
    };
    let options = receiver.options.clone();
    let Some((received, secret)) = verify(&receiver.sources, &parts.headers, &bytes, receiver.clock.now())
    else {
        let detail = "The message is not signed with an active secret, or its timestamp is more than 5 minutes from \
                      the time of this service. Nothing ran now.";
        return options.plain(Problem::SignatureInvalid, detail);
    };
    let scope = Scope::new(&received.source);
    let Some((record, scope)) = scope.record_key(&received.id).zip(scope.as_str().map(Arc::from)) else {
        return options.not_run();
    };
    let digest = Some(body_digest(&bytes));
    let message =
        Message { options: options.clone(), record: record.clone(), id: received.id.clone(), secret };
    let named = Named { key: received.id.clone(), record, scope, digest };
    parts.extensions.insert(received);
    if let Some(cause) = TrustedCause::of(&parts.headers) {
        parts.extensions.insert(cause);
    }
    let response = handle(inner, options, parts, Body::from(bytes), named).await;
    message.answer(response).await
}

/// Reads the body of a message whose sender is not known yet.
async fn read(receiver: &WebhookReceiver, body: Body) -> Result<Bytes, Response<Body>> {
    let options = &receiver.options;
    let limit = options.request_limit;
    let too_large = || {
        let detail = format!("The body may have at most {limit} bytes. Nothing ran.");
        options.problem(|problem| Report::new(problem, detail), Problem::BodyTooLarge)
    };
    let Some(reserved) = body::to_reserve(&body, limit) else { return Err(too_large()) };
    let Some(_reading) = receiver.reading.run(&Arc::from("webhooks"), reserved) else {
        let detail = "The service has too many requests in progress. This call did not run. Send it again.";
        return Err(options.plain(Problem::Busy, detail));
    };
    body::read(body, limit, options.request_within).await.map_err(|unread| match unread {
        Unread::TooLarge => too_large(),
        Unread::TooSlow => {
            let detail = "The body of the request did not arrive in time. This call did not run.";
            options.plain(Problem::BodyTooSlow, detail)
        }
    })
}

fn not_allowed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// Marks the responses of a service with the token of the run that made them.
#[derive(Clone)]
struct Marked<S>(S);

impl<S, R> Service<Request<Body>> for Marked<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let by = request.extensions().get::<Run>().map(|run| HandledBy(run.token()));
        let mark = move |mut response: Response<R>| {
            // A handler that passes on the response of another receiver passes on its mark, too.
            response.extensions_mut().remove::<HandledBy>();
            if let Some(by) = by {
                response.extensions_mut().insert(by);
            }
            response
        };
        Box::pin(self.0.call(request).map_ok(mark))
    }
}

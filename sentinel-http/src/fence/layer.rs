//! The layer that requires a fence.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk, Ready, ready};
use http::{Request, Response};
use http_body::Body as HttpBody;
use sentinel_client::sentinel_core::By;
use tower_layer::Layer;
use tower_service::Service;

use super::verified::refusal;
use super::verifier::FenceVerifier;
use crate::body::{Body, BoxError};
use crate::cause::TrustedCause;

/// Passes on only requests with a valid fence. See [`FenceVerifier::required`].
#[derive(Debug, Clone)]
pub struct FenceLayer {
    verifier: FenceVerifier,
}

impl FenceVerifier {
    /// A layer that passes on only requests with a valid fence, and puts [`VerifiedFence`](super::VerifiedFence) into
    /// their extensions. Others get a problem document: 401 `fence-missing` or `fence-invalid`, or 412 `stale-fence`
    /// where this process has seen a higher token for the address.
    pub fn required(self) -> FenceLayer {
        FenceLayer { verifier: self }
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = FenceService<S>;

    fn layer(&self, inner: S) -> FenceService<S> {
        FenceService { verifier: self.verifier.clone(), inner }
    }
}

/// The service of a [`FenceLayer`].
#[derive(Debug, Clone)]
pub struct FenceService<S> {
    verifier: FenceVerifier,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for FenceService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future =
        Either<Ready<Result<Response<Body>, S::Error>>, MapOk<S::Future, fn(Response<R>) -> Response<Body>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.verifier.verify(request.headers()) {
            Ok(fence) => {
                // The cause of a request is not signed. One that names another run than the fence is not of its sender.
                let is_of_run = |by: &By| by.address == fence.address && by.token == fence.token;
                let cause = TrustedCause::of(request.headers());
                if let Some(cause) = cause.filter(|cause| cause.0.by().is_some_and(is_of_run)) {
                    request.extensions_mut().insert(cause);
                }
                request.extensions_mut().insert(fence);
                Either::Right(self.inner.call(request).map_ok(|response| response.map(Body::new)))
            }
            Err(problem) => {
                tracing::debug!(problem = problem.name(), "a request was refused because of its fence");
                Either::Left(ready(Ok(refusal(problem))))
            }
        }
    }
}

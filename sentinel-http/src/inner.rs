//! The service behind the layer, with one type of response body and one type of error.

use std::future::poll_fn;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::body::{Body, BoxError};

/// A service that handles a request. All services of tower over these types are.
pub(crate) trait Inner: Send + 'static {
    /// Waits until it can handle a request.
    fn ready(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Handles a request.
    fn handle(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, BoxError>> + Send + 'static;
}

impl<S, R> Inner for S
where
    S: Service<Request<Body>, Response = Response<R>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    async fn ready(&mut self) -> Result<(), BoxError> {
        poll_fn(|cx| self.poll_ready(cx).map_err(Into::into)).await
    }

    fn handle(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, BoxError>> + Send + 'static {
        let answered = self.call(request);
        async move {
            match answered.await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(error) => Err(error.into()),
            }
        }
    }
}

//! What the sender of a message gets: the receipt, or the statement that the outcome is not known.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use sentinel_client::sentinel_core::{Key, Kind, Record, State, Token};

use crate::body::Body;
use crate::classify::Class;
use crate::count::Counted;
use crate::options::Options;
use crate::problem::Problem;
use crate::report::{Report, SUPPORT};
use crate::response::{IDEMPOTENCY_REPLAYED, MESSAGE_HTTP, decode};
use crate::signature::WebhookSecret;
use crate::vouch::Vouched;

/// The response field with the receipt of a message that was handled: see
/// [`WebhookSecret::receipt`](crate::WebhookSecret::receipt).
pub const SENTINEL_RECEIPT: HeaderName = HeaderName::from_static("sentinel-receipt");

/// The response field with the token that the receipt was made for: the sender needs it to verify the receipt.
pub const SENTINEL_RECEIPT_TOKEN: HeaderName = HeaderName::from_static("sentinel-receipt-token");

/// The response field that states that the outcome of a message is not known. A sender that knows it waits for a
/// decision, and does not count the attempt.
pub const SENTINEL_DOUBT: HeaderName = HeaderName::from_static("sentinel-doubt");

/// The token of the run that made a response: an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandledBy(pub(super) Token);

/// A message that was verified and handled.
pub(super) struct Message<'a> {
    pub(super) options: Arc<Options>,
    pub(super) record: Key,
    pub(super) id: String,
    /// The secret that has signed it.
    pub(super) secret: &'a WebhookSecret,
}

impl Message<'_> {
    /// The answer to the sender.
    pub(super) async fn answer(&self, response: Response<Body>) -> Response<Body> {
        let extensions = response.extensions();
        let handled_by = extensions.get::<HandledBy>().copied();
        let problem = extensions.get::<Problem>().copied().filter(|_| handled_by.is_none());
        let is_in_doubt = extensions.get::<Counted>() == Some(&Counted("uncertain"));
        if is_in_doubt || problem == Some(Problem::Uncertain) {
            return self.in_doubt(response);
        }
        match (handled_by, problem) {
            (Some(HandledBy(token)), _) => match self.is_recorded(&response) {
                true => self.with_receipt(response, token).await,
                false => response,
            },
            (None, Some(Problem::ResultNotStored)) => self.without_body(response).await,
            (None, Some(_)) => response,
            (None, None) if response.headers().contains_key(IDEMPOTENCY_REPLAYED) => {
                match self.record().await {
                    Some(record) => self.with_receipt(response, record.token).await,
                    None => response,
                }
            }
            (None, None) => response,
        }
    }

    /// Whether the response of a handler is the result of its message. If nothing happened, it is not.
    fn is_recorded(&self, response: &Response<Body>) -> bool {
        let class = self.options.statuses.class(response.status(), Vouched::of(response.extensions()));
        matches!(class, Class::Success | Class::FailedForGood)
    }

    /// The outcome is not known. A sender of Sentinel does not send the message again before it is decided; any other
    /// one repeats it, and gets this answer until then.
    fn in_doubt(&self, response: Response<Body>) -> Response<Body> {
        let support = response.headers().get(SUPPORT).cloned();
        let detail = "The message was begun, and its outcome is not known. It is not handled again before that is \
                      decided.";
        let status = StatusCode::CONFLICT;
        let mut answer = Report::new(Problem::Uncertain, detail).response(status, self.options.help.as_ref());
        answer.headers_mut().insert(SENTINEL_DOUBT, HeaderValue::from_static("uncertain"));
        if let Some(support) = support {
            answer.headers_mut().insert(SUPPORT, support);
        }
        answer
    }

    /// Adds the receipt. The body of a response that is still being made is not known, so it gets none.
    async fn with_receipt(&self, response: Response<Body>, token: Token) -> Response<Body> {
        if response.body().size_hint().exact().is_none() {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let (trailers, bytes) = match body.collect().await {
            Ok(collected) => (collected.trailers().cloned(), collected.to_bytes()),
            Err(error) => {
                tracing::error!(%error, "a recorded response could not be read");
                return self.options.not_run();
            }
        };
        let receipt = self.secret.receipt(&self.id, token, parts.status.as_u16(), &bytes);
        if let Ok(receipt) = HeaderValue::from_str(&receipt) {
            parts.headers.insert(SENTINEL_RECEIPT, receipt);
            parts.headers.insert(SENTINEL_RECEIPT_TOKEN, HeaderValue::from(token.get()));
        }
        Response::from_parts(parts, Body::whole(bytes, trailers))
    }

    /// The message was handled, and the body of the answer was not stored. Its sender needs the status only: 410 would
    /// make it give up a message that was delivered.
    async fn without_body(&self, response: Response<Body>) -> Response<Body> {
        let Some(record) = self.record().await else { return response };
        let result = record.result.filter(|result| result.payload.content_type.as_str() == MESSAGE_HTTP);
        let Some(head) = result.and_then(|result| decode(&result.payload.bytes).ok()) else {
            return response;
        };
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = head.status();
        answer.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        self.with_receipt(answer, record.token).await
    }

    /// The record of the message; None: it cannot be read, or is not completed.
    async fn record(&self) -> Option<Record> {
        let inspected = self.options.sentinel.inspect(Kind::Execution, self.record.as_str()).await;
        match inspected {
            Ok(inspection) => inspection.record.filter(|record| record.state == State::Completed),
            Err(error) => {
                tracing::warn!(%error, "a message that was handled before is answered without a receipt");
                None
            }
        }
    }
}

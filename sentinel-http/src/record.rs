//! The result that a response is recorded as.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderName, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use sentinel_client::Run;
use sentinel_client::sentinel_core::{RecordedResult, Token, Verdict};

use crate::body::{Body, BoxError};
use crate::classify::{Class, StatusRules};
use crate::response::encode;
use crate::vouch::Vouched;

/// The result of a response that succeeded or failed for good. Without bytes the body was over the limit: the record
/// then has the status and the fields, and is marked as omitted.
pub(crate) fn recorded(
    parts: &Parts,
    bytes: Option<&Bytes>,
    class: Class,
    replay_headers: &[HeaderName],
) -> RecordedResult {
    let verdict = if class == Class::FailedForGood { Verdict::Failure } else { Verdict::Success };
    let payload = encode(parts, bytes.map_or(&[], |bytes| bytes), replay_headers);
    let code = Some(i32::from(parts.status.as_u16()));
    RecordedResult { verdict, code, payload, omitted: bytes.is_none() }
}

/// The further fields that the layer replays, attached to the run of each request.
#[derive(Debug)]
pub(crate) struct ReplayHeaders(pub(crate) Vec<HeaderName>);

/// Marks a response whose result the handler's own transaction records.
#[derive(Debug, Clone)]
pub(crate) struct RecordedInTransaction {
    pub(crate) token: Token,
    pub(crate) result: RecordedResult,
}

/// Marks a response that is true only if the handler's transaction was committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DependsOnCommit;

/// Why a response cannot be recorded in a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Its body could not be read.
    #[error("the response was not recorded: its body failed: {0}; roll the transaction back")]
    Body(BoxError),
    /// Its status leaves the outcome open.
    #[error(
        "the response was not recorded: its status {0} does not state whether the work happened; roll the transaction \
         back, or add `Happened` or `FailedForGood` to the response"
    )]
    Uncertain(http::StatusCode),
}

/// The result to record for a response, and the response to return, for a handler that completes its run in a
/// transaction of its own: it passes the result to `complete_in`, commits, and returns the response.
///
/// **Effect:** reads the body of the response; nothing is sent. The layer then records nothing itself: it checks
/// whether the transaction was committed, and otherwise the outcome is uncertain. Fields that the layer replays by
/// [`replay_header`](crate::IdempotencyLayer::replay_header) are those of the layer that called the handler.
/// **Errors:** see [`RecordError`].
pub async fn record<B>(
    run: &Run,
    response: Response<B>,
) -> Result<(RecordedResult, Response<Body>), RecordError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = response.into_parts();
    let class = StatusRules::default().class(parts.status, Vouched::of(&parts.extensions));
    if !matches!(class, Class::Success | Class::FailedForGood) {
        return Err(RecordError::Uncertain(parts.status));
    }
    let bytes = body.collect().await.map_err(|error| RecordError::Body(error.into()))?.to_bytes();
    let layer = run.attached::<ReplayHeaders>().map_or(&[][..], |headers| &headers.0);
    let result = recorded(&parts, Some(&bytes), class, layer);
    parts.extensions.insert(RecordedInTransaction { token: run.token(), result: result.clone() });
    Ok((result, Response::from_parts(parts, Body::from(bytes))))
}

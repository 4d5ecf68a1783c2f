//! Causes between services: the field `Sentinel-Cause`, and who is believed.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use sentinel_client::Run;
use sentinel_client::sentinel_core::{Cause, ClaimId, TraceId};

/// The request field with the cause of a request.
pub const SENTINEL_CAUSE: HeaderName = HeaderName::from_static("sentinel-cause");

/// The request field of W3C Trace Context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A cause whose sender is trusted: an extension of a request. The layers for fences and webhooks add it, and
/// [`IdempotencyLayer`](crate::IdempotencyLayer) records it. From other requests no cause is taken, because a stranger
/// could attach requests to another customer's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedCause(pub Cause);

impl TrustedCause {
    /// The cause that a request states; None: it states none, or an invalid one. For services that authenticate their
    /// peers in another way: add it to the extensions of a request whose peer you trust.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let stated = only(headers, SENTINEL_CAUSE)?;
        let trace = only(headers, TRACEPARENT).and_then(|field| TraceId::from_traceparent(field).ok());
        let cause = Cause::from_header(stated, trace);
        cause.inspect_err(|error| tracing::debug!(%error, "a cause is ignored")).ok().map(Self)
    }
}

/// The value of a field that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?;
    fields.next().is_none().then(|| field.to_str().ok()).flatten()
}

/// The cause to record for a request; None: it has none that is trusted.
pub(crate) fn trusted(parts: &Parts, trusts_all: bool) -> Option<Cause> {
    let known = parts.extensions.get::<TrustedCause>().cloned();
    known.or_else(|| TrustedCause::of(&parts.headers).filter(|_| trusts_all)).map(|TrustedCause(cause)| cause)
}

/// The fields `Sentinel-Cause` and `traceparent` of a request that a run sends, for HTTP clients without middleware of
/// this crate. Send them to services of your own only. Empty: the run has no cause, or is the last that may cause
/// another.
pub fn cause_fields(run: &Run) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let cause = match run.child_cause() {
        Ok(Some(cause)) => cause,
        Ok(None) => return fields,
        Err(error) => {
            tracing::warn!(%error, "a request is sent without a cause");
            return fields;
        }
    };
    if let Ok(value) = HeaderValue::try_from(cause.to_header()) {
        fields.insert(SENTINEL_CAUSE, value);
    }
    let parent = cause.trace().and_then(|trace| HeaderValue::try_from(traceparent(trace)).ok());
    if let Some(parent) = parent {
        fields.insert(TRACEPARENT, parent);
    }
    fields
}

/// The trace with a span of its own, which is not sampled: this crate exports no span of that id.
fn traceparent(trace: TraceId) -> String {
    // A span id is not zero.
    let span = ClaimId::random().bits() as u64 | 1;
    format!("00-{trace}-{span:016x}-00")
}

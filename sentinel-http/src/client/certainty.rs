//! What an answer, or a missing one, proves about the effect of a request.

use http::{HeaderMap, HeaderName, StatusCode};
use reqwest::Response;
use reqwest_middleware::Error;

use super::document::Stated;
use crate::problem::Ran;

/// What is certain about the effect of a request, and of the earlier tries of it: of the same run and label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// The effect took place: 2xx, or a listed host states so. 202 of a listed host is no proof, because a service of
    /// Sentinel answers so while the request is still being handled.
    Happened,
    /// The other side has refused the request for good: 4xx, unless the status, the answer or a proxy leaves the
    /// outcome open.
    Refused,
    /// It is proven that nothing happened: no byte of the request was sent, or a listed host states so.
    NothingHappened,
    /// The effect may have taken place. That includes every answer after an attempt with an unknown effect, until one
    /// has happened.
    Unknown,
}

/// What the result of a request proves. Without a run, or without [`SentinelHeaders`](super::SentinelHeaders) in the
/// client, only 2xx proves something.
pub fn certainty(answer: &Result<Response, Error>) -> Certainty {
    match answer {
        Ok(response) => match response.extensions().get::<Judged>() {
            Some(Judged(certainty)) => *certainty,
            None if response.status().is_success() => Certainty::Happened,
            None => Certainty::Unknown,
        },
        Err(error) => SendError::of(error).map_or(Certainty::Unknown, SendError::certainty),
    }
}

/// The judgement of an answer, among its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged(pub(super) Certainty);

/// A request that failed with a certain outcome. Failures with an unknown outcome are errors of `reqwest`, as without
/// this middleware.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", self.summary())]
pub struct SendError {
    certainty: Certainty,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Failed(reqwest::Error),
    #[error(transparent)]
    Refused(Refusal),
}

/// Why the middleware refused to send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The client may follow redirects.
    #[error(
        "the client may follow redirects, which would send the key to another host; build it with \
         `redirect(Policy::none())`"
    )]
    FollowsRedirects,
    /// The request has a key already.
    #[error("the request has an Idempotency-Key already; leave it out, because the run's key is sent")]
    HasKey,
}

impl SendError {
    pub(super) fn failed(certainty: Certainty, error: reqwest::Error) -> Self {
        Self { certainty, cause: Cause::Failed(error) }
    }

    pub(super) fn refused(certainty: Certainty, refusal: Refusal) -> Self {
        Self { certainty, cause: Cause::Refused(refusal) }
    }

    /// The error of this type behind an error of a client with middleware.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Middleware(error) => error.downcast_ref(),
            Error::Reqwest(_) => None,
        }
    }

    /// What is certain.
    pub fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// The error of `reqwest`; None: the middleware refused to send the request.
    pub fn error(&self) -> Option<&reqwest::Error> {
        match &self.cause {
            Cause::Failed(error) => Some(error),
            Cause::Refused(_) => None,
        }
    }

    /// Why the middleware refused to send the request; None: it did not.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.cause {
            Cause::Refused(refusal) => Some(refusal),
            Cause::Failed(_) => None,
        }
    }

    fn summary(&self) -> &'static str {
        match self.certainty {
            Certainty::Happened => "the request failed, and an earlier try of it has taken effect",
            Certainty::Unknown => "the request was not sent, and an earlier try of it may have taken effect",
            Certainty::Refused | Certainty::NothingHappened => "the request was not sent",
        }
    }
}

/// An answer, as far as it proves something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    status: StatusCode,
    stated: Stated,
    is_listed: bool,
    /// Whether a proxy states that it has made the answer, or has changed it.
    is_of_a_proxy: bool,
    /// Whether it is the recorded answer of a service of Sentinel.
    is_replayed: bool,
}

impl Reply {
    pub(super) fn of(response: &Response, stated: Stated, is_listed: bool) -> Self {
        let has = |headers: &HeaderMap, name| headers.contains_key(HeaderName::from_static(name));
        let headers = response.headers();
        Self {
            status: response.status(),
            stated,
            is_listed,
            is_of_a_proxy: has(headers, "proxy-status") || has(headers, "proxy-authenticate"),
            is_replayed: has(headers, "idempotency-replayed"),
        }
    }

    /// What the answer alone proves.
    pub(super) fn certainty(self) -> Certainty {
        match self.stated {
            Stated::Ran(Ran::No) if self.is_listed => Certainty::NothingHappened,
            Stated::Ran(Ran::Yes) if self.is_listed => Certainty::Happened,
            // A host that is not listed is believed where its word makes the outcome less certain only.
            Stated::Ran(Ran::Yes | Ran::Unknown) | Stated::Unreadable => Certainty::Unknown,
            Stated::Ran(Ran::No) | Stated::Nothing => self.by_status(),
        }
    }

    fn by_status(self) -> Certainty {
        let is_pending = self.status == StatusCode::ACCEPTED && self.is_listed && !self.is_replayed;
        match self.status.as_u16() {
            200..=299 if !is_pending => Certainty::Happened,
            400..=499 if is_refusal(self.status) && !self.is_of_a_proxy => Certainty::Refused,
            _ => Certainty::Unknown,
        }
    }
}

/// Whether a status of 4xx is a refusal for good by the service itself. Not the ones that ask to repeat the request
/// (408, 409, 421, 425, 429), those of proxies (407), and those that no standard names, which proxies use for their own
/// failures (for example 499, when the client of a proxy has gone).
fn is_refusal(status: StatusCode) -> bool {
    let is_open = matches!(status.as_u16(), 407 | 408 | 409 | 421 | 425 | 429);
    !is_open && status.canonical_reason().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, stated: Stated, is_listed: bool) -> Certainty {
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, stated, is_listed, is_of_a_proxy: false, is_replayed: false }.certainty()
    }

    #[test]
    fn each_status_without_a_document() {
        for is_listed in [false, true] {
            for status in 200..=599 {
                let expected = match status {
                    202 if is_listed => Certainty::Unknown,
                    200..=299 => Certainty::Happened,
                    407 | 408 | 409 | 421 | 425 | 429 => Certainty::Unknown,
                    400..=418 | 422..=424 | 426 | 428 | 431 | 451 => Certainty::Refused,
                    _ => Certainty::Unknown,
                };
                assert_eq!(of(status, Stated::Nothing, is_listed), expected, "{status} {is_listed}");
            }
        }
    }

    #[test]
    fn a_document_of_a_listed_host_decides() {
        for status in [200, 303, 400, 409, 410, 429, 500, 503] {
            assert_eq!(of(status, Stated::Ran(Ran::No), true), Certainty::NothingHappened, "{status}");
            assert_eq!(of(status, Stated::Ran(Ran::Yes), true), Certainty::Happened, "{status}");
            assert_eq!(of(status, Stated::Ran(Ran::Unknown), true), Certainty::Unknown, "{status}");
            assert_eq!(of(status, Stated::Unreadable, true), Certainty::Unknown, "{status}");
        }
    }

    #[test]
    fn a_document_of_another_host_makes_nothing_more_certain() {
        for status in [303, 409, 429, 500, 503] {
            for stated in [Ran::No, Ran::Yes, Ran::Unknown].map(Stated::Ran) {
                assert_eq!(of(status, stated, false), Certainty::Unknown, "{status} {stated:?}");
            }
        }
        assert_eq!(of(400, Stated::Ran(Ran::No), false), Certainty::Refused);
        // A service that is not listed answers 410 for a request that was carried out.
        assert_eq!(of(410, Stated::Ran(Ran::Yes), false), Certainty::Unknown);
        assert_eq!(of(422, Stated::Ran(Ran::Unknown), false), Certainty::Unknown);
        assert_eq!(of(422, Stated::Unreadable, false), Certainty::Unknown);
    }

    #[test]
    fn an_answer_that_a_proxy_made_is_no_refusal() {
        let status = StatusCode::FORBIDDEN;
        let reply = Reply {
            status,
            stated: Stated::Nothing,
            is_listed: true,
            is_of_a_proxy: true,
            is_replayed: false,
        };
        assert_eq!(reply.certainty(), Certainty::Unknown);
        assert_eq!(Reply { is_of_a_proxy: false, ..reply }.certainty(), Certainty::Refused);
    }

    #[test]
    fn a_recorded_202_is_the_answer() {
        let status = StatusCode::ACCEPTED;
        let reply = Reply {
            status,
            stated: Stated::Nothing,
            is_listed: true,
            is_of_a_proxy: false,
            is_replayed: true,
        };
        assert_eq!(reply.certainty(), Certainty::Happened);
    }
}

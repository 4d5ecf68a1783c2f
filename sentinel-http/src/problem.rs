//! Problem documents (RFC 9457): what a caller gets in place of the handler's answer.

use std::time::Duration;

use http::StatusCode;

/// Where each problem is described.
const DESCRIBED: &str = "https://github.com/sentinel-rs/sentinel/blob/main/docs/problems.md";

/// Why a caller gets no answer of the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// The route requires an `Idempotency-Key`, and the request has none.
    KeyMissing,
    /// The field `Idempotency-Key` is no key.
    KeyMalformed,
    /// A request that cannot be answered twice: an upgrade, or gRPC.
    Unsupported,
    /// The service does not know who owns the key.
    ScopeMissing,
    /// The request's body is too large.
    BodyTooLarge,
    /// The request's body did not arrive in time.
    BodyTooSlow,
    /// The service has too much to do.
    Busy,
    /// The handler did not run.
    NotRun,
    /// An earlier request with the key is still being handled.
    InProgress,
    /// The outcome of an earlier request with the key, or of this one, is not known.
    Uncertain,
    /// The key was used for another request.
    KeyReused,
    /// The work was done, and its result was not kept, or cannot be read.
    ResultNotStored,
    /// No request with this key is known to the status route.
    UnknownKey,
    /// The signature of a webhook is not valid.
    SignatureInvalid,
    /// The request has no fence.
    FenceMissing,
    /// The fence of the request is not valid.
    FenceInvalid,
    /// A newer run of the same work was seen.
    StaleFence,
}

/// Whether the effect of a request under its key took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ran {
    /// It did not, and no earlier copy of the request can have been accepted either.
    No,
    /// It did.
    Yes,
    /// It is not known.
    Unknown,
}

/// What a caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Send the same request again, with the same key.
    SameKey,
    /// Send the request with a new key, if it is a new request.
    NewKey,
    /// Send a corrected request.
    Corrected,
    /// Nothing: a further request gets the same answer.
    Never,
}

impl Ran {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

impl Retry {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SameKey => "same-key",
            Self::NewKey => "new-key",
            Self::Corrected => "corrected",
            Self::Never => "never",
        }
    }
}

/// One row of the table of problems.
struct Row(&'static str, StatusCode, Ran, Retry, Option<u64>, &'static str);

impl Problem {
    /// All problems.
    pub const ALL: [Self; 17] = [
        Self::KeyMissing,
        Self::KeyMalformed,
        Self::Unsupported,
        Self::ScopeMissing,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::Busy,
        Self::NotRun,
        Self::InProgress,
        Self::Uncertain,
        Self::KeyReused,
        Self::ResultNotStored,
        Self::UnknownKey,
        Self::SignatureInvalid,
        Self::FenceMissing,
        Self::FenceInvalid,
        Self::StaleFence,
    ];

    /// `ran` is [`Ran::No`] only where no earlier copy of the request can have been accepted: the request itself is
    /// refused, for every copy of it alike.
    const fn row(self) -> Row {
        use {Ran::*, Retry::*};
        match self {
            Self::KeyMissing => Row(
                "key-missing",
                StatusCode::BAD_REQUEST,
                No,
                Corrected,
                None,
                "The request has no Idempotency-Key",
            ),
            Self::KeyMalformed => Row(
                "key-malformed",
                StatusCode::BAD_REQUEST,
                No,
                Corrected,
                None,
                "The Idempotency-Key is not valid",
            ),
            Self::Unsupported => Row(
                "unsupported",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                No,
                Corrected,
                None,
                "A request of this kind cannot have an Idempotency-Key",
            ),
            Self::ScopeMissing => Row(
                "scope-missing",
                StatusCode::FORBIDDEN,
                No,
                Never,
                None,
                "The owner of the Idempotency-Key is not known",
            ),
            Self::BodyTooLarge => Row(
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                No,
                Corrected,
                None,
                "The body of the request is too large",
            ),
            Self::BodyTooSlow => Row(
                "body-too-slow",
                StatusCode::REQUEST_TIMEOUT,
                Unknown,
                SameKey,
                None,
                "The body of the request did not arrive in time",
            ),
            Self::Busy => {
                Row("busy", StatusCode::SERVICE_UNAVAILABLE, Unknown, SameKey, Some(1), "The service is busy")
            }
            Self::NotRun => Row(
                "not-run",
                StatusCode::SERVICE_UNAVAILABLE,
                Unknown,
                SameKey,
                Some(1),
                "This request was not carried out",
            ),
            Self::InProgress => Row(
                "in-progress",
                StatusCode::CONFLICT,
                Unknown,
                SameKey,
                Some(1),
                "An earlier request with this key is still being handled",
            ),
            Self::Uncertain => Row(
                "uncertain",
                StatusCode::INTERNAL_SERVER_ERROR,
                Unknown,
                SameKey,
                Some(60),
                "The outcome of an earlier request with this key is not known",
            ),
            Self::KeyReused => Row(
                "key-reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                Unknown,
                NewKey,
                None,
                "The Idempotency-Key was used for another request",
            ),
            Self::ResultNotStored => Row(
                "result-not-stored",
                StatusCode::GONE,
                Yes,
                Never,
                None,
                "The request was carried out, and its answer was not kept",
            ),
            // It may be on its way, free again, or past its retention.
            Self::UnknownKey => Row(
                "unknown-key",
                StatusCode::NOT_FOUND,
                Unknown,
                SameKey,
                None,
                "No request with this Idempotency-Key is known",
            ),
            // An earlier copy may have been accepted, while its time was near or its secret was active.
            Self::SignatureInvalid => Row(
                "signature-invalid",
                StatusCode::UNAUTHORIZED,
                Unknown,
                Never,
                None,
                "The signature is not valid",
            ),
            Self::FenceMissing => {
                Row("fence-missing", StatusCode::UNAUTHORIZED, No, Never, None, "The request has no fence")
            }
            Self::FenceInvalid => {
                Row("fence-invalid", StatusCode::UNAUTHORIZED, Unknown, Never, None, "The fence is not valid")
            }
            Self::StaleFence => Row(
                "stale-fence",
                StatusCode::PRECONDITION_FAILED,
                Unknown,
                Never,
                None,
                "A newer run of the same work was seen",
            ),
        }
    }

    /// Its name, the last part of its type.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The status of its answer, unless the layer maps it to another one.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the effect of the request took place.
    pub const fn ran(self) -> Ran {
        self.row().2
    }

    /// What the caller can do.
    pub const fn retry(self) -> Retry {
        self.row().3
    }

    /// After which time, if the caller can send the request again.
    pub const fn retry_after(self) -> Option<Duration> {
        match self.row().4 {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => None,
        }
    }

    /// A sentence for people.
    pub const fn title(self) -> &'static str {
        self.row().5
    }

    /// The address that identifies it.
    pub fn kind(self) -> String {
        format!("{DESCRIBED}#{}", self.name())
    }

    /// The label by which the layer counts it; None: the request had no key that could be used.
    pub(crate) const fn counted(self) -> Option<&'static str> {
        match self {
            Self::Busy => Some("busy"),
            Self::NotRun => Some("not_run"),
            Self::InProgress => Some("in_progress"),
            Self::Uncertain => Some("uncertain"),
            Self::KeyReused => Some("key_reused"),
            Self::ResultNotStored => Some("not_stored"),
            _ => None,
        }
    }
}

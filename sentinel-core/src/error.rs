//! Errors. Each states what happened, whether the request may have been carried out, and what to do.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Invalid input, refused before anything was sent.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct Invalid {
    what: Cow<'static, str>,
    why: String,
}

/// The message: a `main` that returns the error prints its `Debug` form.
impl fmt::Debug for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Invalid {
    /// An error about `what`, with the reason `why`: for example "ttl" and "must be at least 10ms, is 3ms".
    pub fn new(what: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Whether a request that failed may have been carried out. There are only these two cases (spec §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It is proven that nothing was changed.
    No,
    /// The request was sent and no reply arrived. It may have been carried out, or may still be carried out later.
    Ambiguous,
}

/// Why a store could not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server or the file cannot be reached or opened.
    Unreachable,
    /// The server does not admit this user: the user, the password or the database is not the right one.
    AccessDenied,
    /// The store exists but was never set up.
    NotInitialised,
    /// The store was set up by a newer release.
    NewerSchema,
    /// The store was set up and has lost its records. Nothing that it answers about a key can be trusted.
    DataLoss,
    /// The store may have lost its newest writes. What it answers about a key may be older than what it acknowledged.
    PossibleDataLoss,
    /// With the settings of this deployment the store cannot keep its promises. It was not used.
    DeploymentRefused,
    /// Other requests kept the store busy for longer than it waits.
    Busy,
    /// The request violates the store's contract.
    InvalidRequest,
    /// Stored data cannot be read.
    Corrupt,
    /// No reply arrived in time, or the connection broke while the client waited for it.
    LostReply,
    /// The store was closed.
    Closed,
    /// The store returned an answer that the contract does not allow.
    BrokenStore,
}

impl ErrorKind {
    /// Whether the store may be able to answer the same request later, by itself or after an operator has fixed it.
    ///
    /// After such an error, the client repeats a run's completion, its cancel, its vouched release and its abandon.
    /// Every kind can pass except those for which a later attempt cannot succeed: the request itself is invalid, the
    /// store's tables do not exist, a newer release has changed them, or this handle of the store is closed.
    pub fn can_pass(self) -> bool {
        !matches!(self, Self::InvalidRequest | Self::NotInitialised | Self::NewerSchema | Self::Closed)
    }

    /// What the caller or an operator should do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check that the store is running and its address is right, then try again",
            Self::AccessDenied => {
                "check the user, the password and the database in the store's address, and whom the server \
                    admits"
            }
            Self::NotInitialised => "if the store was never used, set it up with `sentinel init`",
            Self::NewerSchema => "upgrade this program to the release that set the store up",
            Self::DataLoss => {
                "find out what ran since, restore a backup if there is one, then register the store \
                    again with `sentinel init`"
            }
            Self::PossibleDataLoss => {
                "compare what is uncertain or missing with the outside world, then register the store \
                    again with `sentinel init`"
            }
            Self::DeploymentRefused => {
                "fix the settings that this message names; `sentinel doctor` lists all of them"
            }
            Self::Busy => {
                "try again later; if the error persists, search for a transaction that does not end"
            }
            Self::InvalidRequest => "fix the call: sending it again cannot succeed",
            Self::Corrupt => "stop all workers, then inspect the store or restore a backup",
            Self::LostReply => "send the same request again under the same ids until it is answered",
            Self::Closed => "open the store again",
            Self::BrokenStore => "check the store with the conformance suite",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the store cannot be reached",
            Self::AccessDenied => "the store denied access",
            Self::NotInitialised => "the store is not initialised",
            Self::NewerSchema => "the store has a newer schema",
            Self::DataLoss => "the store has lost its records",
            Self::PossibleDataLoss => "the store may have lost its newest writes",
            Self::DeploymentRefused => "the store's deployment is refused",
            Self::Busy => "the store is busy",
            Self::InvalidRequest => "the request is invalid",
            Self::Corrupt => "the store has data that cannot be read",
            Self::LostReply => "no reply from the store",
            Self::Closed => "the store is closed",
            Self::BrokenStore => "the store violated its contract",
        })
    }
}

/// The store could not answer. A refusal is not an error: it is a reply.
#[derive(Clone)]
pub struct StoreError {
    applied: Applied,
    kind: ErrorKind,
    read: bool,
    detail: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error for which it is proven that nothing was changed.
    pub fn not_applied(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { applied: Applied::No, kind, read: false, detail: detail.into(), source: None }
    }

    /// An error after which the request may have been carried out.
    pub fn ambiguous(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { applied: Applied::Ambiguous, kind, read: false, detail: detail.into(), source: None }
    }

    /// Adds the underlying error, which [`source`](StdError::source) returns.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Marks the error as ambiguous, because an earlier attempt of the same request may have been carried out.
    #[must_use]
    pub fn made_ambiguous(mut self) -> Self {
        self.applied = Applied::Ambiguous;
        self
    }

    /// Marks the error as not applied, because the request only reads: it changed nothing, even if its reply was lost.
    #[must_use]
    pub fn of_a_read(mut self) -> Self {
        self.applied = Applied::No;
        self.read = true;
        self
    }

    /// Whether the request may have been carried out.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Why the store could not answer.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the store may be able to answer the same request later. See [`ErrorKind::can_pass`].
    pub fn can_pass(&self) -> bool {
        self.kind.can_pass()
    }

    /// Whether a caller that waits for its turn keeps waiting: the store may recover by itself, because it restarts,
    /// fails over, refuses writes for a while, or gets a new password. An error that needs an operator's decision, such
    /// as lost writes, is reported at once.
    pub fn is_worth_waiting_for(&self) -> bool {
        self.is_worth_repeating()
            || matches!(self.kind, ErrorKind::DeploymentRefused | ErrorKind::AccessDenied)
    }

    /// Whether the same request is likely to succeed soon, without any help.
    pub fn is_worth_repeating(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable | ErrorKind::Busy | ErrorKind::LostReply)
    }
}

/// The message: a `main` that returns the error prints its `Debug` form.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applied = match self.applied {
            Applied::No => "nothing was changed",
            Applied::Ambiguous => "it may have been carried out",
        };
        let advice = match self.kind {
            ErrorKind::LostReply if self.read => "read again",
            kind => kind.advice(),
        };
        write!(f, "{}: {} ({applied}); {advice}", self.kind, self.detail)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<Invalid> for StoreError {
    fn from(invalid: Invalid) -> Self {
        Self::not_applied(ErrorKind::InvalidRequest, invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_pass_without_help_are_worth_repeating() {
        let worth = |kind| StoreError::not_applied(kind, "").is_worth_repeating();
        assert!([ErrorKind::Unreachable, ErrorKind::Busy, ErrorKind::LostReply].into_iter().all(worth));
        let others = [ErrorKind::InvalidRequest, ErrorKind::BrokenStore];
        assert!(!others.into_iter().any(worth));
    }

    #[test]
    fn every_error_can_pass_unless_no_later_attempt_can_succeed() {
        use ErrorKind::*;
        let passing = [
            Unreachable,
            AccessDenied,
            DataLoss,
            PossibleDataLoss,
            DeploymentRefused,
            Busy,
            Corrupt,
            LostReply,
            BrokenStore,
        ];
        assert!(passing.into_iter().all(ErrorKind::can_pass));
        let lasting = [InvalidRequest, NotInitialised, NewerSchema, Closed];
        assert!(!lasting.into_iter().any(ErrorKind::can_pass));
        assert!(StoreError::not_applied(DeploymentRefused, "read only").can_pass());
    }

    #[test]
    fn a_read_has_changed_nothing_even_if_its_reply_was_lost() {
        let error = StoreError::ambiguous(ErrorKind::LostReply, "no reply within 5s").of_a_read();
        assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::LostReply));
        assert_eq!(
            error.to_string(),
            "no reply from the store: no reply within 5s (nothing was changed); read again"
        );
    }

    #[test]
    fn an_error_states_whether_something_was_changed_and_what_to_do() {
        let message = StoreError::ambiguous(ErrorKind::LostReply, "the connection broke").to_string();
        assert!(message.contains("the connection broke (it may have been carried out)"), "{message}");
        assert!(message.ends_with(ErrorKind::LostReply.advice()), "{message}");
        assert!(!ErrorKind::LostReply.advice().is_empty());
        let message = StoreError::not_applied(ErrorKind::Busy, "too many").to_string();
        assert!(
            message.starts_with(&format!("{}: too many (nothing was changed)", ErrorKind::Busy)),
            "{message}"
        );
    }

    #[test]
    fn an_error_that_main_returns_is_printed_as_a_message() {
        let error = StoreError::not_applied(ErrorKind::AccessDenied, "no such user");
        assert_eq!(format!("{error:?}"), error.to_string());
        let invalid = Invalid::new("ttl", "is too short");
        assert_eq!(format!("{invalid:?}"), "ttl is too short");
    }

    #[test]
    fn an_error_names_its_source() {
        let error = StoreError::not_applied(ErrorKind::Unreachable, "no way");
        assert!(error.source().is_none());
        let error = error.caused_by(std::io::Error::other("refused"));
        assert_eq!(error.source().unwrap().to_string(), "refused");
    }
}

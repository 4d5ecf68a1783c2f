//! The outcome of a call of `once`: one exhaustive enum (spec §4).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::Current;
use sentinel_core::{ClaimId, Invalid, Label, RecordedResult, State, StoreError, StoreTime, Token};

/// The outcome of a call of `once`. The enum is exhaustive, so that no caller can mistake *in progress* or *uncertain*
/// for "no value".
///
/// With `InProgress`, `Reconciling`, `Uncertain`, `NotRun` and `Replayed` the function of this call did not run. With
/// `Completed`, `CompletedNotStored`, `RanUncertain`, `Unconfirmed` and `Superseded` it did. For `Failed` see
/// [`Failure`].
#[must_use = "this outcome is the only report that the call did not run, or that its effect is unknown"]
#[derive(Debug)]
pub enum Outcome<T, E> {
    /// The function ran now, and its result is recorded.
    Completed(T),
    /// The function ran now and is recorded as completed, but its value is not stored. Later callers get
    /// [`Error::ResultNotStored`] instead.
    CompletedNotStored(T, NotStored),
    /// The function ran before; this is the recorded result.
    Replayed(T),
    /// The work failed, and the failure is certain: either nothing happened, or the failure is recorded for good.
    Failed(Failure<E>),
    /// Another call has a live claim or run. This call did not run; try again later, or use `wait`.
    InProgress(InProgress),
    /// An operator is deciding about the key. This call did not run.
    Reconciling(Reconciling),
    /// Another call began and its lease has lapsed: its outcome is unknown. This call did not run; reconcile the key.
    Uncertain(Uncertain),
    /// This call did not run, and never will.
    NotRun(NotRun),
    /// This call ran, and its outcome is unknown. The key is uncertain; reconcile it.
    RanUncertain(RanUncertain<E>),
    /// This call ran and ended with this result, and the store has not confirmed that it is recorded. A task sends the
    /// result again until 10 minutes after the hard deadline, unless the store's error cannot pass.
    /// [`Sentinel::drain`](super::Sentinel::drain) waits for that task, and reports the error.
    Unconfirmed(Result<T, E>),
    /// This call ran and ended with this result, but another worker or an operator has changed the record before. The
    /// record counts.
    Superseded(Result<T, E>, Current),
}

impl<T, E> Outcome<T, E> {
    /// The name used in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::CompletedNotStored(..) => "completed_not_stored",
            Self::Replayed(_) => "replayed",
            Self::Failed(_) => "failed",
            Self::InProgress(_) => "in_progress",
            Self::Reconciling(_) => "reconciling",
            Self::Uncertain(_) => "uncertain",
            Self::NotRun(_) => "not_run",
            Self::RanUncertain(_) => "ran_uncertain",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Superseded(..) => "superseded",
        }
    }

    /// Whether the function of this call ran (for `Failed`, see [`Failure`]).
    pub fn ran(&self) -> bool {
        match self {
            Self::Completed(_)
            | Self::CompletedNotStored(..)
            | Self::RanUncertain(_)
            | Self::Unconfirmed(_)
            | Self::Superseded(..) => true,
            Self::Failed(failure) => !matches!(failure, Failure::Replayed(_) | Failure::Preparation(_)),
            Self::Replayed(_)
            | Self::InProgress(_)
            | Self::Reconciling(_)
            | Self::Uncertain(_)
            | Self::NotRun(_) => false,
        }
    }
}

/// Why a result could not be encoded or decoded.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Why the value of a completed execution is not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotStored {
    /// The codec could not encode it.
    #[error("the result was not stored: it cannot be encoded: {0}")]
    NotEncodable(CodecError),
    /// It is larger than the limit of the call.
    #[error("the result was not stored: {bytes} bytes are over the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit of [`Once::payload_limit`](super::Once::payload_limit), in bytes.
        limit: usize,
    },
    /// Its encoding does not decode to the same value, so a replay would return another value or none.
    #[error("the result was not stored faithfully, so it was left out: {0}")]
    Unfaithful(String),
    /// The store refuses these bytes.
    #[error("the result was not stored: {0}")]
    Refused(StoreError),
}

/// A failure with a certain outcome.
#[derive(Debug)]
pub enum Failure<E> {
    /// The function ran now, and vouched that nothing happened: any call can run again. If the store has not confirmed
    /// the release yet, a task repeats it. If the process ends before, the key stays uncertain. `Sentinel::drain` waits
    /// for that task.
    NothingHappened(E),
    /// The function ran now, and the failure is recorded for good.
    ForGood(E),
    /// The function ran before; this is the recorded failure.
    Replayed(ReplayedFailure<E>),
    /// The preparation failed before the function ran: any call can run again.
    Preparation(E),
}

/// A failure that an earlier call recorded for good. Its text is the error's, if that was decoded, and otherwise the
/// recorded bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedFailure<E = Infallible> {
    /// The recorded code and bytes. The bytes are the text of the error, unless the function recorded others.
    pub recorded: RecordedResult,
    /// The error. None: the call has no [`failure_codec`](super::Once::failure_codec), or that cannot decode the bytes,
    /// for example because the recording call had none.
    pub error: Option<E>,
}

/// The live claim or run of another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProgress {
    /// Claimed or executing.
    pub state: State,
    /// What remained of its lease when the store answered; a heartbeat may extend it.
    pub remaining: Duration,
}

/// The operator who is deciding about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciling {
    /// The operator's label.
    pub operator: Label,
    /// When the operator took the key, by the store's clock.
    pub since: StoreTime,
}

/// A run with an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncertain {
    /// The token of the uncertain run: pass it to `Reconciler::expect`.
    pub token: Token,
    /// When the side effect may have begun, by the store's clock.
    pub begun_at: StoreTime,
    /// The label of the worker that ran it.
    pub worker: Option<Label>,
}

/// Why a call did not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRun {
    /// The store could not answer; nothing ran. If the claim may have been carried out, it was cancelled.
    #[error("nothing ran: {0}")]
    Store(StoreError),
    /// The claim is a late duplicate of one that was released or cancelled before.
    #[error("nothing ran: this call was cancelled or released before its claim arrived")]
    AlreadyReleased,
    /// The lease was over before the function could start; the claim was cancelled.
    #[error("nothing ran: the lease ended before the function could start; use a longer ttl")]
    Expired,
    /// Another call or an operator took the claim before the function could start.
    #[error(
        "nothing ran: the claim was lost before the function could start (now {} with token {})",
        .0.state, .0.token
    )]
    Superseded(Current),
    /// The preparation panicked; the claim was cancelled.
    #[error("nothing ran: the preparation panicked: {0}")]
    PreparationPanicked(Label),
    /// The system could not start the thread for heartbeats, which must run before a claim is sent. No claim was sent.
    #[error(
        "nothing ran: no thread for heartbeats could be started: {0}; raise the limit of processes or threads"
    )]
    NoHeartbeats(Arc<std::io::Error>),
    /// The client is draining and grants nothing.
    #[error("nothing ran: this client is draining, because its process is about to exit")]
    Draining,
    /// The caller went away, or the runtime shut down, before the function could start.
    #[error("nothing ran: the caller went away before the function could start")]
    CallerGone,
}

/// A run of this call with an unknown outcome.
#[derive(Debug)]
pub struct RanUncertain<E> {
    /// The cause, as the record has it.
    pub cause: Label,
    /// The error of the function; None: it panicked, its task was ended, or the transaction that should record its
    /// result was not committed.
    pub error: Option<E>,
    /// The token of the uncertain run: pass it to `Reconciler::expect`.
    pub token: Token,
    /// The id of this call.
    pub claim_id: ClaimId,
}

/// Why a call has no outcome. Its function did not run. `Debug` is the message, because a `main` that returns the error
/// prints that form.
#[derive(thiserror::Error)]
pub enum Error {
    /// Invalid input, refused before anything was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The key was used for another request: its record has another fingerprint.
    #[error(
        "the key was used for another request, because the fingerprints differ; nothing ran; use another key"
    )]
    FingerprintMismatch,
    /// The execution completed before, and its result was not stored; see [`NotStored`].
    #[error("the execution completed before, but its result was not stored; nothing ran now")]
    ResultNotStored(Box<RecordedResult>),
    /// The execution completed before, and its result cannot be decoded as the type that this call expects.
    #[error("the execution completed before, but its result cannot be decoded; nothing ran now: {source}")]
    Undecodable {
        /// The result as the record has it.
        recorded: Box<RecordedResult>,
        /// The error of the codec.
        source: CodecError,
    },
    /// The store could not answer the request of an operator or a reader.
    #[error(transparent)]
    Store(#[from] StoreError),
}

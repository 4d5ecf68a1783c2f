//! What a call of `once` is answered: one exhaustive enum (spec §4).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::Current;
use sentinel_core::{ClaimId, Invalid, Label, Recorded, State, StoreError, StoreTime, Token};

/// The answer to a call of `once`. Exhaustive, so that nobody can take *in progress* or *uncertain* for "no value".
///
/// `InProgress`, `Reconciling`, `Uncertain`, `NotRun` and `Replayed`: the function of this call did not run. `Completed`,
/// `CompletedNotStored`, `RanUncertain`, `Unconfirmed` and `Superseded`: it did.
#[must_use = "a call that did not run, or whose effect is in doubt, is told here and nowhere else"]
#[derive(Debug)]
pub enum Outcome<T, E> {
    /// It ran now, and its result is recorded.
    Completed(T),
    /// It ran now, and that it did is recorded, but its value is not: no later caller gets this value. Later callers get
    /// [`Error::ResultNotStored`].
    CompletedNotStored(T, NotStored),
    /// It ran before; this is the recorded result.
    Replayed(T),
    /// It failed, vouched: nothing happened, or the failure is recorded for good.
    Failed(Failure<E>),
    /// Someone else is at it. This call did not run; ask again later, or use `wait`.
    InProgress(InProgress),
    /// An operator is settling a doubt. This call did not run.
    Reconciling(ReconcilingBy),
    /// Someone began it and vanished: whether it happened is not known. This call did not run; reconcile.
    Uncertain(Uncertain),
    /// This call did not run, and never will.
    NotRun(NotRun),
    /// This call ran, and whether its effect happened is not known. The key is uncertain; reconcile.
    RanUncertain(RanUncertain<E>),
    /// This call ran and ended so, and the store has not confirmed that it is recorded. A task goes on sending it until the
    /// hard deadline is well over, unless the store's error cannot pass. [`Sentinel::drain`](super::Sentinel::drain)
    /// waits for that task, and reports the error.
    Unconfirmed(Result<T, E>),
    /// This call ran and ended so, and someone else had decided about the key meanwhile: what stands now counts.
    Superseded(Result<T, E>, Current),
}

impl<T, E> Outcome<T, E> {
    /// The word used in logs and metrics.
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

    /// Whether the function of this very call ran (for `Failed`, as the failure says).
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

/// Why the value of an execution that is completed is not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotStored {
    /// The codec could not encode it.
    #[error("the result was not stored: it cannot be encoded: {0}")]
    NotEncodable(super::CodecError),
    /// It is larger than the call allows.
    #[error("the result was not stored: {bytes} bytes are over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of [`Once::payload_limit`](super::Once::payload_limit).
        limit: usize,
    },
    /// What it was encoded as does not decode to the same value: a replay would be another one, or none.
    #[error("the result was not stored faithfully, so it was left out: {0}")]
    Unfaithful(String),
    /// The store does not take these bytes.
    #[error("the result was not stored: {0}")]
    Refused(StoreError),
}

/// A failure that somebody vouched for.
#[derive(Debug)]
pub enum Failure<E> {
    /// It ran now, and nothing happened: anyone may try again. If the store has not confirmed that yet, a task goes on
    /// sending it; should the process end before, the key stays uncertain. `Sentinel::drain` waits for that task.
    NothingHappened(E),
    /// It ran now, and the failure is recorded for good.
    Recorded(E),
    /// It ran before; this is the recorded failure.
    Replayed(RecordedFailure),
    /// The preparation failed before the function ran: anyone may try again.
    Preparation(E),
}

/// A failure as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFailure {
    /// The record: code and bytes. The bytes are the error's text unless the function recorded others.
    pub recorded: Recorded,
}

impl fmt::Display for RecordedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.recorded.payload.bytes))
    }
}

/// Someone else's claim or run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProgress {
    /// Claimed or executing.
    pub state: State,
    /// What remained of the lease; a heartbeat may extend it.
    pub remaining: Duration,
}

/// An operator at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcilingBy {
    /// Who.
    pub operator: Label,
    /// Since when, by the store's clock.
    pub since: StoreTime,
}

/// A run that nobody knows the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncertain {
    /// The token in doubt: what `Reconciler::expect` wants.
    pub token: Token,
    /// When the side effect may have begun, by the store's clock.
    pub begun_at: StoreTime,
    /// Who ran it.
    pub worker: Option<Label>,
}

/// Why a call did not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotRun {
    /// The store could not answer; nothing ran. Where the request may have been carried out, the claim was cancelled.
    #[error("nothing ran: {0}")]
    Store(StoreError),
    /// A late duplicate of a call that was settled before.
    #[error("nothing ran: this call was cancelled or released before its claim arrived")]
    AlreadyReleased,
    /// What was left of the lease was over before the function could start; the claim was given back.
    #[error("nothing ran: the lease was over before the function could start; ask for a longer ttl")]
    Expired,
    /// Someone else took the claim before the function could start.
    #[error("nothing ran: the claim was lost before the function could start (now {} with token {})", .0.state, .0.token)]
    Superseded(Current),
    /// The preparation panicked; the claim was given back.
    #[error("nothing ran: the preparation panicked: {0}")]
    PreparationPanicked(Label),
    /// The system gave no thread for heartbeats, which have to be there before a claim is sent. The key is free.
    #[error(
        "nothing ran: no thread for heartbeats could be started: {0}; raise the limit of processes or threads"
    )]
    NoHeartbeats(Arc<std::io::Error>),
    /// The client drains: it grants nothing any more.
    #[error("nothing ran: this client is being drained, since its process is about to exit")]
    Draining,
    /// The caller went away, or the runtime shut down, before the function could start.
    #[error("nothing ran: the caller was gone before the function could start")]
    CallerGone,
}

/// This call ran, and nobody knows whether its effect happened.
#[derive(Debug)]
pub struct RanUncertain<E> {
    /// Why, as it stands in the record.
    pub cause: Label,
    /// The function's error; None: it panicked, its task was ended, or the transaction that was to record its result was
    /// not committed.
    pub error: Option<E>,
    /// The token in doubt: what `Reconciler::expect` wants.
    pub token: Token,
    /// The call.
    pub claim_id: ClaimId,
}

/// Why a call could not be answered at all. Nothing of this call ran unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bad input, refused before anything was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The key exists with another fingerprint: another request under the same key.
    #[error("the key was used for another request: the fingerprints differ; nothing ran; use another key")]
    FingerprintMismatch,
    /// It completed before, and its result was not stored: it could not be encoded, or was too large.
    #[error("it completed before, but its result was not stored; nothing ran now")]
    ResultNotStored(Box<Recorded>),
    /// It completed before, and its result cannot be decoded as what this call expects.
    #[error("it completed before, but its result cannot be decoded; nothing ran now: {source}")]
    Undecodable {
        /// The result as it stands in the record.
        recorded: Box<Recorded>,
        /// Why.
        source: super::CodecError,
    },
    /// The store could not answer an operator's or reader's request.
    #[error(transparent)]
    Store(#[from] StoreError),
}

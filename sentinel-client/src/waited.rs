//! What a caller of `wait` gets.

use std::time::Duration;

use sentinel_core::{Fingerprint, Label, Record, RecordedResult, State, StoreTime, Token};

use super::outcome::{InProgress, Reconciling, Uncertain};

/// The state of an execution, as [`Sentinel::wait`](crate::Sentinel::wait) found it. The caller has run nothing and has
/// claimed nothing.
#[must_use = "this value is the only report of the run that was waited for"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// It is completed; this is its result. It is as durable as one that `once` replays.
    Completed(CompletedExecution),
    /// A call has a live claim or run, and the time was over, or the client drains.
    InProgress(InProgress),
    /// A call began and its lease has lapsed: its outcome is unknown. Reconcile the key.
    Uncertain(Uncertain),
    /// An operator is deciding about the key.
    Reconciling(Reconciling),
    /// There is no run to wait for, and a call of `once` would run: the key has no record, is free, was claimed by a
    /// call whose claim lapsed before it began, or is completed and its result is past its retention.
    Absent,
}

/// An execution that is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedExecution {
    /// The recorded result: a success, or a final failure. [`decode_result`](crate::decode_result) decodes a success.
    pub result: RecordedResult,
    /// The fingerprint of the request that ran. `wait` does not compare it: see [`is_of`](Self::is_of).
    pub fingerprint: Option<Fingerprint>,
    /// The token under which it was completed.
    pub token: Token,
}

impl CompletedExecution {
    /// Whether `once` with this fingerprint would replay the result: it is not another request's. As in `once`, a
    /// fingerprint that one side does not have is not compared.
    pub fn is_of(&self, fingerprint: Option<&Fingerprint>) -> bool {
        match (&self.fingerprint, fingerprint) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        }
    }
}

impl Waited {
    /// The name used in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::InProgress(_) => "in_progress",
            Self::Uncertain(_) => "uncertain",
            Self::Reconciling(_) => "reconciling",
            Self::Absent => "absent",
        }
    }

    /// The state of a record whose result a caller may not have: it is not completed, or past its retention.
    pub(crate) fn without_result(record: Record, now: StoreTime) -> Self {
        let remaining = if record.is_live(now) { record.lease_until.since(now) } else { Duration::ZERO };
        match record.state {
            State::Executing if remaining.is_zero() => Self::Uncertain(Uncertain {
                token: record.token,
                begun_at: record.begun_at.unwrap_or_default(),
                worker: record.worker,
            }),
            State::Claimed | State::Executing if !remaining.is_zero() => {
                Self::InProgress(InProgress { state: record.state, remaining })
            }
            State::Reconciling => Self::Reconciling(match record.decision {
                Some(decision) => Reconciling { operator: decision.operator, since: decision.at },
                None => Reconciling { operator: Label::lossy(""), since: record.last_now },
            }),
            State::Free | State::Claimed | State::Executing | State::Completed => Self::Absent,
        }
    }
}

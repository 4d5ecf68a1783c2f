//! The log of a record: one event for each transition except a heartbeat, written in the same transaction.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::error::Invalid;
use crate::payload::{Accepts, Digest, Verdict};
use crate::record::{PastClaims, Record, State};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// One entry of a record's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The record's `rev` after the transition. Heartbeats also increase `rev`, so the revs of events have gaps.
    pub rev: u64,
    /// What happened, with everything that is needed to rebuild the record.
    pub change: Change,
    /// The state before; None: there was no record.
    pub from: Option<State>,
    /// The state after; None: the record was purged.
    pub to: Option<State>,
    /// The record's token after the transition.
    pub token: Token,
    /// The worker's call that caused it.
    pub claim_id: Option<ClaimId>,
    /// The operator's decision that caused it.
    pub op_id: Option<OpId>,
    /// The worker's label.
    pub worker: Option<Label>,
    /// The operator's label.
    pub operator: Option<Label>,
    /// The reason: an operator's reason, a cause of doubt, or evidence.
    pub reason: Option<Label>,
    /// When it happened, by the store's clock.
    pub at: StoreTime,
    /// The state before this event, from which a rebuild starts. Only the oldest event that is kept has it, and only if
    /// earlier events were dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Box<Rebuilt>>,
}

/// The maximum number of events that a store keeps for one record. Once there are more, the oldest are dropped, and at
/// least three quarters of the maximum remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventLimit(u32);

impl EventLimit {
    /// The smallest allowed maximum.
    pub const MIN: u32 = 8;
    /// The largest allowed maximum.
    pub const MAX: u32 = 1_000_000;

    /// Sets the maximum number of events. Returns an error below 8 and above 1,000,000.
    pub fn new(max_events: u32) -> Result<Self, Invalid> {
        match max_events {
            Self::MIN..=Self::MAX => Ok(Self(max_events)),
            _ => Err(Invalid::new("max events", format!("must be 8 to 1000000, is {max_events}"))),
        }
    }

    /// The maximum number of events that are kept for one record.
    pub fn max(self) -> usize {
        self.0 as usize
    }

    /// How many events remain after the oldest were dropped: three quarters of the maximum, rounded up.
    pub fn kept(self) -> usize {
        (self.0 as usize * 3).div_ceil(4)
    }
}

impl Default for EventLimit {
    /// 1,000 events.
    fn default() -> Self {
        Self(1_000)
    }
}

/// The part of a record that events record: all of it except the bytes of the result and the fields that heartbeats
/// change (lease, rev, last clock reading).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are the record's")]
pub struct Rebuilt {
    pub state: State,
    pub token: Token,
    pub claim_id: Option<ClaimId>,
    pub past_claims: PastClaims,
    pub incarnation: u64,
    pub after_reset: bool,
    pub worker: Option<Label>,
    pub terms: Option<Terms>,
    pub retention: Option<Duration>,
    pub claimed_at: Option<StoreTime>,
    pub hard_until: StoreTime,
    pub effects_until: StoreTime,
    pub begun_at: Option<StoreTime>,
    pub completed_at: Option<StoreTime>,
    pub fingerprint: Option<Fingerprint>,
    pub accepts: Accepts,
    pub result: Option<(Verdict, Option<i32>)>,
    pub doubt: Option<Label>,
    pub decided: Option<(OpId, Label, Option<Label>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Label>,
}

impl From<&Record> for Rebuilt {
    fn from(r: &Record) -> Self {
        Self {
            state: r.state,
            token: r.token,
            claim_id: r.claim_id,
            past_claims: r.past_claims,
            incarnation: r.incarnation,
            after_reset: r.after_reset,
            worker: r.worker.clone(),
            terms: r.terms,
            retention: r.retention,
            claimed_at: r.claimed_at,
            hard_until: r.hard_until,
            effects_until: r.effects_until,
            begun_at: r.begun_at,
            completed_at: r.completed_at,
            fingerprint: r.fingerprint.clone(),
            accepts: r.accepts.clone(),
            result: r.result.as_ref().map(|result| (result.verdict, result.code)),
            doubt: r.doubt.clone(),
            decided: r.decision.as_ref().map(|d| (d.op_id, d.operator.clone(), d.reason.clone())),
            cause: r.cause.clone(),
            about: r.about.clone(),
        }
    }
}

/// What a transition did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A claim was granted. `begun` means that the same request also began the execution.
    Claimed {
        /// The terms of the claim.
        terms: Terms,
        /// How long the result will be kept.
        retention: Option<Duration>,
        /// The fingerprint of the request.
        fingerprint: Option<Fingerprint>,
        /// The content types that callers can decode.
        accepts: Accepts,
        /// The incarnation.
        incarnation: u64,
        /// Whether the claim was granted and begun in one request.
        begun: bool,
        /// Why the claim was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// What the claim was about. The record has only that of its last claim.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Label>,
    },
    /// The execution began: its side effect may have started.
    Begun,
    /// The worker recorded a result. Only the record has its bytes.
    Completed {
        /// Success, or a final failure.
        verdict: Verdict,
        /// The caller's code.
        code: Option<i32>,
        /// Whether the lease had lapsed before the result was recorded.
        late: bool,
    },
    /// A call that will not run withdrew its claim, or blocked its claim id before it was granted.
    Cancelled,
    /// A worker released its claim.
    Released {
        /// The execution had begun, and the worker vouched that nothing happened.
        vouched: bool,
    },
    /// A worker reported that the outcome of its run is unknown.
    Abandoned {
        /// Before this instant an effect of the run may still land.
        effects_until: StoreTime,
    },
    /// An operator took an uncertain key.
    Reconciling,
    /// An operator recorded that it did happen.
    ForceCompleted {
        /// Success, or a final failure.
        verdict: Verdict,
        /// The operator's code.
        code: Option<i32>,
        /// The digest of the result.
        digest: Digest,
    },
    /// An operator recorded that it did not happen.
    ResetToClaimed,
    /// An operator freed a claim or a lease.
    Evicted,
    /// Maintenance deleted the record.
    Purged,
}

impl Change {
    /// The name used in storage, logs and the program.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "claimed",
            Self::Begun => "begun",
            Self::Completed { .. } => "completed",
            Self::Cancelled => "cancelled",
            Self::Released { .. } => "released",
            Self::Abandoned { .. } => "abandoned",
            Self::Reconciling => "reconciling",
            Self::ForceCompleted { .. } => "force_completed",
            Self::ResetToClaimed => "reset_to_claimed",
            Self::Evicted => "evicted",
            Self::Purged => "purged",
        }
    }
}

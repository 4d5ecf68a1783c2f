//! The log of a record: one event for each transition except a heartbeat, appended in the same transaction.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::payload::{Accepts, Digest, Verdict};
use crate::record::{PastClaims, Record, State};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// One line of a record's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The record's `rev` after it. Heartbeats count too, so revs have gaps.
    pub rev: u64,
    /// What happened, with what is needed to rebuild the record.
    pub change: Change,
    /// The state before; None: there was no record.
    pub from: Option<State>,
    /// The state after; None: the record was purged.
    pub to: Option<State>,
    /// The record's token after it.
    pub token: Token,
    /// The worker's call behind it.
    pub claim_id: Option<ClaimId>,
    /// The operator's decision behind it.
    pub op_id: Option<OpId>,
    /// The worker's label.
    pub worker: Option<Label>,
    /// The operator.
    pub operator: Option<Label>,
    /// Why: an operator's reason, a cause of doubt, evidence.
    pub reason: Option<Label>,
    /// The store's time.
    pub at: StoreTime,
    /// Earlier events of the record were dropped, and this is what they rebuilt: the state before this event, from which
    /// a rebuild starts. Only the oldest event that is kept has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Box<Rebuilt>>,
}

/// How many events of one record a store keeps: at most this many, and at least three quarters of them once there were
/// more. Older ones are dropped by the transition that exceeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventLimit(u32);

impl EventLimit {
    /// The fewest that can be kept.
    pub const MIN: u32 = 8;
    /// The most that can be kept.
    pub const MAX: u32 = 1_000_000;

    /// Takes a number of events. Refuses fewer than 8 and more than a million.
    pub fn new(max_events: u32) -> Result<Self, Invalid> {
        match max_events {
            Self::MIN..=Self::MAX => Ok(Self(max_events)),
            _ => Err(Invalid::new("max events", format!("must be 8 to 1000000, is {max_events}"))),
        }
    }

    /// The most events that are kept of one record.
    pub fn max(self) -> usize {
        self.0 as usize
    }

    /// How many are left after older ones were dropped: three quarters, rounded up.
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

/// What events record of a record: all but the bytes of the result and what heartbeats move (lease, rev, last reading).
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
        }
    }
}

/// What a transition did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A claim was granted, fused with its begin where `begun`.
    Claimed {
        /// The terms.
        terms: Terms,
        /// How long the result will be kept.
        retention: Option<Duration>,
        /// What the request is about.
        fingerprint: Option<Fingerprint>,
        /// The content types that callers can decode.
        accepts: Accepts,
        /// The incarnation.
        incarnation: u64,
        /// Claimed and begun in one.
        begun: bool,
    },
    /// The side effect may start.
    Begun,
    /// A result was recorded by its worker; its bytes stand in the record only.
    Completed {
        /// Success or failure for good.
        verdict: Verdict,
        /// The caller's code.
        code: Option<i32>,
        /// Recorded after the lease had lapsed.
        late: bool,
    },
    /// A call that will not run withdrew its claim, or its wish for one.
    Cancelled,
    /// A worker gave its claim back.
    Released {
        /// It had begun, and vouched that nothing happened.
        vouched: bool,
    },
    /// A worker reported that it does not know the outcome of its run.
    Abandoned {
        /// Before this instant an effect of the run may still land.
        effects_until: StoreTime,
    },
    /// An operator took an uncertain key.
    Reconciling,
    /// An operator recorded that it did happen.
    ForceCompleted {
        /// Success or failure for good.
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
    /// The word used in storage, logs and by the program.
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

//! The log of a record: one event for each transition except a heartbeat, appended in the same transaction.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::payload::{Digest, Verdict};
use crate::record::State;
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
    /// A worker said that it does not know what happened.
    Abandoned,
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
            Self::Abandoned => "abandoned",
            Self::Reconciling => "reconciling",
            Self::ForceCompleted { .. } => "force_completed",
            Self::ResetToClaimed => "reset_to_claimed",
            Self::Evicted => "evicted",
            Self::Purged => "purged",
        }
    }
}

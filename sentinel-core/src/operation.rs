//! What can be asked of a record, and what is answered. The effects are spec §3, the guards are
//! [`kernel::table`](crate::kernel).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::payload::{Accepts, Recorded, Verdict, media_type};
use crate::record::{Grant, State};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// How far a claim goes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Claim only: there is work to do before the side effect.
    Claimed,
    /// Claim and begin in one request: the fused form.
    Executing,
}

/// Asks for a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Fresh for each call of `once` or `lease`; the same for each resend of it.
    pub claim_id: ClaimId,
    /// ttl, hard ttl and late effects.
    pub terms: Terms,
    /// How long the result is kept after completion, in whole microseconds (a finer part is dropped); None: for ever.
    pub retention: Option<Duration>,
    /// What the request is about.
    pub fingerprint: Option<Fingerprint>,
    /// The content types that callers of this key can decode.
    pub accepts: Accepts,
    /// Who asks, for people.
    pub worker: Label,
    /// Claim only, or claim and begin.
    pub phase: Phase,
}

/// The side effect is about to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The worker's right.
    pub grant: Grant,
}

/// The worker is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker's right.
    pub grant: Grant,
}

/// One heartbeat of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Which record.
    pub address: Address,
    /// The worker's right.
    pub grant: Grant,
}

/// The function has ended, and this is its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The worker's right.
    pub grant: Grant,
    /// The result.
    pub result: Recorded,
}

/// The function of this call did not run and will not. Carries no token: the claim's reply may never have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The call.
    pub claim_id: ClaimId,
}

/// The worker gives its claim back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The worker's right.
    pub grant: Grant,
    /// The worker vouches that nothing happened.
    pub vouched: bool,
}

/// The function has ended, and its outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// The worker's right.
    pub grant: Grant,
    /// Why there is doubt.
    pub cause: Label,
    /// How long from now on an effect of the run may still land, in whole microseconds (a finer part is dropped).
    pub late_effects: Duration,
}

/// An operator takes an uncertain key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// The decision.
    pub op_id: OpId,
    /// Who.
    pub operator: Label,
    /// Why.
    pub reason: Option<Label>,
    /// The token that was seen: a late duplicate must not seize a newer run.
    pub expect: Token,
    /// Take it although its worker is alive.
    pub even_if_alive: bool,
    /// Take it from another operator.
    pub steal: bool,
}

/// An operator records that it did happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceComplete {
    /// The decision.
    pub op_id: OpId,
    /// The reconcile token.
    pub token: Token,
    /// Who.
    pub operator: Label,
    /// Why.
    pub reason: Option<Label>,
    /// What to replay from now on.
    pub result: Recorded,
    /// Record it although callers of the key cannot decode its content type.
    pub as_is: bool,
}

impl ForceComplete {
    /// The media type that callers of the key have to accept; None: there are no bytes that they would decode. A
    /// failure is replayed as it was recorded, undecoded.
    pub fn to_decode(&self) -> Option<String> {
        let Recorded { verdict, omitted, payload, .. } = &self.result;
        let decoded = *verdict == Verdict::Success && !omitted && !self.as_is;
        decoded.then(|| media_type(payload.content_type.as_str()))
    }
}

/// An operator records that it did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetToClaimed {
    /// The decision.
    pub op_id: OpId,
    /// The reconcile token.
    pub token: Token,
    /// Who.
    pub operator: Label,
    /// Why.
    pub reason: Option<Label>,
    /// Do not wait until the effects of the old run have landed: two runs may overlap.
    pub accept_overlap: bool,
}

/// An operator frees a claim or lease whose holder will not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evict {
    /// The decision.
    pub op_id: OpId,
    /// Who.
    pub operator: Label,
    /// Why.
    pub reason: Option<Label>,
    /// The token that was seen.
    pub expect: Token,
}

/// Where a record stands, as far as a refused caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Current {
    /// The state.
    pub state: State,
    /// The token.
    pub token: Token,
}

/// A grant and what remains of it. `remaining` is `lease_until` less the reply's `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The fencing token.
    pub token: Token,
    /// Claimed or executing.
    pub state: State,
    /// The incarnation, from which the provider's idempotency key is derived.
    pub incarnation: u64,
    /// The lease holds before this instant.
    pub lease_until: StoreTime,
    /// No heartbeat extends the lease past this instant.
    pub hard_until: StoreTime,
}

/// Answers to [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimReply {
    /// The caller holds it: newly, or still, after a lost reply.
    Granted(Granted),
    /// The claim id was released, cancelled or superseded before: a late duplicate.
    AlreadyReleased,
    /// Someone else's, and live.
    InProgress {
        /// Claimed or executing.
        state: State,
        /// What remains of the lease.
        remaining: Duration,
    },
    /// Someone began it, and is no longer live.
    Uncertain {
        /// The token in doubt.
        token: Token,
        /// When the side effect may have begun.
        begun_at: StoreTime,
        /// Who ran it.
        worker: Option<Label>,
    },
    /// Done.
    Completed {
        /// The result.
        result: Recorded,
        /// What remains of its retention, more than nothing; None: it is kept for ever. Until that is over every claim
        /// that the fingerprint allows is answered with the same bytes, which is what a cache of replays
        /// rests on.
        remaining: Option<Duration>,
    },
    /// An operator is settling it. The reconcile token is not told.
    Reconciling {
        /// Since when.
        since: StoreTime,
        /// By whom.
        operator: Label,
    },
    /// Same key, another request. Nothing of the result is told.
    FingerprintMismatch,
}

/// Answers to [`Begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeginReply {
    /// The function may start, if it starts at once.
    Begun(Granted),
    /// Someone else holds the record, or nobody does.
    Superseded(Current),
    /// The lease or the hard deadline is over.
    Expired,
    /// This grant completed it already.
    Completed,
}

/// Answers to [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeartbeatReply {
    /// The lease holds until then.
    Kept {
        /// The lease holds before this instant.
        lease_until: StoreTime,
    },
    /// The worker has lost its authority.
    Lost(LostReason),
    /// The store did not look: ask again. Says nothing about the lease.
    Unknown,
}

/// Why a heartbeat was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LostReason {
    /// Someone else holds the record, an operator took it, or nobody holds it.
    Superseded(Current),
    /// The record is completed.
    Completed,
    /// The hard deadline has passed.
    HardDeadline,
    /// The lease lapsed; a lease never revives.
    Lapsed,
    /// The run was abandoned: its worker reported that it does not know the outcome.
    Abandoned,
}

/// Answers to [`Complete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompleteReply {
    /// The result is recorded.
    Recorded {
        /// The lease had lapsed before: the doubt is settled by the truth.
        late: bool,
    },
    /// The same grant recorded other bytes before.
    Conflict,
    /// The claim never began.
    NotBegun,
    /// Someone else decided.
    Superseded(Current),
}

/// Answers to [`Cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReply {
    /// The claim id holds nothing and will not be granted any more.
    Cancelled,
    /// The record is not this call's; nothing was changed.
    Untouched(Current),
}

/// Answers to [`Release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseReply {
    /// Anyone may claim.
    Released,
    /// It began, and nobody vouched that nothing happened.
    MayHaveRun,
    /// Not this grant's any more.
    Superseded(Current),
}

/// Answers to [`Abandon`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbandonReply {
    /// The key is uncertain now.
    Abandoned,
    /// Not this grant's any more, or never begun.
    Superseded(Current),
}

/// Answers to [`Reconcile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileReply {
    /// The operator holds it.
    Taken {
        /// The reconcile token.
        token: Token,
        /// Since when.
        since: StoreTime,
        /// When a reset becomes possible without accepting an overlap: from then on no effect of the old run lands.
        effects_until: StoreTime,
        /// When the side effect may have begun.
        begun_at: Option<StoreTime>,
        /// Who ran it.
        worker: Option<Label>,
    },
    /// The token that was seen is no longer the current one.
    StaleDecision(Current),
    /// Another operator holds it.
    HeldBy {
        /// Their decision.
        op_id: OpId,
        /// Who.
        operator: Label,
        /// Since when.
        since: StoreTime,
    },
    /// Its worker is alive.
    StillAlive {
        /// The lease holds before this instant.
        until: StoreTime,
    },
    /// There is no doubt: the result is recorded.
    AlreadyCompleted,
    /// There is no doubt: nothing began.
    NotExecuting(Current),
}

/// Answers to [`ForceComplete`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForceCompleteReply {
    /// Recorded, and replayed from now on.
    Completed,
    /// The reconcile token is no longer the current one, or was used for another decision.
    StaleDecision(Current),
    /// Callers of this key cannot decode bytes of this content type.
    NotDecodable {
        /// What they can decode.
        accepts: Accepts,
    },
}

/// Answers to [`ResetToClaimed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetReply {
    /// Anyone may claim at once.
    Reset {
        /// The token that the reset drew.
        token: Token,
    },
    /// The reconcile token is no longer the current one, or was used for another decision.
    StaleDecision(Current),
    /// The old run may still be going, or an effect of it may still land.
    EffectsMayLand {
        /// From then on none does.
        until: StoreTime,
    },
}

/// Answers to [`Evict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvictReply {
    /// Anyone may claim at once.
    Evicted {
        /// The token that the eviction drew.
        token: Token,
    },
    /// The token that was seen is no longer the current one.
    StaleDecision(Current),
    /// The execution began: that is for `reconcile`.
    Executing,
    /// Nobody holds a claim.
    NotClaimed(Current),
}

/// A reply with the store's own linearisation: sort by these, replay through the kernel, and a history is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<R> {
    /// The answer.
    pub reply: R,
    /// Where and when in the record's life it was given.
    pub stamp: Stamp,
}

/// Where and when in a record's life a reply was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The one clock reading of the operation. It was taken after the request was sent, so what a client counts from
    /// its own sending of the request ends no later than what the store counts from this.
    pub now: StoreTime,
    /// The record's rev after it; 0: absent.
    pub rev: u64,
    /// The record's token after it.
    pub token: Token,
    /// The record's state after it.
    pub state: State,
    /// Whether this very request changed the record.
    pub changed: bool,
}

impl Stamp {
    /// The stamp of an answer that was given without looking at the record: a heartbeat that was passed over, a claim
    /// whose row a transaction holds.
    pub fn unseen(now: StoreTime) -> Self {
        Self { now, rev: 0, token: Token::NONE, state: State::Free, changed: false }
    }
}

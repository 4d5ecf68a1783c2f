//! The requests on a record and their replies, as data. Spec §3 defines their effects, [`kernel::table`](crate::kernel)
//! their guards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::cause::Cause;
use crate::payload::{Accepts, RecordedResult, Verdict, media_type};
use crate::record::{Grant, State};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// How far a claim goes in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Claim only: the worker has work to do before the side effect.
    Claimed,
    /// Claim and begin in one request, the *fused* form.
    Executing,
}

/// Requests a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// New for each call of `once` or `lease`; the same each time that call sends the request again.
    pub claim_id: ClaimId,
    /// ttl, hard ttl and late effects.
    pub terms: Terms,
    /// How long the result is kept after completion, in whole microseconds (a finer part is dropped); None: without
    /// limit.
    pub retention: Option<Duration>,
    /// Identifies the content of the request, to detect another request under the same key.
    pub fingerprint: Option<Fingerprint>,
    /// The content types that callers of this key can decode.
    pub accepts: Accepts,
    /// A label for the worker, for people.
    pub worker: Label,
    /// Claim only, or claim and begin.
    pub phase: Phase,
    /// Why the claim was made, for people. It decides nothing.
    pub cause: Option<Cause>,
    /// What the claim is about, for people. It decides nothing.
    pub about: Option<Label>,
}

/// Begins an execution: its side effect is about to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The worker's grant.
    pub grant: Grant,
}

/// Extends the lease of a worker that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker's grant.
    pub grant: Grant,
}

/// One heartbeat of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The record's address.
    pub address: Address,
    /// The worker's grant.
    pub grant: Grant,
}

/// Records the result of a function that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The worker's grant.
    pub grant: Grant,
    /// The result.
    pub result: RecordedResult,
}

/// Withdraws a call whose function did not run and will not run. It has no token, because the claim's reply may have
/// been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The id of the call.
    pub claim_id: ClaimId,
}

/// Releases a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The worker's grant.
    pub grant: Grant,
    /// Whether the worker vouches that nothing happened.
    pub vouched: bool,
}

/// Reports that the function has ended and its outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// The worker's grant.
    pub grant: Grant,
    /// Why the outcome is unknown.
    pub cause: Label,
    /// How long from now an effect of the run may still land, in whole microseconds (a finer part is dropped).
    pub late_effects: Duration,
}

/// Takes an uncertain key for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// The id of the decision.
    pub op_id: OpId,
    /// The operator's label.
    pub operator: Label,
    /// The reason.
    pub reason: Option<Label>,
    /// The token that the operator saw. It prevents a late duplicate from taking over a newer run.
    pub expect: Token,
    /// Takes the key even if its worker is alive.
    pub even_if_alive: bool,
    /// Takes the key even if another operator holds it.
    pub steal: bool,
}

/// Records an operator's decision that the work happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceComplete {
    /// The id of the decision.
    pub op_id: OpId,
    /// The reconcile token.
    pub token: Token,
    /// The operator's label.
    pub operator: Label,
    /// The reason.
    pub reason: Option<Label>,
    /// The result to replay from now on.
    pub result: RecordedResult,
    /// Records the result even if callers of the key cannot decode its content type.
    pub as_is: bool,
}

impl ForceComplete {
    /// The media type that callers of the key must be able to decode. None if they decode nothing: the bytes are
    /// omitted, the result is a failure, which is replayed undecoded, or `as_is` is set.
    pub fn to_decode(&self) -> Option<String> {
        let RecordedResult { verdict, omitted, payload, .. } = &self.result;
        let decoded = *verdict == Verdict::Success && !omitted && !self.as_is;
        decoded.then(|| media_type(payload.content_type.as_str()))
    }
}

/// Records an operator's decision that the work did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetToClaimed {
    /// The id of the decision.
    pub op_id: OpId,
    /// The reconcile token.
    pub token: Token,
    /// The operator's label.
    pub operator: Label,
    /// The reason.
    pub reason: Option<Label>,
    /// Resets even while an effect of the old run may still land: two runs may overlap.
    pub accept_overlap: bool,
}

/// Frees a claim or a lease whose holder will not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evict {
    /// The id of the decision.
    pub op_id: OpId,
    /// The operator's label.
    pub operator: Label,
    /// The reason.
    pub reason: Option<Label>,
    /// The token that the operator saw.
    pub expect: Token,
}

/// The record's state and token, as a refused caller learns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Current {
    /// The state.
    pub state: State,
    /// The token.
    pub token: Token,
}

/// A grant and its deadlines. The time that remains is `lease_until` minus the `now` of the reply's stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The fencing token.
    pub token: Token,
    /// Claimed or executing.
    pub state: State,
    /// The incarnation, from which the idempotency key for the provider is derived.
    pub incarnation: u64,
    /// The lease is live before this instant.
    pub lease_until: StoreTime,
    /// No heartbeat extends the lease past this instant.
    pub hard_until: StoreTime,
}

/// Replies to [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimReply {
    /// The caller has the grant: a new one, or, if this claim id holds the record already, the same one again.
    Granted(Granted),
    /// The claim id held or cancelled a claim on this address before; the request is a late duplicate.
    AlreadyReleased,
    /// Another call has a live claim or execution.
    InProgress {
        /// Claimed or executing.
        state: State,
        /// How long the lease lasts if no heartbeat extends it.
        remaining: Duration,
    },
    /// Another call began and its lease has lapsed: the outcome is unknown.
    Uncertain {
        /// The token of the uncertain run.
        token: Token,
        /// When its side effect may have begun.
        begun_at: StoreTime,
        /// The worker that ran it.
        worker: Option<Label>,
    },
    /// The execution is completed.
    Completed {
        /// The recorded result.
        result: RecordedResult,
        /// What remains of the retention, more than zero; None: the result is kept without limit. Until then, every
        /// claim that the fingerprint allows gets the same bytes. A cache of replays depends on that.
        remaining: Option<Duration>,
    },
    /// An operator is deciding about it. The reply does not include the reconcile token.
    Reconciling {
        /// When the operator took it.
        since: StoreTime,
        /// The operator's label.
        operator: Label,
    },
    /// The key was used for a request with another fingerprint. The reply includes nothing of its result.
    FingerprintMismatch,
}

/// Replies to [`Begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BeginReply {
    /// The execution has begun. The function may start, if it starts before the lease ends.
    Begun(Granted),
    /// The grant is not, or no longer, the record's.
    Superseded(Current),
    /// The lease or the hard deadline is over.
    Expired,
    /// This grant completed the execution already.
    Completed,
}

/// Replies to [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeartbeatReply {
    /// The grant is valid, and the lease is extended as far as the terms allow.
    Kept {
        /// The lease is live before this instant.
        lease_until: StoreTime,
    },
    /// The worker has lost its authority.
    Lost(LostReason),
    /// The store did not read the record; send the heartbeat again. This reply implies nothing about the lease.
    Unknown,
}

/// Why a heartbeat was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LostReason {
    /// The grant is not, or no longer, the record's: another call or an operator took the record, or it is free.
    Superseded(Current),
    /// The record is completed.
    Completed,
    /// The hard deadline has passed.
    HardDeadline,
    /// The lease lapsed. A lapsed lease is never revived.
    Lapsed,
    /// The run was abandoned: its worker reported that its outcome is unknown.
    Abandoned,
}

/// Replies to [`Complete`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompleteReply {
    /// The result is recorded.
    Recorded {
        /// Whether the lease had lapsed before. The result then ended the doubt.
        late: bool,
    },
    /// The same grant recorded another result before.
    Conflict,
    /// The claim was never begun.
    NotBegun,
    /// The grant is not, or no longer, the record's.
    Superseded(Current),
}

/// Replies to [`Cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReply {
    /// The claim id holds nothing and will never be granted.
    Cancelled,
    /// The claim id does not hold the record, or the run was abandoned. Nothing was changed.
    Untouched(Current),
}

/// Replies to [`Release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseReply {
    /// The record is free: any call can claim it.
    Released,
    /// The execution began, and the worker did not vouch that nothing happened, or abandoned the run before.
    MayHaveRun,
    /// The grant is no longer the record's.
    Superseded(Current),
}

/// Replies to [`Abandon`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbandonReply {
    /// The key is uncertain now.
    Abandoned,
    /// The grant is no longer the record's, or the execution never began.
    Superseded(Current),
}

/// Replies to [`Reconcile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReconcileReply {
    /// The operator has taken the key.
    Taken {
        /// The reconcile token.
        token: Token,
        /// When it was taken.
        since: StoreTime,
        /// From this instant no effect of the old run lands, and a reset needs no accepted overlap.
        effects_until: StoreTime,
        /// When the side effect may have begun.
        begun_at: Option<StoreTime>,
        /// The worker that ran it.
        worker: Option<Label>,
    },
    /// The record's token is not the expected one.
    StaleDecision(Current),
    /// Another operator has taken the key.
    HeldBy {
        /// The id of that operator's decision.
        op_id: OpId,
        /// That operator's label.
        operator: Label,
        /// When that operator took it.
        since: StoreTime,
    },
    /// The worker is alive.
    StillAlive {
        /// The lease is live before this instant.
        until: StoreTime,
    },
    /// The outcome is known: the result is recorded.
    AlreadyCompleted,
    /// The outcome is known: nothing began.
    NotExecuting(Current),
}

/// Replies to [`ForceComplete`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForceCompleteReply {
    /// The result is recorded, and replayed from now on.
    Completed,
    /// The reconcile token is no longer the record's, or was used for another decision.
    StaleDecision(Current),
    /// Callers of this key cannot decode the content type of the result.
    NotDecodable {
        /// The content types that they can decode.
        accepts: Accepts,
    },
}

/// Replies to [`ResetToClaimed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetReply {
    /// The record is free: any call can claim it at once.
    Reset {
        /// The new token that the reset drew.
        token: Token,
    },
    /// The reconcile token is no longer the record's, or was used for another decision.
    StaleDecision(Current),
    /// The old run may still be running, or one of its effects may still land.
    EffectsMayLand {
        /// From this instant no effect lands.
        until: StoreTime,
    },
}

/// Replies to [`Evict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvictReply {
    /// The record is free: any call can claim it at once.
    Evicted {
        /// The new token that the eviction drew.
        token: Token,
    },
    /// The record's token is not the expected one.
    StaleDecision(Current),
    /// The execution has begun: use `reconcile`.
    Executing,
    /// The record is not claimed.
    NotClaimed(Current),
}

/// A reply and its place in the order of the store. Sorted by their stamps and replayed through the kernel, the replies
/// to a record check a whole history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<R> {
    /// The reply.
    pub reply: R,
    /// The point in the record's life at which the reply was given.
    pub stamp: Stamp,
}

/// The point in a record's life at which a reply was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The one reading of the store's clock for this operation. The store took it after the client sent the request. So
    /// a deadline that the client counts from its sending ends no later than the store's own.
    pub now: StoreTime,
    /// The record's rev after the operation; 0: there is no record.
    pub rev: u64,
    /// The record's token after the operation.
    pub token: Token,
    /// The record's state after the operation.
    pub state: State,
    /// Whether this request changed the record.
    pub changed: bool,
}

impl Stamp {
    /// The stamp of a reply for which the store did not read the record: a skipped heartbeat, or a claim on a row that
    /// an open transaction has locked.
    pub fn unseen(now: StoreTime) -> Self {
        Self { now, rev: 0, token: Token::NONE, state: State::Free, changed: false }
    }
}

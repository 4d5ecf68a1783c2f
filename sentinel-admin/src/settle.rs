//! Taking an uncertain key and deciding about it, as one call.

use std::fmt;

use sentinel_client::{DecisionOutcome, Error, Holding, ReconcileOutcome, Reconciler, Refused, Sentinel};
use sentinel_core::internal::sha256;
use sentinel_core::operation::ReconcileReply;
use sentinel_core::{Accepts, Kind, Label, OpId, Record, RecordedResult, StoreTime, Token, Verdict};

/// What is decided about an uncertain key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It happened: this result is replayed from now on.
    Happened(RecordedResult),
    /// It did not happen: any call can run it again.
    DidNotHappen,
}

/// A settlement, and who makes it.
#[derive(Debug, Clone)]
pub struct SettleRequest {
    /// What is decided.
    pub settlement: Settlement,
    /// The id of the decision. Repeat the request with the same id if its reply was lost.
    pub op_id: OpId,
    /// The operator's label.
    pub operator: Label,
    /// The reason, which both events record.
    pub reason: Option<Label>,
    /// The token that the operator saw; None: the current one is read first.
    pub expect: Option<Token>,
    /// Records the result even if callers cannot decode it.
    pub as_is: bool,
}

/// A key that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The record's token after the decision.
    pub token: Token,
}

/// Why a key is not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSettled {
    /// There is no record.
    Absent,
    /// An effect of the run may still land, so it cannot be decided that it did not happen. Nothing was changed.
    TooEarly {
        /// From this instant on it can.
        until: StoreTime,
    },
    /// Callers of the key cannot decode the result. Nothing was changed.
    NotDecodable {
        /// The content types that they can decode.
        accepts: Accepts,
    },
    /// The key was not taken. Nothing was changed.
    NotTaken(ReconcileReply),
    /// The key was taken, and the decision was refused. The key waits for a decision under this token.
    Taken {
        /// The reconcile token.
        token: Token,
        /// Why the decision was refused.
        refused: Refused,
    },
}

impl fmt::Display for NotSettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no record"),
            Self::TooEarly { until } => write!(f, "an effect of the run may still land until {until}"),
            Self::NotDecodable { accepts } => write!(f, "callers of this key can only decode {accepts}"),
            Self::NotTaken(reply) => write!(f, "the key was not taken: {reply}"),
            Self::Taken { token, refused } => {
                write!(f, "the key was taken (token {token}), and then {refused}")
            }
        }
    }
}

/// Takes an uncertain key and decides about it.
///
/// **Effect:** reconcile and force-complete, or reconcile and reset: two requests, each with an event. The old worker
/// is fenced out. "Did not happen" is refused before anything is sent while an effect of the run may still land.
/// **Atomicity:** bound to the token that was read or expected, so it never applies to a newer run. If the second
/// request is refused or not answered, the key stays taken. **Repeating it** with the same op id continues where the
/// first request ended, and returns the same reply. **Errors:** invalid input, or the store could not answer: repeat it
/// with the same op id.
pub async fn settle(
    sentinel: &Sentinel,
    key: &str,
    request: &SettleRequest,
) -> Result<Result<Settled, NotSettled>, Error> {
    let seen = sentinel.inspect(Kind::Execution, key).await?;
    let Some(record) = seen.record else { return Ok(Err(NotSettled::Absent)) };
    let now = seen.now.max(record.last_now);
    let decide_id = second_id(request.op_id);
    let seeking = sentinel.reconciler(key).operator(&request.operator);
    let seeking = match &request.reason {
        Some(reason) => seeking.reason(reason),
        None => seeking,
    };
    // A repeated request whose decision was recorded: it gets the same reply.
    let decided = record.decision.as_ref().filter(|decision| decision.op_id == decide_id);
    if let Some(presented) = decided.map(|decision| decision.presented) {
        return decide(seeking.resume(presented), request, decide_id).await;
    }
    if let Some(accepts) = undecodable(&record, request)? {
        return Ok(Err(NotSettled::NotDecodable { accepts }));
    }
    if let Some(until) = too_early(&record, now, request) {
        return Ok(Err(NotSettled::TooEarly { until }));
    }
    let seeking = seeking.expect(request.expect.unwrap_or(record.token)).op_id(request.op_id);
    match seeking.reconcile().await? {
        ReconcileOutcome::Taken(held) => decide(*held, request, decide_id).await,
        ReconcileOutcome::Refused(reply) => Ok(Err(NotSettled::NotTaken(reply))),
    }
}

/// What callers can decode, if that is not the result. A decision is final, so it is checked before the key is taken.
fn undecodable(record: &Record, request: &SettleRequest) -> Result<Option<Accepts>, Error> {
    let Settlement::Happened(result) = &request.settlement else { return Ok(None) };
    if request.as_is || result.verdict == Verdict::Failure || result.omitted {
        return Ok(None);
    }
    result.payload.check()?;
    let is_decoded = record.accepts.accepts(result.payload.content_type.as_str());
    Ok((!is_decoded).then(|| record.accepts.clone()))
}

/// From when on a key can be settled as "did not happen", if that is not now.
fn too_early(record: &Record, now: StoreTime, request: &SettleRequest) -> Option<StoreTime> {
    let resets = request.settlement == Settlement::DidNotHappen;
    let is_taken = record.decision.as_ref().is_some_and(|decision| decision.op_id == request.op_id);
    let waits = record.is_uncertain(now) || is_taken;
    (resets && waits && record.effects_may_land(now)).then_some(record.effects_until)
}

async fn decide(
    held: Reconciler<Holding>,
    request: &SettleRequest,
    op_id: OpId,
) -> Result<Result<Settled, NotSettled>, Error> {
    let token = held.token();
    let held = held.op_id(op_id);
    let held = if request.as_is { held.as_is() } else { held };
    let outcome = match &request.settlement {
        Settlement::Happened(result) => held.force_complete_recorded(result.clone()).await?,
        Settlement::DidNotHappen => held.reset_to_claimed().await?,
    };
    Ok(match outcome {
        DecisionOutcome::Done { token, .. } => Ok(Settled { token }),
        DecisionOutcome::Refused(refused) => Err(NotSettled::Taken { token, refused }),
    })
}

/// The id of the second request, derived from the first, so that a repeated request repeats both.
fn second_id(op_id: OpId) -> OpId {
    let digest = sha256(&[b"settle", &op_id.bits().to_be_bytes()]);
    OpId::from_bits(u128::from_be_bytes(std::array::from_fn(|at| digest[at])))
}

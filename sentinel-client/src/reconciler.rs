//! Operators: settling a doubt, step by step, with types that allow no other order.

use std::fmt;

use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Address, Invalid, Key, Kind, Label, OpId, Payload, Recorded, StoreError, StoreTime, Token,
};
use serde::Serialize;

use super::Sentinel;
use super::observe::Named;
use super::outcome::Error;
use super::retry::Persist;

/// Settles an uncertain key: [`reconcile`](Self::reconcile) takes it and fences the old worker out; only what that
/// gives can decide. Every decision has an op id: repeated with the same one after a lost answer, it answers the same.
///
/// ```
/// # async fn settle(sentinel: sentinel_client::Sentinel) -> Result<(), sentinel_client::Error> {
/// use sentinel_client::{Decided, Reconciled};
///
/// match sentinel.reconciler("invoice-42").operator("ada").reason("called the bank").reconcile().await? {
///     Reconciled::Taken(held) => match held.force_complete(&"receipt 7").await? {
///         Decided::Done { .. } => println!("replayed from now on"),
///         Decided::Refused(why) => println!("{why}"),
///     },
///     Reconciled::Refused(reply) => println!("{reply:?}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// Nothing can be decided before:
///
/// ```compile_fail,E0599
/// # async fn settle(sentinel: sentinel_client::Sentinel) {
/// sentinel.reconciler("invoice-42").force_complete(&"receipt 7").await;
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # async fn settle(sentinel: sentinel_client::Sentinel) {
/// sentinel.reconciler("invoice-42").reset_to_claimed().await;
/// # }
/// ```
#[must_use = "nothing happens before `reconcile`"]
#[derive(Debug)]
pub struct Reconciler<S> {
    sentinel: Sentinel,
    key: Result<Key, Invalid>,
    operator: Result<Label, Invalid>,
    reason: Option<Result<Label, Invalid>>,
    op_id: Option<OpId>,
    stage: S,
}

/// The stage before `reconcile`: nothing can be decided yet.
#[derive(Debug, Default)]
pub struct Seeking {
    expect: Option<Token>,
    even_if_alive: bool,
    steal: bool,
}

/// The stage after `reconcile`: the key is held, and waits for a decision.
#[derive(Debug)]
pub struct Holding {
    token: Token,
    taken: Option<Taken>,
    accept_overlap: bool,
    as_is: bool,
}

#[derive(Debug)]
struct Taken {
    op_id: OpId,
    since: StoreTime,
    effects_until: StoreTime,
    begun_at: Option<StoreTime>,
    worker: Option<Label>,
}

/// What came of `reconcile`.
#[must_use = "a key that was not taken is told here"]
#[derive(Debug)]
pub enum Reconciled {
    /// The key is held: decide.
    Taken(Box<Reconciler<Holding>>),
    /// It was not taken.
    Refused(ReconcileReply),
}

/// What came of a decision.
#[must_use = "a decision that did not apply is told here"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It stands, now or since it was sent first.
    Done {
        /// The decision.
        op_id: OpId,
        /// The record's token after it.
        token: Token,
    },
    /// It does not apply.
    Refused(Refused),
}

/// Why a decision does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The token is no longer the current one, or was used for another decision.
    StaleDecision(Current),
    /// The old run may still be going, or an effect of it may still land. Wait, or accept that two runs overlap.
    EffectsMayLand {
        /// From then on none does, by the store's clock.
        until: StoreTime,
    },
    /// Callers of the key cannot decode the result, and a decision is final. Give a result of an accepted content type,
    /// or insist with [`as_is`](Reconciler::as_is).
    NotDecodable {
        /// What they can decode.
        accepts: Accepts,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleDecision(now) => {
                write!(f, "the decision is stale: the record is {} with token {}", now.state, now.token)
            }
            Self::EffectsMayLand { until } => {
                write!(f, "an effect of the old run may still land until {until} by the store's clock")
            }
            Self::NotDecodable { accepts } => {
                write!(f, "callers of this key can only decode {accepts}; nothing was recorded")
            }
        }
    }
}

impl<S> Reconciler<S> {
    /// Who decides. `operator` if it is not set.
    pub fn operator(mut self, name: impl AsRef<str>) -> Self {
        self.operator = Label::new(name);
        self
    }

    /// Why. Recorded in the event.
    pub fn reason(mut self, reason: impl AsRef<str>) -> Self {
        self.reason = Some(Label::new(reason));
        self
    }

    /// The id of the next decision; fresh if it is not set. Keep it where you may have to repeat the decision.
    pub fn op_id(mut self, op_id: OpId) -> Self {
        self.op_id = Some(op_id);
        self
    }

    fn address(&self) -> Result<Address, Invalid> {
        Ok(self.sentinel.address(Kind::Execution, self.key.clone()?))
    }

    async fn decide<R, F, Fut>(&self, address: &Address, send: F) -> Result<Stamped<R>, Error>
    where
        R: Named,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Stamped<R>, StoreError>> + Unpin,
    {
        let retry_timeout = self.sentinel.retry_timeout;
        let settled = self.sentinel.core.settle(address, Persist::Ambiguous, retry_timeout, send).await?;
        self.sentinel.core.watchers.wake(address);
        Ok(settled.stamped)
    }
}

impl Reconciler<Seeking> {
    pub(super) fn new(sentinel: Sentinel, key: Result<Key, Invalid>) -> Self {
        let operator = Label::new("operator");
        Self { sentinel, key, operator, reason: None, op_id: None, stage: Seeking::default() }
    }

    /// The token that was seen: a decision that is late or repeated never seizes a newer run. If it is not set, the
    /// current one is read first.
    pub fn expect(mut self, token: Token) -> Self {
        self.stage.expect = Some(token);
        self
    }

    /// Takes the key although its worker is alive.
    pub fn even_if_alive(mut self) -> Self {
        self.stage.even_if_alive = true;
        self
    }

    /// Takes the key from another operator.
    pub fn steal(mut self) -> Self {
        self.stage.steal = true;
        self
    }

    /// Goes on with a key that was taken before, perhaps by another process: `token` is its reconcile token.
    pub fn resume(self, token: Token) -> Reconciler<Holding> {
        self.hold(Holding { token, taken: None, accept_overlap: false, as_is: false })
    }

    /// Takes the key.
    ///
    /// **Effect:** reconciling, under a new token; the old worker is fenced out. **Atomicity:** of concurrent operators
    /// one takes it. **Repeating it:** the same op id gets the same token. **Errors:** bad input, or a store without an
    /// answer: then repeat it with the same op id.
    pub async fn reconcile(self) -> Result<Reconciled, Error> {
        let address = self.address()?;
        let store = self.sentinel.store().clone();
        let expect = match self.stage.expect {
            Some(token) => token,
            None => {
                let seen = store.inspect(&address).await.map_err(StoreError::of_a_read)?;
                seen.record.map(|record| record.token).unwrap_or_default()
            }
        };
        let op_id = self.op_id.unwrap_or_else(OpId::random);
        let op = Reconcile {
            op_id,
            operator: self.operator.clone()?,
            reason: self.reason.clone().transpose()?,
            expect,
            even_if_alive: self.stage.even_if_alive,
            steal: self.stage.steal,
        };
        let stamped = self.decide(&address, || store.reconcile(&address, &op)).await?;
        Ok(match stamped.reply {
            ReconcileReply::Taken { token, since, effects_until, begun_at, worker } => {
                let taken = Some(Taken { op_id, since, effects_until, begun_at, worker });
                Reconciled::Taken(Box::new(self.hold(Holding {
                    token,
                    taken,
                    accept_overlap: false,
                    as_is: false,
                })))
            }
            refused => Reconciled::Refused(refused),
        })
    }

    fn hold(self, stage: Holding) -> Reconciler<Holding> {
        let Self { sentinel, key, operator, reason, .. } = self;
        // A decision of its own: it needs an op id of its own.
        Reconciler { sentinel, key, operator, reason, op_id: None, stage }
    }
}

impl Reconciler<Holding> {
    /// The reconcile token: whoever has it can decide.
    pub fn token(&self) -> Token {
        self.stage.token
    }

    /// The id of the decision that took the key; None after `resume`.
    pub fn taken_by(&self) -> Option<OpId> {
        self.stage.taken.as_ref().map(|taken| taken.op_id)
    }

    /// Since when it is held, by the store's clock; None after `resume`.
    pub fn since(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().map(|taken| taken.since)
    }

    /// When a reset becomes possible without accepting an overlap; None after `resume`.
    pub fn effects_until(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().map(|taken| taken.effects_until)
    }

    /// When the side effect may have begun.
    pub fn begun_at(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().and_then(|taken| taken.begun_at)
    }

    /// Who ran it.
    pub fn worker(&self) -> Option<&Label> {
        self.stage.taken.as_ref().and_then(|taken| taken.worker.as_ref())
    }

    /// Allows a reset while an effect of the old run may still land: two runs may overlap.
    pub fn accept_overlap(mut self) -> Self {
        self.stage.accept_overlap = true;
        self
    }

    /// Records a result although callers of the key cannot decode its content type: each of them gets an error that
    /// carries the bytes.
    pub fn as_is(mut self) -> Self {
        self.stage.as_is = true;
        self
    }

    /// "It did happen": the value, as JSON, is replayed from now on. Final.
    pub async fn force_complete<T: Serialize>(&self, value: &T) -> Result<Decided, Error> {
        let json = serde_json::to_vec(value);
        let json = json.map_err(|error| Invalid::new("value", format!("cannot be encoded: {error}")))?;
        self.force_complete_recorded(Recorded::success(Payload::new(Payload::JSON, json))).await
    }

    /// "It did happen", with a result as it is to be recorded: bytes of any kind, or a failure for good. Final.
    ///
    /// **Effect:** completed, marked as decided. **Atomicity:** the first decision under the token stands.
    /// **Repeating it:** the same op id and bytes answer the same. **Errors:** bad input, or a store without an answer:
    /// then repeat it with the same op id.
    pub async fn force_complete_recorded(&self, result: Recorded) -> Result<Decided, Error> {
        let (address, store) = (self.address()?, self.sentinel.store());
        if !self.stage.as_is {
            result.payload.check()?;
        }
        let op = ForceComplete {
            op_id: self.op_id.unwrap_or_else(OpId::random),
            token: self.stage.token,
            operator: self.operator.clone()?,
            reason: self.reason.clone().transpose()?,
            result,
            as_is: self.stage.as_is,
        };
        let stamped = self.decide(&address, || store.force_complete(&address, &op)).await?;
        Ok(match stamped.reply {
            ForceCompleteReply::Completed => Decided::Done { op_id: op.op_id, token: stamped.stamp.token },
            ForceCompleteReply::StaleDecision(current) => Decided::Refused(Refused::StaleDecision(current)),
            ForceCompleteReply::NotDecodable { accepts } => {
                Decided::Refused(Refused::NotDecodable { accepts })
            }
        })
    }

    /// "It did not happen": anyone may run it again, at once.
    ///
    /// **Effect:** free, under a new token; one more run is authorised. Refused while an effect of the old run may
    /// still land, unless an overlap is accepted. **Atomicity:** the first decision under the token stands. **Repeating it:** the same op
    /// id answers the same. **Errors:** bad input, or a store without an answer: then repeat it with the same op id.
    pub async fn reset_to_claimed(&self) -> Result<Decided, Error> {
        let (address, store) = (self.address()?, self.sentinel.store());
        let op = ResetToClaimed {
            op_id: self.op_id.unwrap_or_else(OpId::random),
            token: self.stage.token,
            operator: self.operator.clone()?,
            reason: self.reason.clone().transpose()?,
            accept_overlap: self.stage.accept_overlap,
        };
        let send = || store.reset_to_claimed(&address, &op);
        Ok(match self.decide(&address, send).await?.reply {
            ResetReply::Reset { token } => Decided::Done { op_id: op.op_id, token },
            ResetReply::StaleDecision(current) => Decided::Refused(Refused::StaleDecision(current)),
            ResetReply::EffectsMayLand { until } => Decided::Refused(Refused::EffectsMayLand { until }),
        })
    }
}

/// Frees a claim or lease whose holder will not come back. An execution that began is for [`Reconciler`].
#[must_use = "nothing happens before `evict`"]
#[derive(Debug)]
pub struct Eviction {
    by: Reconciler<Token>,
    kind: Kind,
}

impl Eviction {
    pub(super) fn new(sentinel: Sentinel, kind: Kind, key: Result<Key, Invalid>, expect: Token) -> Self {
        let operator = Label::new("operator");
        Self { by: Reconciler { sentinel, key, operator, reason: None, op_id: None, stage: expect }, kind }
    }

    /// Who decides. `operator` if it is not set.
    pub fn operator(mut self, name: impl AsRef<str>) -> Self {
        self.by = self.by.operator(name);
        self
    }

    /// Why. Recorded in the event.
    pub fn reason(mut self, reason: impl AsRef<str>) -> Self {
        self.by = self.by.reason(reason);
        self
    }

    /// The id of the decision; fresh if it is not set.
    pub fn op_id(mut self, op_id: OpId) -> Self {
        self.by = self.by.op_id(op_id);
        self
    }

    /// Frees it, if the token that was seen is still the current one; the id of the decision comes back with the answer.
    ///
    /// **Effect:** free, under a new token; the old holder is fenced out. **Atomicity:** claimable at once.
    /// **Repeating it:** the same op id answers the same. **Errors:** bad input, or a store without an answer: then
    /// repeat it with the same op id.
    pub async fn evict(self) -> Result<(OpId, EvictReply), Error> {
        let address = self.by.sentinel.address(self.kind, self.by.key.clone()?);
        let store = self.by.sentinel.store();
        let op = Evict {
            op_id: self.by.op_id.unwrap_or_else(OpId::random),
            operator: self.by.operator.clone()?,
            reason: self.by.reason.clone().transpose()?,
            expect: self.by.stage,
        };
        let stamped = self.by.decide(&address, || store.evict(&address, &op)).await?;
        Ok((op.op_id, stamped.reply))
    }
}

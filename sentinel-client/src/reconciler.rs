//! Reconciling by an operator, step by step. The types allow no other order of the steps.

use std::fmt;

mod report;

use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Address, Invalid, Key, Kind, Label, OpId, Payload, RecordedResult, StoreError, StoreTime, Token,
    Verdict,
};
use serde::Serialize;

use super::outcome::Error;
use super::retry::RetryPolicy;
use super::sentinel::Sentinel;
use super::signals::answers::Named;
use super::signals::meters::{By, Decided};

impl Sentinel {
    /// Reconciles an uncertain key for an operator. See [`Reconciler`].
    pub fn reconciler(&self, key: impl AsRef<str>) -> Reconciler<Seeking> {
        Reconciler::new(self.clone(), Key::new(key))
    }

    /// Frees a claim or a lease whose holder will not come back. `expect` is the token that the operator saw. See
    /// [`Eviction`].
    pub fn evict(&self, kind: Kind, key: impl AsRef<str>, expect: sentinel_core::Token) -> Eviction {
        Eviction::new(self.clone(), kind, Key::new(key), expect)
    }
}

/// Decides about an uncertain key. [`reconcile`](Self::reconcile) takes the key and fences the old worker out; only the
/// value that it returns can decide. Every decision has an op id: if its reply was lost, repeat it with the same op id
/// and get the same reply.
///
/// ```
/// # mod sentinel { pub use sentinel_client as reconcile; }
/// # fn main() {}
/// use sentinel::reconcile::{DecisionOutcome, ReconcileOutcome};
///
/// # async fn decide(sentinel: sentinel_client::Sentinel) -> Result<(), sentinel_client::Error> {
///
/// match sentinel.reconciler("invoice-42").operator("ada").reason("called the bank").reconcile().await? {
///     ReconcileOutcome::Taken(held) => match held.force_complete(&"receipt 7").await? {
///         DecisionOutcome::Done { .. } => println!("replayed from now on"),
///         DecisionOutcome::Refused(why) => println!("{why}"),
///     },
///     ReconcileOutcome::Refused(reply) => println!("{reply}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// Before `reconcile`, no decision compiles:
///
/// ```compile_fail,E0599
/// # async fn decide(sentinel: sentinel_client::Sentinel) {
/// sentinel.reconciler("invoice-42").force_complete(&"receipt 7").await;
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # async fn decide(sentinel: sentinel_client::Sentinel) {
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
    by: By,
    stage: S,
}

/// The stage before `reconcile`: no decision is possible yet.
#[derive(Debug, Default)]
pub struct Seeking {
    expect: Option<Token>,
    even_if_alive: bool,
    steal: bool,
}

/// The stage after `reconcile`: the operator holds the key and can decide.
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

/// The result of `reconcile`.
#[must_use = "this result is the only report that the key was not taken"]
#[derive(Debug)]
pub enum ReconcileOutcome {
    /// The operator holds the key and can decide.
    Taken(Box<Reconciler<Holding>>),
    /// The key was not taken.
    Refused(ReconcileReply),
}

/// The result of a decision.
#[must_use = "this result is the only report that the decision did not apply"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecisionOutcome {
    /// The decision is recorded, by this request or by an earlier one with the same op id.
    Done {
        /// The id of the decision.
        op_id: OpId,
        /// The record's token after it.
        token: Token,
    },
    /// The decision does not apply.
    Refused(Refused),
}

/// Why a decision does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The token is no longer the record's, or was used for another decision.
    StaleDecision(Current),
    /// The old run may still be running, or one of its effects may still land. Wait, or accept that two runs overlap.
    EffectsMayLand {
        /// From this instant no effect lands, by the store's clock.
        until: StoreTime,
    },
    /// Callers of the key cannot decode the result, and a decision is final. Use a result of an accepted content type,
    /// or record it anyway with [`as_is`](Reconciler::as_is).
    NotDecodable {
        /// The content types that they can decode.
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
    /// The operator's label. Default `operator`.
    pub fn operator(mut self, name: impl AsRef<str>) -> Self {
        self.operator = Label::new(name);
        self
    }

    /// The reason, which the event records.
    pub fn reason(mut self, reason: impl AsRef<str>) -> Self {
        self.reason = Some(Label::new(reason));
        self
    }

    /// The id of the next decision; by default a new random one. Store it if you may have to repeat the decision.
    pub fn op_id(mut self, op_id: OpId) -> Self {
        self.op_id = Some(op_id);
        self
    }

    fn address(&self) -> Result<Address, Invalid> {
        Ok(self.sentinel.address_of(Kind::Execution, self.key.clone()?))
    }

    /// Sends a decision. The reply is news if this call may have changed the record: an earlier decision with the same
    /// op id was reported by the call that sent it.
    async fn decide<R, F, Fut>(&self, address: &Address, mut send: F) -> Result<(Stamped<R>, bool), Error>
    where
        R: Named,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Stamped<R>, StoreError>> + Unpin,
    {
        let retry_timeout = self.sentinel.retry_timeout;
        let mut attempts = 0;
        let count_and_send = || {
            attempts += 1;
            send()
        };
        let answered = self
            .sentinel
            .core
            .send_until_answered(address, RetryPolicy::Ambiguous, retry_timeout, count_and_send)
            .await?;
        self.sentinel.core.watchers.wake(address);
        let is_news = answered.stamped.stamp.changed || attempts > 1;
        Ok((answered.stamped, is_news))
    }
}

impl Reconciler<Seeking> {
    pub(super) fn new(sentinel: Sentinel, key: Result<Key, Invalid>) -> Self {
        let operator = Label::new("operator");
        Self {
            sentinel,
            key,
            operator,
            reason: None,
            op_id: None,
            by: By::Operator,
            stage: Seeking::default(),
        }
    }

    /// The decision is made by code.
    pub(super) fn by_code(self) -> Self {
        Self { by: By::Code, ..self }
    }

    /// The token that the operator saw. It prevents a late or repeated decision from taking over a newer run. By
    /// default the current token is read first.
    pub fn expect(mut self, token: Token) -> Self {
        self.stage.expect = Some(token);
        self
    }

    /// Takes the key even if its worker is alive.
    pub fn even_if_alive(mut self) -> Self {
        self.stage.even_if_alive = true;
        self
    }

    /// Takes the key even if another operator holds it.
    pub fn steal(mut self) -> Self {
        self.stage.steal = true;
        self
    }

    /// Continues with a key that was taken before, also by another process: `token` is its reconcile token.
    pub fn resume(self, token: Token) -> Reconciler<Holding> {
        self.hold(Holding { token, taken: None, accept_overlap: false, as_is: false })
    }

    /// Takes the key.
    ///
    /// **Effect:** reconciling, under a new token; the old worker is fenced out. **Atomicity:** of concurrent operators
    /// one takes it. **Repeating it:** the same op id gets the same token. **Errors:** invalid input, or the store
    /// could not answer: then repeat it with the same op id.
    pub async fn reconcile(self) -> Result<ReconcileOutcome, Error> {
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
        let (stamped, is_news) = self.decide(&address, || store.reconcile(&address, &op)).await?;
        Ok(match stamped.reply {
            ReconcileReply::Taken { token, since, effects_until, begun_at, worker } => {
                if is_news {
                    self.report(&address, token, |origin, operator| origin.taken_over(operator, op_id));
                }
                let taken = Some(Taken { op_id, since, effects_until, begun_at, worker });
                ReconcileOutcome::Taken(Box::new(self.hold(Holding {
                    token,
                    taken,
                    accept_overlap: false,
                    as_is: false,
                })))
            }
            refused => ReconcileOutcome::Refused(refused),
        })
    }

    fn hold(self, stage: Holding) -> Reconciler<Holding> {
        let Self { sentinel, key, operator, reason, by, .. } = self;
        // The next decision needs an op id of its own.
        Reconciler { sentinel, key, operator, reason, op_id: None, by, stage }
    }
}

impl Reconciler<Holding> {
    /// The reconcile token. Its owner can decide.
    pub fn token(&self) -> Token {
        self.stage.token
    }

    /// The id of the decision that took the key; None after `resume`.
    pub fn taken_by(&self) -> Option<OpId> {
        self.stage.taken.as_ref().map(|taken| taken.op_id)
    }

    /// When the key was taken, by the store's clock; None after `resume`.
    pub fn since(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().map(|taken| taken.since)
    }

    /// From this instant a reset needs no accepted overlap; None after `resume`.
    pub fn effects_until(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().map(|taken| taken.effects_until)
    }

    /// When the side effect may have begun; None after `resume`.
    pub fn begun_at(&self) -> Option<StoreTime> {
        self.stage.taken.as_ref().and_then(|taken| taken.begun_at)
    }

    /// The label of the worker that ran it; None after `resume`.
    pub fn worker(&self) -> Option<&Label> {
        self.stage.taken.as_ref().and_then(|taken| taken.worker.as_ref())
    }

    /// Allows a reset while an effect of the old run may still land: two runs may overlap.
    pub fn accept_overlap(mut self) -> Self {
        self.stage.accept_overlap = true;
        self
    }

    /// Records a result even if callers of the key cannot decode its content type. Each of them gets an error that
    /// includes the bytes.
    pub fn as_is(mut self) -> Self {
        self.stage.as_is = true;
        self
    }

    /// Decides that the work happened: this value, as JSON, is replayed from now on. Final. See
    /// [`force_complete_recorded`](Self::force_complete_recorded).
    pub async fn force_complete<T: Serialize>(&self, value: &T) -> Result<DecisionOutcome, Error> {
        let json = serde_json::to_vec(value);
        let json = json.map_err(|error| Invalid::new("value", format!("cannot be encoded: {error}")))?;
        self.force_complete_recorded(RecordedResult::success(Payload::new(Payload::JSON, json))).await
    }

    /// Decides that the work happened, with a result as it is to be recorded: bytes of any content type, or a final
    /// failure.
    ///
    /// **Effect:** completed, marked as decided. Final. **Atomicity:** the first decision under the token counts.
    /// **Repeating it:** the same op id and result get the same reply. **Errors:** invalid input, or the store could
    /// not answer: then repeat it with the same op id.
    pub async fn force_complete_recorded(&self, result: RecordedResult) -> Result<DecisionOutcome, Error> {
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
        let since = self.in_doubt_since(&address).await;
        let (stamped, is_news) = self.decide(&address, || store.force_complete(&address, &op)).await?;
        Ok(match stamped.reply {
            ForceCompleteReply::Completed => {
                let decided = match op.result.verdict {
                    Verdict::Success => Decided::Happened,
                    Verdict::Failure => Decided::Failed,
                };
                if is_news {
                    self.settled(&address, decided, op.op_id, &stamped.stamp, since);
                }
                DecisionOutcome::Done { op_id: op.op_id, token: stamped.stamp.token }
            }
            ForceCompleteReply::StaleDecision(current) => {
                DecisionOutcome::Refused(Refused::StaleDecision(current))
            }
            ForceCompleteReply::NotDecodable { accepts } => {
                DecisionOutcome::Refused(Refused::NotDecodable { accepts })
            }
        })
    }

    /// Decides that the work did not happen: any call can run it again at once.
    ///
    /// **Effect:** free, under a new token; one more run is authorised. Refused while an effect of the old run may
    /// still land, unless an overlap is accepted. **Atomicity:** the first decision under the token counts.
    /// **Repeating it:** the same op id gets the same reply. **Errors:** invalid input, or the store could not answer:
    /// then repeat it with the same op id.
    pub async fn reset_to_claimed(&self) -> Result<DecisionOutcome, Error> {
        let (address, store) = (self.address()?, self.sentinel.store());
        let op = ResetToClaimed {
            op_id: self.op_id.unwrap_or_else(OpId::random),
            token: self.stage.token,
            operator: self.operator.clone()?,
            reason: self.reason.clone().transpose()?,
            accept_overlap: self.stage.accept_overlap,
        };
        let since = self.in_doubt_since(&address).await;
        let (stamped, is_news) = self.decide(&address, || store.reset_to_claimed(&address, &op)).await?;
        Ok(match stamped.reply {
            ResetReply::Reset { token } => {
                if is_news {
                    self.settled(&address, Decided::DidNotHappen, op.op_id, &stamped.stamp, since);
                }
                DecisionOutcome::Done { op_id: op.op_id, token }
            }
            ResetReply::StaleDecision(current) => DecisionOutcome::Refused(Refused::StaleDecision(current)),
            ResetReply::EffectsMayLand { until } => {
                DecisionOutcome::Refused(Refused::EffectsMayLand { until })
            }
        })
    }
}

/// Frees a claim or a lease whose holder will not come back. For an execution that has begun, use [`Reconciler`].
#[must_use = "nothing happens before `evict`"]
#[derive(Debug)]
pub struct Eviction {
    by: Reconciler<Token>,
    kind: Kind,
}

impl Eviction {
    pub(super) fn new(sentinel: Sentinel, kind: Kind, key: Result<Key, Invalid>, expect: Token) -> Self {
        let operator = Label::new("operator");
        let by = By::Operator;
        Self {
            by: Reconciler { sentinel, key, operator, reason: None, op_id: None, by, stage: expect },
            kind,
        }
    }

    /// The operator's label. Default `operator`.
    pub fn operator(mut self, name: impl AsRef<str>) -> Self {
        self.by = self.by.operator(name);
        self
    }

    /// The reason, which the event records.
    pub fn reason(mut self, reason: impl AsRef<str>) -> Self {
        self.by = self.by.reason(reason);
        self
    }

    /// The id of the decision; by default a new random one.
    pub fn op_id(mut self, op_id: OpId) -> Self {
        self.by = self.by.op_id(op_id);
        self
    }

    /// Frees the record if its token is still the expected one. Returns the id of the decision and the reply.
    ///
    /// **Effect:** free, under a new token; the old holder is fenced out. **Atomicity:** claimable at once.
    /// **Repeating it:** the same op id gets the same reply. **Errors:** invalid input, or the store could not answer:
    /// then repeat it with the same op id.
    pub async fn evict(self) -> Result<(OpId, EvictReply), Error> {
        let address = self.by.sentinel.address_of(self.kind, self.by.key.clone()?);
        let store = self.by.sentinel.store();
        let op = Evict {
            op_id: self.by.op_id.unwrap_or_else(OpId::random),
            operator: self.by.operator.clone()?,
            reason: self.by.reason.clone().transpose()?,
            expect: self.by.stage,
        };
        let (stamped, is_news) = self.by.decide(&address, || store.evict(&address, &op)).await?;
        if is_news && matches!(stamped.reply, EvictReply::Evicted { .. }) {
            self.by.report(&address, stamped.stamp.token, |origin, operator| {
                origin.decided_by_operator(operator, op.op_id, "evicted");
            });
        }
        Ok((op.op_id, stamped.reply))
    }
}

//! An observer that reads each record before and after each operation, and checks the promises, not the kernel's
//! guards.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sentinel_conformance::Layer;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore, Kind, Record, State, StoreError, StoreTime};

/// The layer right above the store.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    store: Arc<dyn CoordinationStore>,
    found: Arc<Mutex<Option<String>>>,
}

/// A record around one operation.
struct Step<'s> {
    kind: Kind,
    before: &'s Record,
    after: &'s Record,
    op: &'s Op,
    now: StoreTime,
    changed: bool,
}

impl Observer {
    pub(crate) fn new(store: Arc<dyn CoordinationStore>) -> Self {
        Self { store, found: Arc::default() }
    }

    /// The first promise that was broken, and how.
    pub(crate) fn found(&self) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn record(&self, address: &Address) -> Result<Record, StoreError> {
        Ok(self.store.inspect(address).await?.record.unwrap_or(Record::absent()))
    }

    fn check(&self, address: &Address, step: &Step<'_>) {
        let Err(promise) = step.keeps_its_promises() else { return };
        let Step { before, after, op, now, .. } = step;
        let text =
            format!("{promise}: {address}, {op:?} at {now}\n  before: {before:?}\n  after:  {after:?}");
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }
}

#[async_trait]
impl Layer for Observer {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let before = self.record(address).await?;
        let stamped = op.clone().send(&*self.store, address).await?;
        let after = self.record(address).await?;
        let (now, changed) = (stamped.stamp.now, stamped.stamp.changed);
        self.check(
            address,
            &Step { kind: address.kind, before: &before, after: &after, op: &op, now, changed },
        );
        Ok(stamped)
    }
}

impl Step<'_> {
    fn keeps_its_promises(&self) -> Result<(), &'static str> {
        self.counts()?;
        self.tokens()?;
        if !self.changed {
            return Ok(());
        }
        match self.before.state {
            State::Free => self.when_free(),
            State::Claimed => self.when_claimed(),
            State::Executing => self.when_executing(),
            State::Completed => self.when_completed(),
            State::Reconciling => self.when_reconciling(),
        }?;
        self.leases()
    }

    fn counts(&self) -> Result<(), &'static str> {
        match self.changed {
            false if self.before != self.after => Err("an answer of no change, and a change"),
            true if self.after.rev != self.before.rev + 1 => Err("a change counts one"),
            _ if self.after.last_now < self.before.last_now => Err("a record's time never goes back"),
            _ => Ok(()),
        }
    }

    /// Tokens grow with each grant and each decision, and stay otherwise.
    fn tokens(&self) -> Result<(), &'static str> {
        let (before, after) = (self.before.token, self.after.token);
        let draws = matches!(self.op, Op::Claim(_) | Op::Reconcile(_) | Op::ResetToClaimed(_) | Op::Evict(_));
        match self.changed && draws {
            true if after <= before => Err("a grant or a decision draws a larger token"),
            false if after != before => Err("nothing but a grant or a decision draws a token"),
            _ => Ok(()),
        }
    }

    fn when_free(&self) -> Result<(), &'static str> {
        match (self.op, self.after.state) {
            (Op::Claim(_), State::Claimed | State::Executing) | (Op::Cancel(_), State::Free) => Ok(()),
            _ => Err("what is free is claimed, or a claim of it is cancelled"),
        }
    }

    fn when_claimed(&self) -> Result<(), &'static str> {
        let live = self.before.is_live(self.now);
        match self.op {
            Op::Claim(_) if live => Err("a claim that is live is not taken over"),
            Op::Begin(op) if !live || !self.before.matches(&op.grant) => {
                Err("nothing begins after its lease, or for another grant")
            }
            Op::Release(op) if !self.before.matches(&op.grant) => Err("another grant releases nothing"),
            Op::Cancel(op) if self.before.claim_id != Some(op.claim_id) => {
                Err("another claim id cancels nothing")
            }
            Op::Evict(op) if op.expect != self.before.token => Err("a late decision evicts no holder"),
            Op::Complete(_)
            | Op::Abandon(_)
            | Op::Reconcile(_)
            | Op::ForceComplete(_)
            | Op::ResetToClaimed(_) => Err("what has not begun is neither completed nor in doubt"),
            _ => Ok(()),
        }
    }

    /// An execution ends by its own worker, or by an operator who saw it: never by time, never by another claim.
    fn when_executing(&self) -> Result<(), &'static str> {
        let rightful = match self.op {
            Op::Complete(op) => self.before.matches(&op.grant),
            Op::Release(op) => self.before.matches(&op.grant) && op.vouched,
            Op::Abandon(op) => self.before.matches(&op.grant),
            Op::Heartbeat(op) => self.before.matches(&op.grant),
            Op::Cancel(op) => self.before.claim_id == Some(op.claim_id),
            Op::Reconcile(op) => {
                op.expect == self.before.token && (op.even_if_alive || !self.before.is_live(self.now))
            }
            _ => false,
        };
        rightful.then_some(()).ok_or("an execution is never taken over")
    }

    fn when_completed(&self) -> Result<(), &'static str> {
        match self.op {
            Op::Claim(_) if self.before.is_past_retention(self.now) => Ok(()),
            _ => Err("what is completed is final for as long as it is kept"),
        }
    }

    fn when_reconciling(&self) -> Result<(), &'static str> {
        match self.op {
            Op::ForceComplete(op) if op.token == self.before.token => Ok(()),
            Op::ResetToClaimed(op) if op.token == self.before.token => {
                let over = self.now >= self.before.hard_until || op.accept_overlap;
                over.then_some(()).ok_or("no reset before the hard deadline, unless an overlap is accepted")
            }
            Op::Reconcile(op) if op.steal && op.expect == self.before.token => Ok(()),
            _ => Err("a doubt is settled by who holds it"),
        }
    }

    /// A lease ends by its hard deadline, and a plain one that lapsed never revives.
    fn leases(&self) -> Result<(), &'static str> {
        let Op::Heartbeat(_) = self.op else { return Ok(()) };
        let lapsed = self.kind == Kind::Lease && !self.before.is_live(self.now);
        match self.after.lease_until <= self.after.hard_until && self.now < self.before.hard_until && !lapsed
        {
            true => Ok(()),
            false => Err("a heartbeat helps neither past the hard deadline nor a lease that lapsed"),
        }
    }
}

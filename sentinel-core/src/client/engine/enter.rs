//! Getting in: the claim, waiting for others, and giving back what will not be used.

use std::sync::Arc;
use std::time::Duration;

use super::super::clock::LocalTime;
use super::super::keeper::{Authority, Entry, Keeping};
use super::super::outcome::{InProgress, NotRun, ReconcilingBy, Uncertain};
use super::super::retry::{Persist, Settled};
use super::super::run::{Inner, Run};
use super::super::{Core, watch::Watch};
use crate::address::Address;
use crate::error::Applied;
use crate::operation::{Cancel, Claim, ClaimReply, Granted};
use crate::payload::Recorded;
use crate::record::Grant;
use crate::time::StoreTime;
use crate::token::ClaimId;

/// A call of `once` or `lease`, checked and ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) address: Address,
    pub(crate) claim: Claim,
    pub(crate) patience: Duration,
    pub(crate) wait: Option<Duration>,
}

/// Why a call did not get in.
#[derive(Debug)]
pub(crate) enum Refusal {
    InProgress(InProgress),
    Uncertain(Uncertain),
    Reconciling(ReconcilingBy),
    Completed(Recorded),
    FingerprintMismatch,
    NotRun(NotRun),
}

/// What a granted claim was answered, and when it was sent. To be held at once: nothing cancels it by itself.
pub(crate) struct Entered {
    sent: LocalTime,
    now: StoreTime,
    granted: Granted,
}

/// While armed, cancels its call's claim on drop: it was not refused, and will not be used.
struct Unsettled<'a> {
    call: &'a Call,
    armed: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if self.armed {
            let Call { core, address, claim, patience, .. } = self.call;
            core.cancel_in_background(address, claim.claim_id, *patience);
        }
    }
}

/// A grant whose function has not started. Dropped before that, it cancels itself: nothing ran, and nothing is sent under
/// its claim id afterwards.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) core: Arc<Core>,
    /// What the function, its preparation and the keeper share.
    pub(crate) run: Run,
    pub(crate) patience: Duration,
    ttl: Duration,
    pub(super) late_effects: Duration,
    deadline: LocalTime,
    hard: LocalTime,
    armed: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.armed {
            self.core.cancel_in_background(self.address(), self.grant().claim_id, self.patience);
        }
    }
}

/// How long a call that will not run waits for its claim to be cancelled before it says so.
const SOON: Duration = Duration::from_secs(1);

impl Call {
    /// Claims, and waits for others as long as the call may. Nothing is allocated for a call that is answered at once.
    pub(crate) async fn enter(&self) -> Result<Entered, Refusal> {
        let until = self.wait.map(|wait| self.core.keeper.clock().now().plus(wait));
        match (self.ask().await, until) {
            (Err(Refusal::InProgress(other)), Some(until)) => Box::pin(self.join(other, until)).await,
            (answer, _) => answer,
        }
    }

    /// Asks again whenever something may have changed, until the time is over.
    async fn join(&self, mut other: InProgress, until: LocalTime) -> Result<Entered, Refusal> {
        let clock = self.core.keeper.clock();
        let mut watch: Option<Watch> = None;
        loop {
            let left = until.since(clock.now());
            if left.is_zero() {
                return Err(Refusal::InProgress(other));
            }
            match &mut watch {
                // The place is taken first and the question asked again: no change is missed in between.
                None => watch = Some(self.core.watch(&self.address)),
                Some(watch) => drop(tokio::time::timeout(left, watch.changed()).await),
            }
            match self.ask().await {
                Err(Refusal::InProgress(still)) => other = still,
                answer => return answer,
            }
        }
    }

    async fn ask(&self) -> Result<Entered, Refusal> {
        let mut unsettled = Unsettled { call: self, armed: true };
        let send = || self.core.store.claim(&self.address, &self.claim);
        let answer = self.core.settle(&self.address, Persist::Ambiguous, self.patience, send).await;
        if let Err(error) = &answer
            && error.applied() == Applied::Ambiguous
        {
            // It may have been granted: it is cancelled and never runs.
            let (claim_id, patience) = (self.claim.claim_id, SOON.min(self.patience));
            let cancelling = Box::pin(self.core.cancel(&self.address, claim_id, patience));
            unsettled.armed = !cancelling.await;
        } else {
            unsettled.armed = false;
        }
        match answer {
            Ok(Settled { stamped, sent }) => match stamped.reply {
                ClaimReply::Granted(granted) => Ok(Entered { sent, now: stamped.stamp.now, granted }),
                refused => Err(refusal(refused)),
            },
            Err(error) => Err(Refusal::NotRun(NotRun::Store(error))),
        }
    }
}

impl Held {
    /// What a call has got.
    pub(crate) fn new(call: Call, Entered { sent, now, granted }: Entered) -> Self {
        let inner = Inner {
            grant: Grant { token: granted.token, claim_id: call.claim.claim_id },
            address: call.address,
            incarnation: granted.incarnation,
            clock: call.core.keeper.clock(),
            authority: Authority::default(),
        };
        let mut held = Self {
            core: call.core,
            run: Run { inner: Arc::new(inner) },
            patience: call.patience,
            ttl: call.claim.terms.ttl(),
            late_effects: call.claim.terms.late_effects(),
            deadline: sent,
            hard: sent,
            armed: true,
        };
        held.measure(sent, now, &granted);
        held
    }

    pub(crate) fn address(&self) -> &Address {
        &self.run.inner.address
    }

    pub(crate) fn grant(&self) -> Grant {
        self.run.inner.grant
    }

    /// What remains, measured from when the request was *sent*: on the safe side of the store's clock.
    pub(crate) fn measure(&mut self, sent: LocalTime, now: StoreTime, granted: &Granted) {
        self.deadline = sent.plus(granted.lease_until.since(now));
        self.hard = sent.plus(granted.hard_until.since(now));
        self.run.inner.authority.ends_at(self.hard);
    }

    /// Whether the lease is over by this process' clock.
    pub(crate) fn is_over(&self) -> bool {
        self.run.inner.clock.now() >= self.deadline
    }

    /// Keeps the grant alive until the guard is dropped.
    pub(crate) fn keep(&self) -> Keeping {
        let run = self.run.inner.clone();
        self.core.keeper.keep(Entry { run, ttl: self.ttl, deadline: self.deadline, hard: self.hard })
    }

    /// The function will not run: the claim is cancelled. If the store does not answer soon, the drop goes on trying.
    pub(crate) async fn not_run(mut self) {
        let patience = SOON.min(self.patience);
        self.armed = !self.core.cancel(self.address(), self.grant().claim_id, patience).await;
    }

    /// The claim is somebody else's by now.
    pub(crate) fn nothing_to_cancel(mut self) {
        self.armed = false;
    }

    /// The function starts: from now on nothing is given back without its word.
    pub(crate) fn start(&mut self) {
        self.armed = false;
    }
}

impl Core {
    /// Withdraws a claim, whether or not it was granted; whether the store has answered.
    async fn cancel(&self, address: &Address, claim_id: ClaimId, patience: Duration) -> bool {
        let op = Cancel { claim_id };
        let send = || self.store.cancel(address, &op);
        let told = self.settle(address, Persist::Always, patience, send).await;
        self.watchers.wake(address);
        told.is_ok()
    }

    fn cancel_in_background(self: &Arc<Self>, address: &Address, claim_id: ClaimId, patience: Duration) {
        let (core, address) = (self.clone(), address.clone());
        self.keeper.spawn(async move {
            if !core.cancel(&address, claim_id, patience).await {
                tracing::warn!("a claim that will not run could not be cancelled; it blocks until it lapses");
            }
        });
    }
}

fn refusal(reply: ClaimReply) -> Refusal {
    match reply {
        ClaimReply::Granted(_) => Refusal::NotRun(NotRun::AlreadyReleased),
        ClaimReply::AlreadyReleased => Refusal::NotRun(NotRun::AlreadyReleased),
        ClaimReply::InProgress { state, remaining } => Refusal::InProgress(InProgress { state, remaining }),
        ClaimReply::Uncertain { token, begun_at, worker } => {
            Refusal::Uncertain(Uncertain { token, begun_at, worker })
        }
        ClaimReply::Completed { result, .. } => Refusal::Completed(result),
        ClaimReply::Reconciling { since, operator } => {
            Refusal::Reconciling(ReconcilingBy { operator, since })
        }
        ClaimReply::FingerprintMismatch => Refusal::FingerprintMismatch,
    }
}

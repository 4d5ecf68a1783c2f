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
use crate::error::{Applied, StoreError};
use crate::operation::{Cancel, Claim, ClaimReply, Granted};
use crate::payload::Recorded;
use crate::record::Grant;
use crate::time::StoreTime;

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

/// A grant whose function has not started. Dropped before that, it cancels itself: nothing ran.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) call: Arc<Call>,
    pub(crate) grant: Grant,
    pub(crate) authority: Arc<Authority>,
    incarnation: u64,
    deadline: LocalTime,
    hard: LocalTime,
    unstarted: Unstarted,
}

/// Cancels a claim whose function did not start and will not. Nothing is sent under its claim id afterwards.
#[derive(Debug)]
struct Unstarted {
    call: Arc<Call>,
    armed: bool,
}

impl Unstarted {
    fn new(call: &Arc<Call>) -> Self {
        Self { call: call.clone(), armed: true }
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if self.armed {
            let call = self.call.clone();
            self.call.core.keeper.spawn(async move { call.cancel().await });
        }
    }
}

impl Call {
    /// Claims, and waits for others as long as the call may.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Held, Refusal> {
        let clock = self.core.keeper.clock();
        let until = self.wait.map(|wait| clock.now().plus(wait));
        let mut watch: Option<Watch> = None;
        loop {
            let refusal = match self.ask().await {
                Ok(held) => return Ok(held),
                Err(refusal) => refusal,
            };
            let (Refusal::InProgress(_), Some(until)) = (&refusal, until) else { return Err(refusal) };
            let left = until.since(clock.now());
            if left.is_zero() {
                return Err(refusal);
            }
            match &mut watch {
                // The place is taken first and the question asked again: no change is missed in between.
                None => watch = Some(self.core.watch(&self.address)),
                Some(watch) => drop(tokio::time::timeout(left, watch.changed()).await),
            }
        }
    }

    async fn ask(self: &Arc<Self>) -> Result<Held, Refusal> {
        let mut unstarted = Unstarted::new(self);
        let send = || self.core.store.claim(&self.address, &self.claim);
        let asked = self.core.settle("claim", &self.address, Persist::Ambiguous, self.patience, send).await;
        let refusal = match asked {
            Ok(Settled { stamped, sent }) => match stamped.reply {
                ClaimReply::Granted(granted) => {
                    return Ok(self.held(unstarted, sent, stamped.stamp.now, &granted));
                }
                refused => refusal(refused),
            },
            Err(error) => {
                // It may have been granted: it is cancelled and never runs.
                unstarted.armed = error.applied() == Applied::Ambiguous;
                return Err(Refusal::NotRun(NotRun::Store(error)));
            }
        };
        unstarted.armed = false;
        Err(refusal)
    }

    fn held(
        self: &Arc<Self>,
        unstarted: Unstarted,
        sent: LocalTime,
        now: StoreTime,
        granted: &Granted,
    ) -> Held {
        let grant = Grant { token: granted.token, claim_id: self.claim.claim_id };
        let mut held = Held {
            call: self.clone(),
            grant,
            authority: Arc::default(),
            incarnation: granted.incarnation,
            deadline: sent,
            hard: sent,
            unstarted,
        };
        held.measure(sent, now, granted);
        held
    }

    /// Withdraws the claim, whether or not it was granted. Best effort: an orphan claim blocks for at most its ttl.
    async fn cancel(&self) {
        let op = Cancel { claim_id: self.claim.claim_id };
        let send = || self.core.store.cancel(&self.address, &op);
        let sent = self.core.settle("cancel", &self.address, Persist::Always, self.patience, send).await;
        if let Err::<_, StoreError>(error) = sent {
            tracing::warn!(%error, "a claim that will not run could not be cancelled");
        }
        self.core.watchers.wake(&self.address);
    }
}

impl Held {
    /// What remains, measured from when the request was *sent*: on the safe side of the store's clock.
    pub(crate) fn measure(&mut self, sent: LocalTime, now: StoreTime, granted: &Granted) {
        self.deadline = sent.plus(granted.lease_until.since(now));
        self.hard = sent.plus(granted.hard_until.since(now));
    }

    /// Whether the lease is over by this process' clock.
    pub(crate) fn is_over(&self) -> bool {
        self.call.core.keeper.clock().now() >= self.deadline
    }

    /// Keeps the grant alive until the guard is dropped.
    pub(crate) fn keep(&self) -> Keeping {
        self.call.core.keeper.keep(Entry {
            address: self.call.address.clone(),
            grant: self.grant,
            ttl: self.call.claim.terms.ttl(),
            deadline: self.deadline,
            hard: self.hard,
            authority: self.authority.clone(),
        })
    }

    pub(crate) fn run(&self) -> Run {
        let inner = Inner {
            address: self.call.address.clone(),
            grant: self.grant,
            incarnation: self.incarnation,
            hard: self.hard,
            clock: self.call.core.keeper.clock(),
            authority: self.authority.clone(),
        };
        Run { inner: Arc::new(inner) }
    }

    /// The function will not run: the claim is cancelled in the background.
    pub(crate) fn not_run(self) {
        drop(self);
    }

    /// The function will not run: the claim is cancelled before this returns.
    pub(crate) async fn not_run_awaited(mut self) {
        self.call.cancel().await;
        self.unstarted.armed = false;
    }

    /// The claim is somebody else's by now.
    pub(crate) fn nothing_to_cancel(mut self) {
        self.unstarted.armed = false;
    }

    /// The function starts: from now on nothing is given back without its word.
    pub(crate) fn start(&mut self) {
        self.unstarted.armed = false;
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
        ClaimReply::Completed(recorded) => Refusal::Completed(recorded),
        ClaimReply::Reconciling { since, operator } => {
            Refusal::Reconciling(ReconcilingBy { operator, since })
        }
        ClaimReply::FingerprintMismatch => Refusal::FingerprintMismatch,
    }
}

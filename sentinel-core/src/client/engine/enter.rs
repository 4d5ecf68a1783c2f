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

impl Unstarted {
    /// Cancels before it returns, if the store answers soon; else the drop goes on trying in the background.
    async fn cancel(mut self) {
        self.armed = !self.call.cancel(SOON.min(self.call.patience)).await;
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if self.armed {
            let call = self.call.clone();
            self.call.core.keeper.spawn(async move {
                if !call.cancel(call.patience).await {
                    tracing::warn!(
                        "a claim that will not run could not be cancelled; it blocks until it lapses"
                    );
                }
            });
        }
    }
}

/// How long a call that will not run waits for its claim to be cancelled before it says so.
const SOON: Duration = Duration::from_secs(1);

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
                match error.applied() {
                    // It may have been granted: it is cancelled and never runs.
                    Applied::Ambiguous => unstarted.cancel().await,
                    Applied::No => unstarted.armed = false,
                }
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

    /// Withdraws the claim, whether or not it was granted; whether the store has answered.
    async fn cancel(&self, patience: Duration) -> bool {
        let op = Cancel { claim_id: self.claim.claim_id };
        let send = || self.core.store.cancel(&self.address, &op);
        let told = self.core.settle("cancel", &self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.is_ok()
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

    /// The function will not run: the claim is cancelled.
    pub(crate) async fn not_run(self) {
        self.unstarted.cancel().await;
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
        ClaimReply::Completed { result, .. } => Refusal::Completed(result),
        ClaimReply::Reconciling { since, operator } => {
            Refusal::Reconciling(ReconcilingBy { operator, since })
        }
        ClaimReply::FingerprintMismatch => Refusal::FingerprintMismatch,
    }
}

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

/// A call of `once` or `lease`, checked and ready to be sent. Moved along; cloned only for what outlives its caller.
#[derive(Debug, Clone)]
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

/// What a granted claim was answered, and when it was sent.
struct Asked {
    sent: LocalTime,
    now: StoreTime,
    granted: Granted,
}

/// A grant whose function has not started. Dropped before that, it cancels itself: nothing ran.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) grant: Grant,
    /// What the function, its preparation and the keeper share.
    pub(crate) run: Run,
    deadline: LocalTime,
    hard: LocalTime,
    unstarted: Unstarted,
}

/// While armed, cancels its claim on drop: the function did not start and will not. Nothing is sent under the claim id
/// afterwards.
#[derive(Debug)]
struct Unstarted {
    call: Call,
    armed: bool,
}

impl Unstarted {
    /// Cancels before it returns, if the store answers soon; else the drop goes on trying in the background.
    async fn cancel(&mut self) {
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
    pub(crate) async fn enter(self) -> Result<Held, Refusal> {
        let until = self.wait.map(|wait| self.core.keeper.clock().now().plus(wait));
        let mut unstarted = Unstarted { call: self, armed: false };
        match (unstarted.ask().await, until) {
            (Ok(asked), _) => Ok(unstarted.held(asked)),
            // Boxed: who need not wait does not carry the room for it.
            (Err(Refusal::InProgress(other)), Some(until)) => Box::pin(unstarted.join(other, until)).await,
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// Withdraws the claim, whether or not it was granted; whether the store has answered.
    async fn cancel(&self, patience: Duration) -> bool {
        let op = Cancel { claim_id: self.claim.claim_id };
        let send = || self.core.store.cancel(&self.address, &op);
        let told = self.core.settle(&self.address, Persist::Always, patience, send).await;
        self.core.watchers.wake(&self.address);
        told.is_ok()
    }
}

impl Unstarted {
    /// Asks again whenever something may have changed, until the time is over.
    async fn join(mut self, mut other: InProgress, until: LocalTime) -> Result<Held, Refusal> {
        let clock = self.call.core.keeper.clock();
        let mut watch: Option<Watch> = None;
        loop {
            let left = until.since(clock.now());
            if left.is_zero() {
                return Err(Refusal::InProgress(other));
            }
            match &mut watch {
                // The place is taken first and the question asked again: no change is missed in between.
                None => watch = Some(self.call.core.watch(&self.call.address)),
                Some(watch) => drop(tokio::time::timeout(left, watch.changed()).await),
            }
            other = match self.ask().await {
                Ok(asked) => return Ok(self.held(asked)),
                Err(Refusal::InProgress(other)) => other,
                Err(refusal) => return Err(refusal),
            };
        }
    }

    /// Sends the claim. Armed from before it leaves until it is refused.
    async fn ask(&mut self) -> Result<Asked, Refusal> {
        self.armed = true;
        let call = &self.call;
        let send = || call.core.store.claim(&call.address, &call.claim);
        match call.core.settle(&call.address, Persist::Ambiguous, call.patience, send).await {
            Ok(Settled { stamped, sent }) => match stamped.reply {
                ClaimReply::Granted(granted) => Ok(Asked { sent, now: stamped.stamp.now, granted }),
                refused => {
                    self.armed = false;
                    Err(refusal(refused))
                }
            },
            Err(error) => {
                match error.applied() {
                    // It may have been granted: it is cancelled and never runs.
                    Applied::Ambiguous => self.cancel().await,
                    Applied::No => self.armed = false,
                }
                Err(Refusal::NotRun(NotRun::Store(error)))
            }
        }
    }

    fn held(self, Asked { sent, now, granted }: Asked) -> Held {
        let grant = Grant { token: granted.token, claim_id: self.call.claim.claim_id };
        let inner = Inner {
            address: self.call.address.clone(),
            grant,
            incarnation: granted.incarnation,
            clock: self.call.core.keeper.clock(),
            authority: Authority::default(),
        };
        let run = Run { inner: Arc::new(inner) };
        let mut held = Held { grant, run, deadline: sent, hard: sent, unstarted: self };
        held.measure(sent, now, &granted);
        held
    }
}

impl Held {
    /// The call that was granted.
    pub(crate) fn call(&self) -> &Call {
        &self.unstarted.call
    }

    /// What remains, measured from when the request was *sent*: on the safe side of the store's clock.
    pub(crate) fn measure(&mut self, sent: LocalTime, now: StoreTime, granted: &Granted) {
        self.deadline = sent.plus(granted.lease_until.since(now));
        self.hard = sent.plus(granted.hard_until.since(now));
        self.run.inner.authority.ends_at(self.hard);
    }

    /// Whether the lease is over by this process' clock.
    pub(crate) fn is_over(&self) -> bool {
        self.call().core.keeper.clock().now() >= self.deadline
    }

    /// Keeps the grant alive until the guard is dropped.
    pub(crate) fn keep(&self) -> Keeping {
        let call = self.call();
        call.core.keeper.keep(Entry {
            run: self.run.inner.clone(),
            ttl: call.claim.terms.ttl(),
            deadline: self.deadline,
            hard: self.hard,
        })
    }

    /// The function will not run: the claim is cancelled.
    pub(crate) async fn not_run(mut self) {
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
        ClaimReply::Completed(recorded) => Refusal::Completed(recorded),
        ClaimReply::Reconciling { since, operator } => {
            Refusal::Reconciling(ReconcilingBy { operator, since })
        }
        ClaimReply::FingerprintMismatch => Refusal::FingerprintMismatch,
    }
}

//! `lease`: at most one worker holds it at a time.

use std::fmt;
use std::time::Duration;

use sentinel_core::operation::{Claim, Current, Phase, Release, ReleaseReply};
use sentinel_core::{Accepts, Address, Cause, ClaimId, Grant, Invalid, Key, Label, Terms, Token};
use tokio_util::sync::CancellationToken;

use super::authority::Lost;
use super::causes::inherited;
use super::engine::{Call, HeldGrant, Refusal};
use super::fence::FenceValues;
use super::keeper::KeepAliveGuard;
use super::open_work::Work;
use super::outcome::{Error, InProgress, NotRun};
use super::policy::Policy;
use super::requested::RequestedTerms;
use super::run::Run;
use super::sentinel::Sentinel;
use super::shared::store_broke;

impl Sentinel {
    /// A request for a lease, which at most one worker holds at a time. See [`LeaseRequest`].
    pub fn lease(&self, key: impl AsRef<str>) -> LeaseRequest {
        LeaseRequest::new(self.clone(), Key::new(key))
    }
}

/// A request for a lease. Nothing is sent before [`acquire`](Self::acquire).
///
/// A lapsed lease is never revived. Between the lapse and the moment its holder notices, two workers may believe that
/// they hold it. Therefore pass the token to every resource that can check one.
#[must_use = "nothing happens before `acquire`"]
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    sentinel: Sentinel,
    key: Result<Key, Invalid>,
    asked: RequestedTerms,
    worker: Option<Result<Label, Invalid>>,
    wait: Option<Duration>,
    cause: Option<Cause>,
    about: Option<Result<Label, Invalid>>,
}

/// The result of a request for a lease.
#[must_use = "this outcome is the only report that the lease was not granted"]
#[derive(Debug)]
pub enum LeaseOutcome {
    /// The caller holds the lease until it releases or loses it.
    Held(Lease),
    /// Another worker holds the lease.
    InProgress(InProgress),
    /// The lease was not acquired: the store could not answer, or the grant was over before its reply arrived.
    NotHeld(NotRun),
}

/// The result of releasing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The lease is free: any worker can acquire it.
    Released,
    /// The lease was lost before: another worker may have held it since.
    LostBefore(Current),
}

impl LeaseRequest {
    pub(super) fn new(sentinel: Sentinel, key: Result<Key, Invalid>) -> Self {
        let policy = sentinel.policy.clone();
        let asked = RequestedTerms::DEFAULT;
        let request = Self { sentinel, key, asked, worker: None, wait: None, cause: None, about: None };
        match policy {
            Some(policy) => request.apply(&policy),
            None => request,
        }
    }

    fn apply(mut self, policy: &Policy) -> Self {
        policy.apply_to_terms(&mut self.asked);
        self.wait = policy.wait.or(self.wait);
        self
    }

    /// Applies a policy to this request: its ttl, hard ttl and wait replace what the client's policy, and methods that
    /// were called before, have set. A method that is called afterwards wins.
    pub fn policy(self, policy: Policy) -> Self {
        self.apply(&policy)
    }

    /// How long the lease lasts without a heartbeat. 10 ms to 366 days; default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.asked.ttl = ttl;
        self
    }

    /// How long the lease can be held in total. Not below the ttl. Defaults to the ttl; then heartbeats cannot extend
    /// it.
    pub fn hard_ttl(mut self, hard_ttl: Duration) -> Self {
        self.asked.hard_ttl = Some(hard_ttl);
        self
    }

    /// The same with this hard ttl, if none is set, also by the client's policy.
    pub(crate) fn or_hard_ttl(mut self, hard_ttl: Duration) -> Self {
        self.asked.hard_ttl.get_or_insert(hard_ttl);
        self
    }

    /// The terms of the claim. Returns an error if any input of this request is invalid.
    pub(crate) fn terms(&self) -> Result<Terms, Invalid> {
        self.key.clone()?;
        self.worker.clone().transpose()?;
        self.asked.terms()
    }

    /// The label that the record shows for this worker, instead of the client's.
    pub fn worker(mut self, label: impl AsRef<str>) -> Self {
        self.worker = Some(Label::new(label));
        self
    }

    /// Why the lease is requested: a [`Root`](sentinel_core::Root) or a whole [`Cause`]. By default a request inside a
    /// run inherits the run's root, with that run as its cause. It decides nothing.
    pub fn cause(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the lease is for, for people: 1 to 1024 bytes without control characters. It decides nothing.
    pub fn about(mut self, text: impl AsRef<str>) -> Self {
        self.about = Some(Label::new(text));
        self
    }

    /// Waits for the lease for at most this long, also while the store cannot be reached, instead of returning
    /// `InProgress` at once. Callers of this process are served in the order in which they came; among processes there
    /// is no order.
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = Some(at_most);
        self
    }

    /// Acquires the lease if it is free or lapsed.
    ///
    /// **Effect:** claims; heartbeats keep the lease until it is released, dropped or lost. **Repeating it:** each call
    /// is a new claim, so a lease that this process holds is `InProgress`. **Errors:** only invalid input; a store that
    /// could not answer is `NotHeld`.
    pub async fn acquire(self) -> Result<LeaseOutcome, Error> {
        let Sentinel { core, namespace, worker, retry_timeout, .. } = self.sentinel;
        let worker = self.worker.transpose()?.unwrap_or(worker);
        let claim = Claim {
            accepts: Accepts::any(),
            claim_id: ClaimId::random(),
            terms: self.asked.terms()?,
            retention: None,
            fingerprint: None,
            worker,
            phase: Phase::Claimed,
            cause: self.cause.or_else(inherited),
            about: self.about.transpose()?,
        };
        let address = Address::lease(namespace, self.key?);
        let span = tracing::Span::none();
        let mut call = Call {
            core,
            address,
            claim,
            retry_timeout,
            confirm_within: retry_timeout,
            wait: self.wait,
            span,
        };
        Ok(match call.enter().await.map(|entered| HeldGrant::new(call, entered)) {
            Ok(held) if held.is_over() => {
                held.not_run().await;
                LeaseOutcome::NotHeld(NotRun::Expired)
            }
            Ok(held) if held.core.open_work.draining().is_cancelled() => {
                held.not_run().await;
                LeaseOutcome::NotHeld(NotRun::Draining)
            }
            Ok(held) => LeaseOutcome::Held(Lease::new(held)),
            Err(Refusal::InProgress(other)) => LeaseOutcome::InProgress(other),
            Err(Refusal::NotRun(reason)) => LeaseOutcome::NotHeld(reason),
            Err(_) => LeaseOutcome::NotHeld(NotRun::Store(store_broke(
                "its reply to a lease is about an execution",
            ))),
        })
    }
}

/// A lease that is held. Dropping it releases it in the background, on a best-effort basis; [`release`](Self::release)
/// returns the result.
#[must_use = "a lease is released when it is dropped"]
pub struct Lease {
    run: Run,
    held: Option<HeldGrant>,
    keep_alive: Option<KeepAliveGuard>,
}

/// Without the client's state, which names the other keys that it holds.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lease = f.debug_struct("Lease");
        lease.field("address", self.run.address()).field("token", &self.token()).finish_non_exhaustive()
    }
}

impl Lease {
    fn new(mut held: HeldGrant) -> Self {
        held.start();
        let (run, keep_alive) = (held.run.clone(), held.keep());
        Self { run, held: Some(held), keep_alive: Some(keep_alive) }
    }

    pub(crate) fn run(&self) -> &Run {
        &self.run
    }

    /// The fencing token: pass it to every resource that can check one.
    pub fn token(&self) -> Token {
        self.run.token()
    }

    /// The id of this call.
    pub fn claim_id(&self) -> ClaimId {
        self.run.claim_id()
    }

    /// Token and claim id: with both, your own transaction can check that this lease is still held.
    pub fn grant(&self) -> Grant {
        self.run.grant()
    }

    /// The address of the lease. An execution with the same key has another address.
    pub fn address(&self) -> &Address {
        self.run.address()
    }

    /// Both columns of a fenced write: the token, and the address as `namespace/kind/key`.
    pub fn fence(&self) -> FenceValues {
        self.run.fence()
    }

    /// The cause of calls that are made while this lease is held; see [`Run::child_cause`].
    pub fn child_cause(&self) -> Result<Option<Cause>, Invalid> {
        self.run.child_cause()
    }

    /// What remains of the lease by this process' clock, at most what remains by the store's. Heartbeats extend it.
    pub fn remaining(&self) -> Duration {
        self.run.remaining()
    }

    /// What remains until the hard deadline by this process' clock, at most what remains by the store's.
    pub fn hard_remaining(&self) -> Duration {
        self.run.hard_remaining()
    }

    /// A token that is cancelled when the lease is lost.
    pub fn cancelled(&self) -> CancellationToken {
        self.run.cancelled()
    }

    /// Why the lease was lost; None: it was not lost so far.
    pub fn lost(&self) -> Option<Lost> {
        self.run.lost()
    }

    /// Releases the lease, and returns whether it was still held. **Errors:** the store could not answer. The release
    /// is then repeated in the background until the lease has lapsed by itself.
    pub async fn release(mut self) -> Result<ReleaseOutcome, Error> {
        self.keep_alive = None;
        // The grant stays in `self` while the reply is awaited: if this future is dropped, `Drop` releases the lease.
        let Some(held) = &self.held else { return Ok(ReleaseOutcome::Released) };
        held.work.becomes(Work::Release);
        let released =
            held.core.release(held.address(), &given_back(held), held.retry_timeout, &held.work).await?;
        self.held = None;
        match released {
            ReleaseReply::Released => Ok(ReleaseOutcome::Released),
            ReleaseReply::Superseded(current) => Ok(ReleaseOutcome::LostBefore(current)),
            ReleaseReply::MayHaveRun => Err(store_broke("its reply is that a lease may have run").into()),
        }
    }
}

fn given_back(held: &HeldGrant) -> Release {
    Release { grant: held.grant(), vouched: false }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keep_alive = None;
        let Some(held) = self.held.take() else { return };
        held.work.becomes(Work::Release);
        let core = held.core.clone();
        core.keeper.spawn(async move {
            let (op, limit) = (given_back(&held), held.report_for());
            if let Err(error) = held.core.release(held.address(), &op, limit, &held.work).await {
                held.give_up(error);
            }
        });
    }
}

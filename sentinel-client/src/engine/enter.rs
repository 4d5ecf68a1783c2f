//! The first half of a call: the claim, waiting for other calls, and cancelling claims that will not be used.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sentinel_core::operation::{Cancel, Claim, ClaimReply, Granted};
use sentinel_core::{Address, Applied, ClaimId, Grant, Kind, RecordedResult, StoreError, StoreTime};
use tracing::{Instrument as _, Span, field};

use super::super::attempts::Attempts;
use super::super::authority::Authority;
use super::super::clock::LocalTime;
use super::super::keeper::{Entry, KeepAliveGuard};
use super::super::open_work::{Work, WorkGuard};
use super::super::outcome::{InProgress, NotRun, Reconciling, Uncertain};
use super::super::retry::{Answered, RetryPolicy};
use super::super::run::{Inner, Run};
use super::super::shared::Core;
use super::super::signals::meters::{Took, WaitEnded};
use super::super::watch::Watch;

/// A call of `once` or `lease`, validated and ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) address: Address,
    pub(crate) claim: Claim,
    pub(crate) retry_timeout: Duration,
    /// How long the caller waits for the confirmation that the result is recorded.
    pub(crate) confirm_within: Duration,
    pub(crate) wait: Option<Duration>,
    /// The span of the call.
    pub(crate) span: Span,
}

/// Why a call got no grant.
#[derive(Debug)]
pub(crate) enum Refusal {
    InProgress(InProgress),
    Uncertain(Uncertain),
    Reconciling(Reconciling),
    Completed(RecordedResult),
    FingerprintMismatch,
    NotRun(NotRun),
}

/// The reply to a granted claim, and when the claim was sent. Make a [`HeldGrant`] of it at once: dropping it cancels
/// nothing.
pub(crate) struct Entered {
    sent: LocalTime,
    now: StoreTime,
    granted: Granted,
    work: WorkGuard,
}

/// While active, cancels the call's claim on drop: the claim may have been granted and will not be used.
struct CancelOnDrop<'a> {
    call: &'a Call,
    active: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.active {
            let Call { core, address, claim, .. } = self.call;
            core.cancel_in_background(address, claim.claim_id, self.call.cancel_for());
        }
    }
}

/// A grant whose function has not started. Dropped before that, it cancels its claim: nothing ran, and no request under
/// its claim id follows.
#[derive(Debug)]
pub(crate) struct HeldGrant {
    pub(crate) core: Arc<Core>,
    /// Shared by the function, its preparation and the keeper.
    pub(crate) run: Run,
    pub(crate) retry_timeout: Duration,
    pub(crate) confirm_within: Duration,
    pub(crate) work: WorkGuard,
    ttl: Duration,
    pub(super) late_effects: Duration,
    deadline: LocalTime,
    hard: LocalTime,
    active: bool,
    started: bool,
}

impl Drop for HeldGrant {
    fn drop(&mut self) {
        if self.active {
            self.core.cancel_in_background(self.address(), self.grant().claim_id, self.report_for());
        }
    }
}

/// How long a call that will not run waits for the cancel of its claim before it returns.
const SOON: Duration = Duration::from_secs(1);

/// How long after the hard deadline of an execution the client still reports its end. The store accepts a result
/// however late it arrives. If the store cannot be reached for longer than this, the key is uncertain afterwards.
const AFTER_HARD_DEADLINE: Duration = Duration::from_secs(10 * 60);

impl Call {
    /// Claims, and waits for other calls as long as this call may. A call that is answered at once allocates nothing.
    pub(crate) async fn enter(&mut self) -> Result<Entered, Refusal> {
        let core = &self.core;
        if core.open_work.draining().is_cancelled() {
            return Err(Refusal::NotRun(NotRun::Draining));
        }
        // A worker must be able to send heartbeats before it holds a grant.
        core.keeper.ready().map_err(|error| Refusal::NotRun(NotRun::NoHeartbeats(Arc::new(error))))?;
        let clock = core.keeper.clock();
        let until = self.wait.map(|wait| clock.now().plus(wait));
        let has_queue = self.address.kind == Kind::Lease && core.watchers.has_queue(&self.address);
        if let Some(until) = until.filter(|_| has_queue) {
            return Box::pin(self.wait_for_turn(None, until)).await;
        }
        match (self.claim(until).await, until) {
            (Err(Refusal::InProgress(other)), Some(until)) => {
                Box::pin(self.wait_for_turn(Some(other), until)).await
            }
            (Ok(entered), Some(until)) if entered.is_over(clock.now()) => {
                match Box::pin(self.ask_anew(entered, until)).await {
                    Err(Refusal::InProgress(other)) => Box::pin(self.wait_for_turn(Some(other), until)).await,
                    answer => answer,
                }
            }
            (answer, _) => answer,
        }
    }

    /// Waits in a span of its own, and measures the wait. A wait whose caller goes away has given up.
    async fn wait_for_turn(
        &mut self,
        other: Option<InProgress>,
        until: LocalTime,
    ) -> Result<Entered, Refusal> {
        let mut waiting = Waiting::new(&self.core, self.address.namespace.as_str());
        let span = waiting.span.clone();
        let answer = self.join(other, until, &span).instrument(span.clone()).await;
        waiting.ended = match &answer {
            Ok(_) | Err(Refusal::Completed(_) | Refusal::FingerprintMismatch) => WaitEnded::Result,
            Err(Refusal::Uncertain(_) | Refusal::Reconciling(_)) => WaitEnded::Uncertain,
            Err(Refusal::InProgress(_) | Refusal::NotRun(_)) => WaitEnded::GaveUp,
        };
        answer
    }

    /// Joins the queue of the callers of this process that wait for the address. The first of them sends its claim
    /// again whenever something may have changed, until its time is over.
    async fn join(
        &mut self,
        mut other: Option<InProgress>,
        until: LocalTime,
        span: &Span,
    ) -> Result<Entered, Refusal> {
        let core = self.core.clone();
        let clock = core.keeper.clock();
        let mut watch: Option<Watch> = None;
        loop {
            let left = until.since(clock.now());
            if let Some(other) = other.filter(|_| left.is_zero()) {
                return Err(Refusal::InProgress(other));
            }
            let watch = watch.get_or_insert_with(|| core.watch(&self.address));
            let turn = tokio::time::timeout(left, watch.turn());
            let in_time = tokio::select! {
                biased;
                () = core.open_work.draining().cancelled() => return Err(Refusal::NotRun(NotRun::Draining)),
                turn = turn => turn.is_ok(),
            };
            if let Some(trace) = watch.trace().filter(|_| !span.is_disabled()) {
                span.record("sentinel.running_trace_id", field::display(trace));
            }
            if !in_time && other.is_some() {
                continue;
            }
            let answer = match self.claim(Some(until)).await {
                Ok(entered) if entered.is_over(clock.now()) => self.ask_anew(entered, until).await,
                answer => answer,
            };
            match answer {
                Err(Refusal::InProgress(still)) => other = Some(still),
                answer => {
                    match &answer {
                        Ok(_) => watch.granted(),
                        // All callers would get the same reply.
                        Err(Refusal::Completed(_) | Refusal::Uncertain(_) | Refusal::Reconciling(_)) => {
                            watch.dissolve();
                        }
                        Err(_) => {}
                    }
                    return answer;
                }
            }
        }
    }

    /// For a lease that was over before its grant was known, because the store could not be reached for longer than the
    /// ttl. A caller that waits cancels the claim and claims again under a new claim id.
    async fn ask_anew(&mut self, mut entered: Entered, until: LocalTime) -> Result<Entered, Refusal> {
        let clock = self.core.keeper.clock();
        while entered.is_over(clock.now()) && !until.since(clock.now()).is_zero() {
            let cancelled = self
                .core
                .cancel(&self.address, self.claim.claim_id, SOON.min(self.retry_timeout), &entered.work)
                .await;
            if cancelled.is_err() {
                break;
            }
            self.claim.claim_id = ClaimId::random();
            entered = self.claim(Some(until)).await?;
        }
        Ok(entered)
    }

    /// Sends the claim until it is answered, and cancels it if it stays ambiguous.
    async fn claim(&self, until: Option<LocalTime>) -> Result<Entered, Refusal> {
        let core = &self.core;
        let policy = match until {
            Some(until) => RetryPolicy::Waiting(until.since(core.keeper.clock().now())),
            None => RetryPolicy::Ambiguous,
        };
        let work = core.open_work.open(&self.address, Work::Claim);
        let mut guard = CancelOnDrop { call: self, active: true };
        let send = || core.store.claim(&self.address, &self.claim);
        let claiming = core.send_until_answered(&self.address, policy, self.retry_timeout, send);
        let answer = match until {
            None => claiming.await,
            Some(_) => tokio::select! {
                biased;
                answer = claiming => answer,
                // Dropping `guard` cancels the claim.
                () = core.open_work.draining().cancelled() => return Err(Refusal::NotRun(NotRun::Draining)),
            },
        };
        if let Err(error) = &answer
            && error.applied() == Applied::Ambiguous
        {
            // The claim may have been granted. It is cancelled, and its function never runs.
            work.becomes(Work::Cancel);
            let cancelling = Box::pin(core.cancel(
                &self.address,
                self.claim.claim_id,
                SOON.min(self.retry_timeout),
                &work,
            ));
            guard.active = cancelling.await.is_err();
        } else {
            guard.active = false;
        }
        match answer {
            Ok(Answered { stamped, sent }) => match stamped.reply {
                ClaimReply::Granted(granted) => Ok(Entered { sent, now: stamped.stamp.now, granted, work }),
                refused => Err(refusal(refused)),
            },
            Err(error) => Err(Refusal::NotRun(NotRun::Store(error))),
        }
    }

    /// For how long a cancel of this call is repeated. A lease has lapsed by itself before that.
    fn cancel_for(&self) -> Duration {
        self.claim.terms.hard_ttl().saturating_add(AFTER_HARD_DEADLINE)
    }
}

/// A wait for another call. Its end is reported when this is dropped.
struct Waiting {
    core: Arc<Core>,
    took: Took,
    span: Span,
    ended: WaitEnded,
}

impl Waiting {
    fn new(core: &Arc<Core>, namespace: &str) -> Self {
        let clock = core.keeper.clock();
        let span = tracing::info_span!(
            target: "sentinel",
            "sentinel.wait",
            otel.kind = "internal",
            sentinel.namespace = namespace,
            sentinel.ended = field::Empty,
            sentinel.running_trace_id = field::Empty,
        );
        let took = Took { clock, sent: clock.now() };
        Self { core: core.clone(), took, span, ended: WaitEnded::GaveUp }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.span.record("sentinel.ended", self.ended.word());
        self.core.meters.waited(self.ended, self.took);
    }
}

impl Entered {
    fn is_over(&self, now: LocalTime) -> bool {
        now >= self.sent.plus(self.granted.lease_until.since(self.now))
    }
}

impl HeldGrant {
    /// Makes a held grant of a granted claim.
    pub(crate) fn new(call: Call, Entered { sent, now, granted, work }: Entered) -> Self {
        work.becomes(if call.address.kind == Kind::Lease { Work::Lease } else { Work::Run });
        let inner = Inner {
            grant: Grant { token: granted.token, claim_id: call.claim.claim_id },
            address: call.address,
            incarnation: granted.incarnation,
            clock: call.core.keeper.clock(),
            authority: Authority::default(),
            attempts: Attempts::default(),
            records_itself: AtomicBool::new(false),
            span: call.span,
            cause: call.claim.cause,
            claimed_at: sent,
        };
        let run = Run { inner: Arc::new(inner), store: call.core.store.clone(), attached: None };
        let mut held = Self {
            core: call.core,
            run,
            retry_timeout: call.retry_timeout,
            confirm_within: call.confirm_within,
            work,
            ttl: call.claim.terms.ttl(),
            late_effects: call.claim.terms.late_effects(),
            deadline: sent,
            hard: sent,
            active: true,
            started: false,
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

    /// Computes the deadlines from the time at which the request was *sent*, so that they end no later than the store's
    /// own.
    pub(crate) fn measure(&mut self, sent: LocalTime, now: StoreTime, granted: &Granted) {
        self.deadline = sent.plus(granted.lease_until.since(now));
        self.hard = sent.plus(granted.hard_until.since(now));
        self.run.inner.authority.ends_at(self.hard);
    }

    /// Reports the grant in the span of the call: claimed, and in one request with it also begun.
    pub(crate) fn report_grant(&self, fused: bool) {
        let Inner { grant, incarnation, span, .. } = &*self.run.inner;
        span.record("sentinel.token", grant.token.get());
        span.record("sentinel.incarnation", *incarnation);
        self.step("claimed");
        if fused {
            self.step("begun");
        }
    }

    /// Reports a step of this call, as an event of its span.
    pub(crate) fn step(&self, step: &'static str) {
        let Inner { address, grant, span, .. } = &*self.run.inner;
        self.core.origin(address, grant.token, span).step(step);
    }

    /// Whether the lease is over by this process' clock.
    pub(crate) fn is_over(&self) -> bool {
        self.run.inner.clock.now() >= self.deadline
    }

    /// Sends heartbeats for the grant until the guard is dropped.
    pub(crate) fn keep(&self) -> KeepAliveGuard {
        let run = self.run.inner.clone();
        let fenced_by_lease = !self.started || run.address.kind == Kind::Lease;
        let Self { ttl, deadline, hard, .. } = *self;
        self.core.keeper.keep(Entry { run, ttl, deadline, hard, fenced_by_lease })
    }

    /// For how long its end is still reported to the store: for an execution until 10 minutes after the hard deadline.
    /// A lease lapses by itself.
    pub(crate) fn report_for(&self) -> Duration {
        let run = &self.run.inner;
        let end = match run.address.kind {
            Kind::Execution => self.hard.plus(AFTER_HARD_DEADLINE),
            Kind::Lease => run.authority.deadline().max(self.deadline).plus(self.retry_timeout),
        };
        end.since(run.clock.now())
    }

    /// Stops reporting the end of this grant.
    pub(crate) fn give_up(&self, error: StoreError) {
        self.work.give_up(error);
    }

    /// Cancels the claim, because the function will not run. If the store does not answer soon, the drop continues in
    /// the background.
    pub(crate) async fn not_run(mut self) {
        let retry_timeout = SOON.min(self.retry_timeout);
        self.work.becomes(Work::Cancel);
        self.active =
            self.core.cancel(self.address(), self.grant().claim_id, retry_timeout, &self.work).await.is_err();
    }

    /// There is nothing to cancel: another call or an operator has the record.
    pub(crate) fn nothing_to_cancel(mut self) {
        self.active = false;
    }

    /// The function starts: from now on dropping this cancels nothing.
    pub(crate) fn start(&mut self) {
        self.active = false;
        self.started = true;
    }
}

impl Core {
    /// Cancels a claim, whether or not it was granted.
    async fn cancel(
        &self,
        address: &Address,
        claim_id: ClaimId,
        retry_timeout: Duration,
        work: &WorkGuard,
    ) -> Result<(), StoreError> {
        let op = Cancel { claim_id };
        let send = || self.store.cancel(address, &op);
        let reply = self.send_until_answered(address, RetryPolicy::Report(work), retry_timeout, send).await;
        self.watchers.wake(address);
        reply.map(drop)
    }

    pub(crate) fn cancel_in_background(
        self: &Arc<Self>,
        address: &Address,
        claim_id: ClaimId,
        retry_timeout: Duration,
    ) {
        let (core, address) = (self.clone(), address.clone());
        let work = self.open_work.open(&address, Work::Cancel);
        self.keeper.spawn(async move {
            if let Err(error) = core.cancel(&address, claim_id, retry_timeout, &work).await {
                work.give_up(error);
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
        ClaimReply::Reconciling { since, operator } => Refusal::Reconciling(Reconciling { operator, since }),
        ClaimReply::FingerprintMismatch => Refusal::FingerprintMismatch,
    }
}

//! `lead`: runs a future while this process leads.

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse};
use sentinel_core::{Address, Grant, Invalid, Token};
use tokio_util::sync::CancellationToken;

use super::fence::FenceValues;
use super::jitter::jittered;
use super::lease::{Lease, LeaseOutcome, LeaseRequest};
use super::open_work::Work;
use super::outcome::{Error, NotRun};
use super::policy::Policy;
use super::run::Run;
use super::sentinel::Sentinel;

impl Sentinel {
    /// A request to run a future while this process leads: while it holds the lease of this key. See [`Lead`].
    pub fn lead(&self, key: impl AsRef<str>) -> Lead {
        let lease = self.lease(key).or_hard_ttl(Lead::DEFAULT_HARD_TTL);
        Lead { sentinel: self.clone(), lease, stop_within: None, until: None }
    }
}

/// A request to run a future while this process leads, and again after each loss. Nothing is sent before
/// [`run`](Self::run).
///
/// Of all processes that lead under one key, one holds the lease at a time. That is a *term*. It has a fencing token,
/// greater than those of all earlier terms. When it ends, the process competes again.
///
/// ```
/// # mod sentinel { pub use sentinel_client::*; }
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// # async fn poll_the_bank(token: sentinel_core::Token) {}
/// # async fn leads(sentinel: sentinel::Sentinel) -> Result<(), sentinel::Error> {
/// let led = sentinel.lead("poll-the-bank").run(|leader| async move {
///     while !leader.should_stop() {
///         // With each write, pass the token to a resource that checks it.
///         poll_the_bank(leader.token()).await;
///         leader.sleep(Duration::from_secs(60)).await;
///     }
///     ControlFlow::<()>::Continue(())
/// });
/// led.await?;
/// # Ok(())
/// # }
/// ```
///
/// # When a term ends
///
/// | Cause | The future is signalled | It is dropped, if it has not returned |
/// |---|---|---|
/// | it returns | | |
/// | heartbeats are not answered | `stop_within` before the lease ends | when the lease ends |
/// | the hard ttl is over | `stop_within` before | when the lease ends |
/// | an operator evicts the lease | at the next heartbeat | `stop_within` later |
/// | [`until`](Self::until), or the client drains | at once | `stop_within` later, or when the lease ends |
/// | the future of `run` is dropped | | at once |
///
/// The lease is then released, if it is still held, so that another process leads at once. The end of the lease is
/// measured by this process' clock, from when the request was sent that extended it. That is no later than the end by
/// the store's clock. Therefore futures of two terms are not polled at the same time, **except** in three cases: an
/// operator evicted the lease; the process was paused, or the future blocks its thread, past the end of the lease; or
/// the clocks of the two hosts run at different rates. No client can close these. In all of them the earlier term has
/// the lower token: a resource that checks tokens refuses its writes (see [`Leader::fence`]).
///
/// The future runs in the task of the caller, not in one of its own. A panic goes on to the caller, and the lease is
/// released.
#[must_use = "nothing happens before `run`"]
pub struct Lead {
    sentinel: Sentinel,
    lease: LeaseRequest,
    stop_within: Option<Duration>,
    until: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("lease", &self.lease)
            .field("stop_within", &self.stop_within)
            .finish_non_exhaustive()
    }
}

/// How `lead` ended.
#[must_use = "only this value reports whether the work is finished"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led<T> {
    /// The future returned this value to end it.
    Finished(T),
    /// The future of [`Lead::until`] is ready.
    Stopped,
    /// The client drains, because its process is about to exit.
    Draining,
}

/// The handle of a term, which the future receives.
#[derive(Debug, Clone)]
pub struct Leader {
    run: Run,
    stop: CancellationToken,
}

/// How long a client waits for the lease in one request; then it sends another one.
const WAIT: Duration = Duration::from_secs(3_600);
/// How long it pauses after the store refused a request.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Lead {
    /// The hard ttl of a term, unless the request or a policy sets one: a day.
    pub const DEFAULT_HARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// How long the lease lasts without a heartbeat: how long no process leads after the leader has crashed. 10 ms to
    /// 366 days; default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lease = self.lease.ttl(ttl);
        self
    }

    /// The longest term. Default 24 hours. A new term begins after it, of any process that competes.
    pub fn hard_ttl(mut self, hard_ttl: Duration) -> Self {
        self.lease = self.lease.hard_ttl(hard_ttl);
        self
    }

    /// The label that the record shows for this worker, instead of the client's.
    pub fn worker(mut self, label: impl AsRef<str>) -> Self {
        self.lease = self.lease.worker(label);
        self
    }

    /// Applies the ttl and the hard ttl of a policy. Those of the client's policy apply already.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.lease = self.lease.policy(policy);
        self
    }

    /// How long the future has to return between the signal and its drop. Default: a third of the ttl. At most half of
    /// the ttl, because a term ends this long before its lease does.
    pub fn stop_within(mut self, at_most: Duration) -> Self {
        self.stop_within = Some(at_most);
        self
    }

    /// Ends leading when this future is ready, for example at a signal of the system. Then `run` returns
    /// [`Led::Stopped`].
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Some(Box::pin(stop));
        self
    }

    /// Leads. Calls the function once in each term, and runs the future that it returns.
    ///
    /// **Ends** when the future returns `Break(value)`, also after its signal; when [`until`](Self::until) is ready; or
    /// when the client drains, which waits for the future. After `Continue(())` the lease is released, and the process
    /// competes again, after a pause of about a third of the ttl in which others can lead. **A store that cannot be
    /// reached** is tried again, and logged as a warning. **Dropping it** drops the future at once, and releases the
    /// lease in the background. **Errors:** invalid input, before anything is sent; an error of the store that does not
    /// pass by itself, such as a missing schema.
    pub async fn run<T, F, Fut>(self, mut function: F) -> Result<Led<T>, Error>
    where
        F: FnMut(Leader) -> Fut,
        Fut: Future<Output = ControlFlow<T>>,
    {
        let Self { sentinel, lease, stop_within, until } = self;
        let terms = lease.terms()?;
        let stop_within = check_stop_within(stop_within, terms.ttl())?;
        let draining = sentinel.core.open_work.draining().clone();
        let mut stop = until.map_or_else(Fuse::terminated, |until| until.fuse());
        let mut pause = FIRST_PAUSE;
        loop {
            let acquired = tokio::select! {
                biased;
                () = &mut stop => return Ok(Led::Stopped),
                acquired = lease.clone().wait(WAIT).acquire() => acquired?,
            };
            let rest = match acquired {
                LeaseOutcome::Held(lease) => {
                    pause = FIRST_PAUSE;
                    let term = Term { lease, stop_within, sentinel: &sentinel };
                    let ended = {
                        let mut stopped = pin!(async {
                            tokio::select! {
                                biased;
                                () = &mut stop => Led::Stopped,
                                () = draining.cancelled() => Led::Draining,
                            }
                        });
                        term.run(&mut function, &mut stopped).await
                    };
                    match ended {
                        Ended::Finished(value) => return Ok(Led::Finished(value)),
                        Ended::Stopped(led) => return Ok(led),
                        Ended::SteppedDown => terms.ttl() / 3,
                        Ended::Lost => continue,
                    }
                }
                LeaseOutcome::InProgress(_) => continue,
                LeaseOutcome::NotHeld(NotRun::Draining) => return Ok(Led::Draining),
                LeaseOutcome::NotHeld(NotRun::Store(error)) if !error.can_pass() => return Err(error.into()),
                LeaseOutcome::NotHeld(reason) => {
                    tracing::warn!(%reason, "the lease to lead was not acquired; it is tried again");
                    let rest = pause;
                    pause = LONGEST_PAUSE.min(pause * 2);
                    rest
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return Ok(Led::Stopped),
                () = draining.cancelled() => return Ok(Led::Draining),
                () = tokio::time::sleep(jittered(rest)) => {}
            }
        }
    }
}

/// A future that is stopped earlier than two heartbeats in a row fail would be stopped without need.
fn check_stop_within(stop_within: Option<Duration>, ttl: Duration) -> Result<Duration, Invalid> {
    let stop_within = stop_within.unwrap_or(ttl / 3);
    match stop_within <= ttl / 2 {
        true => Ok(stop_within),
        false => Err(Invalid::new(
            "stop_within",
            format!("must be at most half of the ttl of {ttl:?}, is {stop_within:?}"),
        )),
    }
}

/// How a term ended.
enum Ended<T> {
    Finished(T),
    SteppedDown,
    Stopped(Led<T>),
    Lost,
}

/// A lease that is held to lead.
struct Term<'a> {
    lease: Lease,
    stop_within: Duration,
    sentinel: &'a Sentinel,
}

impl Term<'_> {
    /// Runs a future until it returns or the term ends, and releases the lease.
    async fn run<T, F, Fut>(
        self,
        function: &mut F,
        stopped: &mut (impl Future<Output = Led<T>> + Unpin),
    ) -> Ended<T>
    where
        F: FnMut(Leader) -> Fut,
        Fut: Future<Output = ControlFlow<T>>,
    {
        let token = self.lease.token();
        tracing::info!(token = token.get(), "this process leads");
        // What `drain` waits for, until the future is gone.
        let work = self.sentinel.core.open_work.open(self.lease.address(), Work::Lead);
        let leader = Leader { run: self.lease.run().clone(), stop: CancellationToken::new() };
        let ended = self.hold(&leader, function, stopped).await;
        tracing::info!(token = token.get(), "this process does not lead any more");
        if self.is_over() {
            drop(self.lease);
        } else if let Err(error) = self.lease.release().await {
            tracing::warn!(%error, "the lease to lead was not released; it is repeated in the background");
        }
        drop(work);
        ended
    }

    async fn hold<T, F, Fut>(
        &self,
        leader: &Leader,
        function: &mut F,
        stopped: &mut (impl Future<Output = Led<T>> + Unpin),
    ) -> Ended<T>
    where
        F: FnMut(Leader) -> Fut,
        Fut: Future<Output = ControlFlow<T>>,
    {
        if self.is_ending() {
            return Ended::Lost;
        }
        let mut future = pin!(function(leader.clone()));
        // Before each poll of the future the time is checked, because a timer may fire late.
        let ended = tokio::select! {
            biased;
            () = ready_if(|| self.is_ending()) => Ended::Lost,
            () = self.ending() => Ended::Lost,
            led = stopped => Ended::Stopped(led),
            returned = &mut future => return returned.into(),
        };
        leader.stop.cancel();
        let was_over = self.is_over();
        tokio::select! {
            biased;
            () = ready_if(|| !was_over && self.is_over()) => ended,
            () = tokio::time::sleep(self.grace()) => ended,
            returned = &mut future => match Ended::from(returned) {
                Ended::SteppedDown => ended,
                finished => finished,
            },
        }
    }

    /// Whether the lease is lost, or has ended by this process' clock.
    fn is_over(&self) -> bool {
        self.lease.lost().is_some() || self.lease.remaining().is_zero()
    }

    fn is_ending(&self) -> bool {
        self.lease.lost().is_some() || self.lease.remaining() <= self.stop_within
    }

    /// Returns when the lease is lost, or would end in `stop_within` if no heartbeat is answered.
    async fn ending(&self) {
        let lost = self.lease.cancelled();
        while !self.is_ending() {
            let left = self.lease.remaining().saturating_sub(self.stop_within);
            tokio::select! {
                biased;
                () = lost.cancelled() => return,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// How long after its signal a future is dropped: `stop_within`, and not after the end of a lease that is still
    /// held.
    fn grace(&self) -> Duration {
        match self.is_over() {
            true => self.stop_within,
            false => self.stop_within.min(self.lease.remaining()),
        }
    }
}

/// Is ready at a poll at which the condition is true. It does not wake its task.
async fn ready_if(condition: impl Fn() -> bool) {
    poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl<T> From<ControlFlow<T>> for Ended<T> {
    fn from(returned: ControlFlow<T>) -> Self {
        match returned {
            ControlFlow::Break(value) => Self::Finished(value),
            ControlFlow::Continue(()) => Self::SteppedDown,
        }
    }
}

impl Leader {
    /// The fencing token of this term: pass it to every resource that can check one.
    pub fn token(&self) -> Token {
        self.run.token()
    }

    /// Both columns of a fenced write: the token, and the address as `namespace/kind/key`.
    pub fn fence(&self) -> FenceValues {
        self.run.fence()
    }

    /// Token and claim id: with both, your own transaction can check that the lease is still held.
    pub fn grant(&self) -> Grant {
        self.run.grant()
    }

    /// The address of the lease.
    pub fn address(&self) -> &Address {
        self.run.address()
    }

    /// A token that is cancelled when the term ends. Then start nothing, and return.
    pub fn cancelled(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether the term ends: return.
    pub fn should_stop(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Sleeps, or until the term ends.
    pub async fn sleep(&self, duration: Duration) {
        // The caller asks `should_stop`.
        let _ = tokio::time::timeout(duration, self.stop.cancelled()).await;
    }

    /// What remains of the lease by this process' clock. Heartbeats extend it.
    pub fn remaining(&self) -> Duration {
        self.run.remaining()
    }
}

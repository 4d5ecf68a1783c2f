//! One call, from its claim to its outcome, in the order of steps that spec §4 prescribes.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures_util::FutureExt as _;
use sentinel_core::operation::{Begin, BeginReply};
use sentinel_core::{Grant, Label, RecordedResult};
use tracing::{Instrument as _, Span};

use super::causes::with_inherited_cause;
use super::outcome::{Failure, NotRun, Outcome, RanUncertain};
use super::retry::RetryPolicy;
use super::run::{Inner, Run};
use super::shared::Core;
use super::signals::meters::Took;

mod confirm;
pub(crate) mod ended;
mod enter;
mod finish;

use ended::Ended;
pub(crate) use enter::{Call, HeldGrant, Refusal};
use finish::Started;

/// How a function ended, as it reports itself.
#[derive(Debug)]
pub enum Ending<T, E> {
    /// The work happened: the value, and the result to record.
    Success(T, RecordedResult),
    /// The work failed for good: the error, and the result to record.
    FailedForGood(E, RecordedResult),
    /// The function vouches that nothing happened: the key becomes free, and any call can run it.
    NothingHappened(E),
    /// The outcome is unknown: the cause of doubt, and the error if there is one.
    Unknown(Label, Option<E>),
}

/// How a function ended, with its value as the codec encoded it.
#[derive(Debug)]
pub(crate) enum Returned<T, E> {
    Success(T, Ended),
    FailedForGood(E, RecordedResult),
    NothingHappened(E),
    Unknown(Label, Option<E>),
}

impl<T, E> From<Ending<T, E>> for Returned<T, E> {
    fn from(ending: Ending<T, E>) -> Self {
        match ending {
            Ending::Success(value, recorded) => Self::Success(value, recorded.into()),
            Ending::FailedForGood(error, recorded) => Self::FailedForGood(error, recorded),
            Ending::NothingHappened(error) => Self::NothingHappened(error),
            Ending::Unknown(cause, error) => Self::Unknown(cause, error),
        }
    }
}

/// Runs the work of a grant in a task of its own, which continues when the caller goes away. The task starts at once:
/// the caller's future only has its handle. The task reports the outcome, also if no caller waits for it.
pub(crate) fn execute<T, E, W>(
    held: HeldGrant,
    work: impl FnOnce(HeldGrant) -> W,
) -> impl Future<Output = Outcome<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
    W: Future<Output = Outcome<T, E>> + Send + 'static,
{
    let report = Report::new(&held);
    let (task, span) = (report.clone(), report.run.inner.span.clone());
    let caller = CallerSpan(span.clone());
    // Not an async block: it would contain the work twice.
    let reported = work(held).map(move |outcome| {
        task.outcome(&outcome);
        outcome
    });
    // A caller that goes away drops the handle, which detaches the task. The outcome is then only in the record.
    tokio::spawn(reported.instrument(span)).map(move |ended| {
        caller.got_outcome();
        ended.unwrap_or_else(|_| {
            let cause = Label::lossy("the runtime shut down while the function ran");
            let Grant { token, claim_id } = report.run.inner.grant;
            let outcome = Outcome::RanUncertain(RanUncertain { cause, error: None, token, claim_id });
            report.outcome(&outcome);
            outcome
        })
    })
}

/// What the report of a call's outcome needs.
#[derive(Debug, Clone)]
struct Report {
    core: Arc<Core>,
    run: Run,
}

impl Report {
    fn new(held: &HeldGrant) -> Self {
        Self { core: held.core.clone(), run: held.run.clone() }
    }

    fn outcome<T, E>(&self, outcome: &Outcome<T, E>) {
        let Inner { address, grant, span, clock, claimed_at, .. } = &*self.run.inner;
        let took = Took { clock: *clock, sent: *claimed_at };
        self.core.ran(&self.core.origin(address, grant.token, span), outcome, took);
    }
}

/// The span of a call whose caller waits. Dropped before the outcome is there, it records that the caller has gone.
struct CallerSpan(Span);

impl CallerSpan {
    fn got_outcome(mut self) {
        self.0 = Span::none();
    }
}

impl Drop for CallerSpan {
    fn drop(&mut self) {
        self.0.record("sentinel.caller_gone", true);
    }
}

/// Whether the caller still waits, for the task that works for it.
#[derive(Debug)]
pub(crate) struct Caller(Weak<()>);

impl Caller {
    /// Creates the pair: what the task checks, and what the caller keeps while it waits.
    pub(crate) fn new() -> (Self, Arc<()>) {
        let here = Arc::new(());
        (Self(Arc::downgrade(&here)), here)
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Runs the preparation in `claimed`, where another call can safely take over after a crash. Then begins, and runs the
/// function that the preparation returned.
pub(crate) async fn prepare_and_run<T, E, P, F, Fut>(
    held: HeldGrant,
    caller: Caller,
    prepare: impl FnOnce(Run) -> P,
) -> Outcome<T, E>
where
    P: Future<Output = Result<F, E>>,
    F: FnOnce(Run) -> Fut,
    Fut: Future<Output = Returned<T, E>>,
{
    let keep_alive = held.keep();
    let run_handle = held.run.clone();
    let inherited = run_handle.inherited_cause();
    let prepared = with_inherited_cause(inherited, async move { prepare(run_handle).await });
    let prepared = AssertUnwindSafe(prepared).catch_unwind().await;
    drop(keep_alive);
    match prepared {
        Ok(Ok(_)) if caller.is_gone() => {
            held.not_run().await;
            Outcome::NotRun(NotRun::CallerGone)
        }
        Ok(Ok(function)) => match begin(held).await {
            Ok(held) => run(held, function).await,
            Err(reason) => Outcome::NotRun(reason),
        },
        Ok(Err(error)) => {
            held.not_run().await;
            Outcome::Failed(Failure::Preparation(error))
        }
        Err(panic) => {
            held.not_run().await;
            Outcome::NotRun(NotRun::PreparationPanicked(panic_text(panic.as_ref())))
        }
    }
}

/// Begins a claim. If the reply stays ambiguous, the function never runs.
async fn begin(mut held: HeldGrant) -> Result<HeldGrant, NotRun> {
    let op = Begin { grant: held.grant() };
    let send = || held.core.store.begin(held.address(), &op);
    match held
        .core
        .send_until_answered(held.address(), RetryPolicy::Ambiguous, held.retry_timeout, send)
        .await
    {
        Err(error) => {
            held.not_run().await;
            Err(NotRun::Store(error))
        }
        Ok(answered) => match answered.stamped.reply {
            BeginReply::Begun(granted) => {
                held.measure(answered.sent, answered.stamped.stamp.now, &granted);
                held.step("begun");
                Ok(held)
            }
            BeginReply::Expired => {
                held.not_run().await;
                Err(NotRun::Expired)
            }
            BeginReply::Superseded(current) => {
                held.nothing_to_cancel();
                Err(NotRun::Superseded(current))
            }
            BeginReply::Completed => {
                held.nothing_to_cancel();
                Err(NotRun::Store(crate::shared::store_broke(
                    "its reply is *completed* for a grant that never began",
                )))
            }
        },
    }
}

/// Runs the function under a grant that has begun. Once the function was polled, only its end is reported to the store.
pub(crate) async fn run<T, E, F, Fut>(held: HeldGrant, function: F) -> Outcome<T, E>
where
    F: FnOnce(Run) -> Fut,
    Fut: Future<Output = Returned<T, E>>,
{
    // The last check before the side effect may start: after the end of the lease others see the key as uncertain.
    if held.is_over() || held.run.lost().is_some() {
        held.not_run().await;
        return Outcome::NotRun(NotRun::Expired);
    }
    let run = held.run.clone();
    let started = Started::new(held);
    let inherited = run.inherited_cause();
    let ended = with_inherited_cause(inherited, async move { function(run).await });
    match AssertUnwindSafe(ended).catch_unwind().await {
        Ok(Returned::Success(value, ended)) if started.recorded_itself() => {
            started.confirm(value, ended.recorded).await
        }
        Ok(Returned::Success(value, ended)) => started.complete(Ok(value), ended).await,
        Ok(Returned::FailedForGood(error, recorded)) => started.complete(Err(error), recorded.into()).await,
        Ok(Returned::NothingHappened(error)) => started.release(error).await,
        Ok(Returned::Unknown(cause, error)) => started.abandon(cause, error).await,
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            started.abandon(Label::lossy(format!("the function panicked: {text}")), None).await
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> Label {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Label::lossy(text.unwrap_or("no message"))
}

//! One call, from its claim to its answer: the order of steps that spec §4 prescribes.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use futures_util::FutureExt as _;
use sentinel_core::operation::{Begin, BeginReply};
use sentinel_core::{Grant, Label, Recorded};

use super::outcome::{Failure, NotRun, NotStored, Outcome, RanUncertain};
use super::retry::Persist;
use super::run::Run;

mod confirm;
mod enter;
mod finish;

pub(crate) use enter::{Call, Entered, Held, Refusal};
use finish::Started;

/// What a function says of its end.
#[derive(Debug)]
pub enum Ending<T, E> {
    /// It happened: the value, and what to record of it.
    Success(T, Recorded),
    /// It failed for good: the error, and what to record of it.
    FailedForGood(E, Recorded),
    /// Nothing happened, vouched: anyone may try again.
    NothingHappened(E),
    /// Nobody knows: the cause of doubt, and the error if there is one.
    Unknown(Label, Option<E>),
}

/// A function's result as it is recorded, and why its bytes are left out, if they are.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) recorded: Recorded,
    pub(crate) not_stored: Option<NotStored>,
}

impl From<Recorded> for Ended {
    fn from(recorded: Recorded) -> Self {
        Self { recorded, not_stored: None }
    }
}

/// How a function ended, with what the codec made of its value.
#[derive(Debug)]
pub(crate) enum Returned<T, E> {
    Success(T, Ended),
    FailedForGood(E, Recorded),
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

/// Runs what a grant is for in a task of its own, which ends when the work has ended and not when the caller goes away.
/// The task starts at once: the caller's future holds its handle only.
pub(crate) fn execute<T, E>(
    grant: Grant,
    work: impl Future<Output = Outcome<T, E>> + Send + 'static,
) -> impl Future<Output = Outcome<T, E>>
where
    T: Send + 'static,
    E: Send + 'static,
{
    // A caller that goes away drops the handle, which detaches: it does not hear the outcome; the record does.
    tokio::spawn(work).map(move |ended| {
        ended.unwrap_or_else(|_| {
            let cause = Label::lossy("the runtime shut down while the function ran");
            let Grant { token, claim_id } = grant;
            Outcome::RanUncertain(RanUncertain { cause, error: None, token, claim_id })
        })
    })
}

/// Whether the caller still waits, as seen by the task that works for it.
#[derive(Debug)]
pub(crate) struct Caller(Weak<()>);

impl Caller {
    /// The caller, and what it holds as long as it waits.
    pub(crate) fn new() -> (Self, Arc<()>) {
        let here = Arc::new(());
        (Self(Arc::downgrade(&here)), here)
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Does the preparation in `claimed`, where a crash is safe to take over, begins, and runs the function that it gave.
pub(crate) async fn prepare_and_run<T, E, P, F, Fut>(
    held: Held,
    caller: Caller,
    prepare: impl FnOnce(Run) -> P,
) -> Outcome<T, E>
where
    P: Future<Output = Result<F, E>>,
    F: FnOnce(Run) -> Fut,
    Fut: Future<Output = Returned<T, E>>,
{
    let keeping = held.keep();
    let run_handle = held.run.clone();
    let prepared = AssertUnwindSafe(async move { prepare(run_handle).await }).catch_unwind().await;
    drop(keeping);
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

/// Begins a claim. Whatever stays ambiguous never runs.
async fn begin(mut held: Held) -> Result<Held, NotRun> {
    let op = Begin { grant: held.grant() };
    let send = || held.core.store.begin(held.address(), &op);
    match held.core.settle(held.address(), Persist::Ambiguous, held.retry_timeout, send).await {
        Err(error) => {
            held.not_run().await;
            Err(NotRun::Store(error))
        }
        Ok(settled) => match settled.stamped.reply {
            BeginReply::Begun(granted) => {
                held.measure(settled.sent, settled.stamped.stamp.now, &granted);
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
                Err(NotRun::Store(super::store_broke("it says completed to a grant that never began")))
            }
        },
    }
}

/// Runs the function under a grant that has begun. From the first poll on, only its end is told to the store.
pub(crate) async fn run<T, E, F, Fut>(held: Held, function: F) -> Outcome<T, E>
where
    F: FnOnce(Run) -> Fut,
    Fut: Future<Output = Returned<T, E>>,
{
    // The last look before the side effect may start: past the lease, others may think it is over.
    if held.is_over() || held.run.lost().is_some() {
        held.not_run().await;
        return Outcome::NotRun(NotRun::Expired);
    }
    let run = held.run.clone();
    let started = Started::new(held);
    match AssertUnwindSafe(async move { function(run).await }).catch_unwind().await {
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

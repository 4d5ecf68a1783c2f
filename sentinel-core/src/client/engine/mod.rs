//! One call, from its claim to its answer: the order of steps that SPEC section 4 prescribes.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::outcome::{Doubtful, Failure, NotRun, Outcome};
use super::run::Run;
use crate::operation::{Begin, BeginReply};
use crate::payload::Recorded;
use crate::terms::Label;

mod enter;
mod finish;

pub(crate) use enter::{Call, Held, Refusal};
use finish::Started;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// The function, with its result already classified and encoded.
pub(crate) type RunFn<T, E> = Box<dyn FnOnce(Run) -> BoxFuture<Ending<T, E>> + Send>;
/// Work before the side effect; it gives the function.
pub(crate) type PrepareFn<T, E> = Box<dyn FnOnce(Run) -> BoxFuture<Result<RunFn<T, E>, E>> + Send>;

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

/// What a call does once it holds its claim.
pub(crate) enum Work<T, E> {
    /// The claim was fused with its begin: straight to the function.
    Run(RunFn<T, E>),
    /// First the preparation, in `claimed`, where a crash is safe to take over.
    Prepare(PrepareFn<T, E>),
}

/// Runs the work in a task of its own, which ends when the work has ended and not when the caller goes away.
pub(crate) async fn execute<T, E>(held: Held, work: Work<T, E>) -> Outcome<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (token, claim_id) = (held.grant.token, held.grant.claim_id);
    let (caller, answer) = oneshot::channel();
    let span = tracing::Span::current();
    let task = async move {
        let outcome = match work {
            Work::Run(function) => run(held, function).await,
            Work::Prepare(prepare) => prepare_and_run(held, prepare, &caller).await,
        };
        // A caller that has gone away does not hear it; the record does.
        let _ = caller.send(outcome);
    };
    tokio::spawn(tracing::Instrument::instrument(task, span));
    answer.await.unwrap_or_else(|_| {
        let cause = Label::lossy("the runtime shut down while the function ran");
        Outcome::Doubtful(Doubtful { cause, error: None, token, claim_id })
    })
}

async fn prepare_and_run<T, E>(
    held: Held,
    prepare: PrepareFn<T, E>,
    caller: &oneshot::Sender<Outcome<T, E>>,
) -> Outcome<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let keeping = held.keep();
    let run_handle = held.run();
    let prepared = AssertUnwindSafe(async move { prepare(run_handle).await }).catch_unwind().await;
    drop(keeping);
    match prepared {
        Ok(Ok(_)) if caller.is_closed() => {
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
    let op = Begin { grant: held.grant };
    let call = held.call.clone();
    let patience = call.patience;
    let send = || call.core.store.begin(&call.address, &op);
    let persist = super::retry::Persist::Ambiguous;
    match call.core.settle("begin", &call.address, persist, patience, send).await {
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
async fn run<T, E>(held: Held, function: RunFn<T, E>) -> Outcome<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    // The last look before the side effect may start: past the lease, others may think it is over.
    if held.is_over() || held.authority.lost().is_some() {
        held.not_run().await;
        return Outcome::NotRun(NotRun::Expired);
    }
    let run = held.run();
    let started = Started::new(held);
    match AssertUnwindSafe(async move { function(run).await }).catch_unwind().await {
        Ok(Ending::Success(value, recorded)) => started.complete(Ok(value), recorded).await,
        Ok(Ending::FailedForGood(error, recorded)) => started.complete(Err(error), recorded).await,
        Ok(Ending::NothingHappened(error)) => started.release(error).await,
        Ok(Ending::Unknown(cause, error)) => started.abandon(cause, error).await,
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

impl Call {
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

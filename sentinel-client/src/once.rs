//! `once`: runs a function at most once for a key.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sentinel_core::operation::Phase;
use sentinel_core::{Accepts, Address, Invalid, Key, Label, RecordedResult, Verdict};
use tracing::Instrument as _;

use super::classes::{Class, Classes};
use super::codec::{Codec, Json, decode_failure, decode_result, encode_checked, encode_failure};
use super::engine::ended::Ended;
use super::engine::{self, Call, Caller, Ending, HeldGrant, Refusal, Returned, execute};
use super::outcome::{Error, Failure, NotRun, Outcome, ReplayedFailure};
use super::policy::Policy;
use super::requested::{RequestedExecution, RequestedTerms};
use super::run::Run;
use super::sentinel::Sentinel;

impl Sentinel {
    /// A request to run a function at most once for a key. See [`Once`].
    pub fn once<E>(&self, key: impl AsRef<str>) -> Once<E> {
        Once::new(self.clone(), Key::new(key))
    }
}

/// A request to run a function at most once for a key, across any number of competing workers. All later callers get
/// the recorded result.
///
/// Nothing is sent before [`run`](Self::run). The ttl (default 30 s) is how long a worker may send no heartbeat before
/// others see its run as uncertain. Heartbeats extend the lease up to the hard ttl, which defaults to the ttl.
#[must_use = "nothing happens before `run`"]
pub struct Once<E, C = Json> {
    sentinel: Sentinel,
    key: Result<Key, Invalid>,
    asked: RequestedTerms,
    execution: RequestedExecution,
    wait: Option<Duration>,
    confirm_within: Option<Duration>,
    codec: C,
    failure_codec: Option<Box<dyn Codec<E>>>,
    classes: Classes<E>,
}

impl<E, C> fmt::Debug for Once<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("key", &self.key).field("terms", &self.asked).finish_non_exhaustive()
    }
}

impl<E> Once<E> {
    pub(super) fn new(sentinel: Sentinel, key: Result<Key, Invalid>) -> Self {
        let policy = sentinel.policy.clone();
        let once = Self {
            sentinel,
            key,
            asked: RequestedTerms::DEFAULT,
            execution: RequestedExecution::DEFAULT,
            wait: None,
            confirm_within: None,
            codec: Json,
            failure_codec: None,
            classes: Classes::default(),
        };
        match policy {
            Some(policy) => once.apply(&policy),
            None => once,
        }
    }
}

impl<E, C> Once<E, C> {
    fn apply(mut self, policy: &Policy) -> Self {
        policy.apply_to_terms(&mut self.asked);
        policy.apply_to_execution(&mut self.execution);
        self.wait = policy.wait.or(self.wait);
        self.confirm_within = policy.confirm_within.or(self.confirm_within);
        self.classes.by_type.add(&policy.classes);
        self
    }

    /// Applies a policy to this call: what it sets replaces what the client's policy, and methods that were called
    /// before, have set. A method that is called afterwards wins.
    pub fn policy(self, policy: Policy) -> Self {
        self.apply(&policy)
    }

    /// How long the worker may send no heartbeat before others see its run as uncertain. Default 30 s; 10 ms to 366
    /// days.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.asked.ttl = ttl;
        self
    }

    /// How long the run may take in total. Not below the ttl. Defaults to the ttl; then heartbeats cannot extend the
    /// lease.
    pub fn hard_ttl(mut self, hard_ttl: Duration) -> Self {
        self.asked.hard_ttl = Some(hard_ttl);
        self
    }

    /// How long after the end of the run an effect that it caused may still land elsewhere. Default 1 min; at most 366
    /// days. For example, a provider may book a payment after the function's timeout. After a run with an unknown
    /// outcome, a reset and a reconciler's negative finding are accepted only when this time is over. Use zero only if
    /// no effect can be late.
    pub fn late_effects(mut self, at_most: Duration) -> Self {
        self.asked.late_effects = at_most;
        self
    }

    crate::__execution_settings!();

    /// Waits for an execution in flight for at most this long, instead of returning `InProgress` at once. Any number of
    /// callers of this process that wait for one key share one watcher. A run that becomes uncertain ends the wait. A
    /// store that cannot be reached does not: the claim is sent again, under the same claim id, until the time is over.
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = Some(at_most);
        self
    }

    /// How long this call waits for the confirmation that the result is recorded before it returns `Unconfirmed`.
    /// Defaults to the client's `retry_timeout` (10 s). The result is sent in the background until 10 minutes after the
    /// hard deadline, so a longer time than that has no effect.
    pub fn confirm_within(mut self, at_most: Duration) -> Self {
        self.confirm_within = Some(at_most);
        self
    }

    /// Selects the errors that prove that nothing happened: the claim is released, and any call can run again. If an
    /// error is also selected by [`failed_for_good_if`](Self::failed_for_good_if), its outcome is unknown.
    pub fn nothing_happened_if(mut self, predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.classes.nothing_happened.push(Box::new(predicate));
        self
    }

    /// Selects the errors that are final: they are recorded, and later callers get that failure.
    pub fn failed_for_good_if(mut self, predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.classes.failed_for_good.push(Box::new(predicate));
        self
    }

    /// Uses another codec than JSON, for example [`Raw`](super::Raw).
    pub fn codec<D>(self, codec: D) -> Once<E, D> {
        Once {
            sentinel: self.sentinel,
            key: self.key,
            asked: self.asked,
            execution: self.execution,
            wait: self.wait,
            confirm_within: self.confirm_within,
            codec,
            failure_codec: self.failure_codec,
            classes: self.classes,
        }
    }

    /// Records a failure for good as this codec encodes the error, instead of as its text. A later call with the codec
    /// gets the error back, in [`ReplayedFailure::error`]. An error that the codec cannot encode faithfully is recorded
    /// as its text.
    pub fn failure_codec(mut self, codec: impl Codec<E>) -> Self {
        self.failure_codec = Some(Box::new(codec));
        self
    }

    /// Work before the side effect, done under the claim. A crash in it is safe: another call takes over when the claim
    /// has lapsed. Its value is passed to the function. If it returns an error or panics, the claim is cancelled.
    pub fn prepare<P, F, Fut>(self, prepare: F) -> Prepared<E, C, P>
    where
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output = Result<P, E>> + Send + 'static,
        P: Send + 'static,
    {
        Prepared { once: self, prepare: Box::new(move |run| Box::pin(prepare(run))), prepared: PhantomData }
    }

    /// The claim to send, and how to handle the function's result.
    fn call(self, phase: Phase, accepts: Accepts) -> Result<(Call, Classifier<E, C>), Invalid> {
        let Sentinel { core, namespace, worker, retry_timeout, .. } = self.sentinel;
        let limit = self.execution.payload_limit;
        let claim = self.execution.claim(self.asked.terms()?, phase, accepts, worker)?;
        let address = Address::execution(namespace, self.key?);
        let confirm_within = self.confirm_within.unwrap_or(retry_timeout);
        let span = core.span(&address);
        let call = Call { core, address, claim, retry_timeout, confirm_within, wait: self.wait, span };
        let Self { codec, failure_codec, classes, .. } = self;
        Ok((call, Classifier { codec, failure_codec, classes, limit }))
    }
}

impl<E, C> Once<E, C>
where
    E: fmt::Display + Send + 'static,
    C: Send + Sync + 'static,
{
    /// Runs the function, unless another call has run it or is running it.
    ///
    /// **Effect:** claims and begins in one request, runs the function in a task of the library's own, and records its
    /// result. **If the caller goes away,** the function and its completion continue. **Repeating it** with the same
    /// key replays the result. **Errors:** invalid input; another fingerprint; a recorded result that was not stored or
    /// that this call cannot decode. In each case the function did not run. Everything else, including a store that
    /// could not answer, is an [`Outcome`].
    pub async fn run<T, F, Fut>(self, function: F) -> Result<Outcome<T, E>, Error>
    where
        T: Send + 'static,
        C: Codec<T>,
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let accepts = self.codec.accepts();
        let (call, classifier) = self.call(Phase::Executing, accepts)?;
        let work =
            move |classifier: Classifier<E, C>, held| engine::run(held, |run| classifier.of(function(run)));
        answer(call, classifier, Classifier::replay, work).await
    }

    /// Runs a function that reports itself how it ended and what to record. A replay returns the recorded result as it
    /// is, even if its bytes were not stored.
    pub async fn run_recorded<F, Fut>(self, function: F) -> Result<Outcome<RecordedResult, E>, Error>
    where
        F: FnOnce(Run) -> Fut + Send + 'static,
        Fut: Future<Output = Ending<RecordedResult, E>> + Send + 'static,
    {
        let (call, _) = self.call(Phase::Executing, Accepts::any())?;
        let work = move |(), held| engine::run(held, |run| function(run).map(Returned::from));
        let replay = |(), recorded: RecordedResult| {
            Ok(match recorded.verdict {
                Verdict::Success => Outcome::Replayed(recorded),
                Verdict::Failure => {
                    Outcome::Failed(Failure::Replayed(ReplayedFailure { recorded, error: None }))
                }
            })
        };
        answer(call, (), replay, work).await
    }
}

/// A [`Once`] with work to do before the side effect.
#[must_use = "nothing happens before `run`"]
pub struct Prepared<E, C, P> {
    once: Once<E, C>,
    prepare: Box<dyn FnOnce(Run) -> BoxFuture<'static, Result<P, E>> + Send>,
    prepared: PhantomData<fn() -> P>,
}

impl<E, C, P> fmt::Debug for Prepared<E, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("once", &self.once).finish_non_exhaustive()
    }
}

impl<E, C, P> Prepared<E, C, P>
where
    E: fmt::Display + Send + 'static,
    C: Send + Sync + 'static,
    P: Send + 'static,
{
    /// Runs the preparation, begins, and runs the function with the preparation's value. Like [`Once::run`], but in two
    /// requests: the side effect can start only after the second.
    pub async fn run<T, F, Fut>(self, function: F) -> Result<Outcome<T, E>, Error>
    where
        T: Send + 'static,
        C: Codec<T>,
        F: FnOnce(Run, P) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let prepare = self.prepare;
        let accepts = self.once.codec.accepts();
        let (call, classifier) = self.once.call(Phase::Claimed, accepts)?;
        let (caller, _here) = Caller::new();
        let work = move |classifier: Classifier<E, C>, held| {
            engine::prepare_and_run(held, caller, async move |run| {
                let prepared = prepare(run).await?;
                Ok(|run| classifier.of(function(run, prepared)))
            })
        };
        answer(call, classifier, Classifier::replay, work).await
    }
}

/// Converts a function's result into an ending.
struct Classifier<E, C> {
    codec: C,
    failure_codec: Option<Box<dyn Codec<E>>>,
    classes: Classes<E>,
    limit: usize,
}

impl<E, C> Classifier<E, C>
where
    E: fmt::Display + Send + 'static,
    C: Send + Sync + 'static,
{
    /// The function's result, classified and encoded.
    fn of<T>(self, function: impl Future<Output = Result<T, E>>) -> impl Future<Output = Returned<T, E>>
    where
        C: Codec<T>,
    {
        function.map(move |ended| match ended {
            Ok(value) => {
                let (recorded, not_stored) = encode_checked(&self.codec, &value, self.limit);
                Returned::Success(value, Ended { recorded, not_stored })
            }
            Err(error) => self.classify(error),
        })
    }

    /// Decodes a recorded result.
    fn replay<T>(self, recorded: RecordedResult) -> Result<Outcome<T, E>, Error>
    where
        C: Codec<T>,
    {
        match recorded.verdict {
            Verdict::Success => decode_result(&self.codec, recorded).map(Outcome::Replayed),
            Verdict::Failure => {
                let error = decode_failure(self.failure_codec.as_deref(), &recorded);
                Ok(Outcome::Failed(Failure::Replayed(ReplayedFailure { recorded, error })))
            }
        }
    }

    fn classify<T>(&self, error: E) -> Returned<T, E> {
        match self.classes.of(&error) {
            Class::NothingHappened => Returned::NothingHappened(error),
            Class::FailedForGood => {
                let recorded = encode_failure(self.failure_codec.as_deref(), &error, self.limit);
                Returned::FailedForGood(error, recorded)
            }
            Class::Unknown => {
                Returned::Unknown(Label::lossy(format!("the function failed: {error}")), Some(error))
            }
        }
    }
}

/// Claims, runs the work in a task of its own, and converts refusals into outcomes. `state` is shared by the two
/// branches and is moved to the one that is taken.
async fn answer<S, T, E, W>(
    mut call: Call,
    state: S,
    replay: impl FnOnce(S, RecordedResult) -> Result<Outcome<T, E>, Error>,
    work: impl FnOnce(S, HeldGrant) -> W,
) -> Result<Outcome<T, E>, Error>
where
    T: Send + 'static,
    E: Send + 'static,
    W: Future<Output = Outcome<T, E>> + Send + 'static,
{
    let (core, span) = (call.core.clone(), call.span.clone());
    let fused = call.claim.phase == Phase::Executing;
    // Without a subscriber, nothing is wrapped in a span.
    let entered = match span.is_disabled() {
        true => call.enter().await,
        false => call.enter().instrument(span.clone()).await,
    };
    let outcome = match entered {
        Ok(entered) => {
            let held = HeldGrant::new(call, entered);
            held.report_grant(fused);
            if core.open_work.draining().is_cancelled() {
                return Ok(Box::pin(drained(held)).await);
            }
            return Ok(execute(held, |held| work(state, held)).await);
        }
        Err(Refusal::Completed(recorded)) => span.in_scope(|| replay(state, recorded)),
        Err(Refusal::FingerprintMismatch) => Err(Error::FingerprintMismatch),
        Err(Refusal::InProgress(other)) => Ok(Outcome::InProgress(other)),
        Err(Refusal::Uncertain(doubt)) => Ok(Outcome::Uncertain(doubt)),
        Err(Refusal::Reconciling(by)) => Ok(Outcome::Reconciling(by)),
        Err(Refusal::NotRun(reason)) => Ok(Outcome::NotRun(reason)),
    };
    core.refused(&call.address, &span, outcome.as_ref().ok());
    outcome
}

/// Gives a grant back, because the client is draining.
async fn drained<T, E>(held: HeldGrant) -> Outcome<T, E> {
    let (core, run) = (held.core.clone(), held.run.clone());
    held.not_run().await;
    let outcome = Outcome::NotRun(NotRun::Draining);
    core.refused(run.address(), &run.inner.span, Some(&outcome));
    outcome
}

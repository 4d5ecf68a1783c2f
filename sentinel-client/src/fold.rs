//! Every outcome as one of four answers.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use sentinel_core::operation::Current;
use sentinel_core::{ClaimId, Label, Token};

use super::outcome::{Error, Failure, InProgress, Outcome, RanUncertain, Reconciling, Uncertain};

/// An outcome or an error of `once`, as one of four answers. [`Outcome::fold`] and [`Fold::fold`] return it. The enum
/// is exhaustive, and each outcome is in one row of this table:
///
/// | [`Outcome`] or [`Error`] | Folded |
/// |---|---|
/// | `Completed(value)` | `Done(value, false)` |
/// | `CompletedNotStored(value, _)` | `Done(value, false)` |
/// | `Replayed(value)` | `Done(value, true)` |
/// | `Unconfirmed(Ok(value))` | `Done(value, false)`: the effect is real, and a task records it |
/// | `Failed(failure)` | `Refused`; [`may_run_again`](Refusal::may_run_again) for two of the four failures |
/// | `Unconfirmed(Err(error))` | `Refused`, as a failure for good |
/// | `Err(Invalid)`, `Err(FingerprintMismatch)` | `Refused` |
/// | `Err(ResultNotStored)`, `Err(Undecodable)` | `Refused`: the work is done, and its value cannot be returned |
/// | `InProgress(_)` | `Later`, at the end of the other call's lease, and after 1 s at the latest |
/// | `NotRun(_)`, `Err(Store)` | `Later`, after 1 s |
/// | `Uncertain(_)`, `RanUncertain(_)` | `InDoubt`: reconcile the key |
/// | `Reconciling(_)` | `InDoubt`: an operator is deciding |
/// | `Superseded(_, _)` | `InDoubt`: this call ran, and another decision is recorded |
#[must_use = "this answer is the only report that the work is not done, or that it may be"]
#[derive(Debug)]
pub enum Folded<T, E> {
    /// The work is done, and this is its value. True: an earlier call did it, and its result is replayed.
    Done(T, bool),
    /// The answer is certain, and there is no value.
    Refused(Refusal<E>),
    /// This call did not run. Ask again under the same key after this time: that is safe.
    Later(Duration),
    /// The work may be done. Do not do it in another way, and not under another key.
    InDoubt(Doubt),
}

/// Why there is no value, although nothing is in doubt.
#[derive(Debug)]
pub enum Refusal<E> {
    /// The work failed, and the failure is certain.
    Failed(Failure<E>),
    /// The request is invalid, the key belongs to another request, or the recorded result cannot be returned.
    Error(Error),
}

/// Why it is not known whether the work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// An earlier run has an unknown outcome; this call did not run.
    Uncertain(Uncertain),
    /// An operator is deciding; this call did not run.
    Reconciling(Reconciling),
    /// This call ran, and its outcome is unknown.
    Ran {
        /// The cause, as the record has it.
        cause: Label,
        /// The token of the uncertain run.
        token: Token,
        /// The id of this call.
        claim_id: ClaimId,
    },
    /// This call ran, and another worker or an operator has changed the record before its end was recorded. The record
    /// counts: read it.
    Superseded(Current),
}

/// The longest time after which asking again makes sense, and the shortest.
const SOON: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::from_millis(50);

impl<T, E> Outcome<T, E> {
    /// This outcome as one of four answers; the table of [`Folded`] has each of them.
    pub fn fold(self) -> Folded<T, E> {
        match self {
            Self::Completed(value) | Self::CompletedNotStored(value, _) | Self::Unconfirmed(Ok(value)) => {
                Folded::Done(value, false)
            }
            Self::Replayed(value) => Folded::Done(value, true),
            Self::Failed(failure) => Folded::Refused(Refusal::Failed(failure)),
            Self::Unconfirmed(Err(error)) => Folded::Refused(Refusal::Failed(Failure::ForGood(error))),
            Self::InProgress(InProgress { remaining, .. }) => Folded::Later(remaining.clamp(AT_ONCE, SOON)),
            Self::NotRun(_) => Folded::Later(SOON),
            Self::Reconciling(by) => Folded::InDoubt(Doubt::Reconciling(by)),
            Self::Uncertain(run) => Folded::InDoubt(Doubt::Uncertain(run)),
            Self::RanUncertain(RanUncertain { cause, token, claim_id, .. }) => {
                Folded::InDoubt(Doubt::Ran { cause, token, claim_id })
            }
            Self::Superseded(_, current) => Folded::InDoubt(Doubt::Superseded(current)),
        }
    }
}

impl Error {
    /// An error of `once` as one of four answers: the function of its call did not run.
    fn fold<T, E>(self) -> Folded<T, E> {
        match self {
            Self::Store(_) => Folded::Later(SOON),
            Self::Invalid(_)
            | Self::FingerprintMismatch
            | Self::ResultNotStored(_)
            | Self::Undecodable { .. } => Folded::Refused(Refusal::Error(self)),
        }
    }
}

/// Folds what `run` of a call returns: an [`Outcome`] or an [`Error`].
///
/// ```
/// # mod sentinel { pub mod outcome { pub use sentinel_client::{Fold, Folded}; } pub use sentinel_client::*; }
/// use sentinel::outcome::{Fold as _, Folded};
///
/// # async fn charge() -> Result<String, std::io::Error> { Ok("receipt".to_owned()) }
/// # async fn pay(client: sentinel::Sentinel) -> String {
/// match client.once("invoice-42").run(|_| charge()).await.fold() {
///     Folded::Done(receipt, _) => receipt,
///     Folded::Refused(why) => format!("not charged: {why}"),
///     Folded::Later(after) => format!("try again in {after:?}"),
///     Folded::InDoubt(why) => format!("we are checking your payment: {why}"),
/// }
/// # }
/// ```
pub trait Fold {
    /// The value of a success.
    type Value;
    /// The error of the function.
    type Error;

    /// One of four answers; the table of [`Folded`] has each outcome and error.
    fn fold(self) -> Folded<Self::Value, Self::Error>;
}

impl<T, E> Fold for Result<Outcome<T, E>, Error> {
    type Value = T;
    type Error = E;

    fn fold(self) -> Folded<T, E> {
        match self {
            Ok(outcome) => outcome.fold(),
            Err(error) => error.fold(),
        }
    }
}

impl<E> Refusal<E> {
    /// Whether a call under the same key can run: nothing happened under it. Otherwise asking again gets the same
    /// answer.
    pub fn may_run_again(&self) -> bool {
        match self {
            Self::Failed(Failure::NothingHappened(_) | Failure::Preparation(_)) => true,
            Self::Failed(Failure::ForGood(_) | Failure::Replayed(_)) | Self::Error(_) => false,
        }
    }
}

impl Doubt {
    /// The token of the run in doubt, for the operator who settles it. None: an operator is deciding already.
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Uncertain(run) => Some(run.token),
            Self::Reconciling(_) => None,
            Self::Ran { token, .. } => Some(*token),
            Self::Superseded(current) => Some(current.token),
        }
    }
}

impl<E: Display> Display for Refusal<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Error(error) => Display::fmt(error, f),
        }
    }
}

impl Display for Doubt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncertain(run) => run.fmt(f),
            Self::Reconciling(by) => by.fmt(f),
            Self::Ran { cause, token, .. } => {
                write!(
                    f,
                    "this call ran, and its outcome is unknown: {cause} (token {token}); reconcile the key"
                )
            }
            Self::Superseded(now) => {
                write!(
                    f,
                    "this call ran, but the record is {} with token {}, and counts",
                    now.state, now.token
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::{ErrorKind, Invalid, Payload, RecordedResult, State, StoreError, StoreTime};

    use super::*;
    use crate::outcome::{NotRun, NotStored, ReplayedFailure};

    type Ended = Result<Outcome<&'static str, &'static str>, Error>;

    fn token() -> Token {
        Token::from_stored(7)
    }

    /// The answer in words: its variant, and what it carries.
    fn words(ended: Ended) -> String {
        match ended.fold() {
            Folded::Done(value, replayed) => format!("done {value} {replayed}"),
            Folded::Refused(why) => format!("refused {} again {}", why, why.may_run_again()),
            Folded::Later(after) => format!("later {after:?}"),
            Folded::InDoubt(why) => format!("in doubt {:?}", why.token().map(Token::get)),
        }
    }

    #[test]
    fn each_success_is_done() {
        let too_large = NotStored::TooLarge { bytes: 9, limit: 3 };
        assert_eq!(words(Ok(Outcome::Completed("v"))), "done v false");
        assert_eq!(words(Ok(Outcome::CompletedNotStored("v", too_large))), "done v false");
        assert_eq!(words(Ok(Outcome::Unconfirmed(Ok("v")))), "done v false");
        assert_eq!(words(Ok(Outcome::Replayed("v"))), "done v true");
    }

    #[test]
    fn each_certain_failure_is_refused() {
        let recorded = RecordedResult::failure(None, Payload::new("text/plain", "declined"));
        let replayed = ReplayedFailure { recorded, error: None };
        let failed = |failure| words(Ok(Outcome::Failed(failure)));
        let again = ["; nothing happened, and any call can run again", " again true"].concat();
        assert_eq!(failed(Failure::NothingHappened("busy")), format!("refused busy{again}"));
        assert!(failed(Failure::Preparation("no rate")).ends_with("again true"));
        assert!(failed(Failure::ForGood("declined")).ends_with("again false"));
        assert!(failed(Failure::Replayed(replayed)).ends_with("again false"));
        let unconfirmed = words(Ok(Outcome::Unconfirmed(Err("declined"))));
        assert_eq!(unconfirmed, "refused declined; this failure is recorded for good again false");
    }

    #[test]
    fn each_error_but_that_of_the_store_is_refused() {
        let recorded = || Box::new(RecordedResult::success(Payload::empty()));
        let errors = [
            Error::Invalid(Invalid::new("key", "is empty")),
            Error::FingerprintMismatch,
            Error::ResultNotStored(recorded()),
            Error::Undecodable { recorded: recorded(), source: "not JSON".into() },
        ];
        for error in errors {
            let expected = format!("refused {error} again false");
            assert_eq!(words(Err(error)), expected);
        }
        let unreachable = StoreError::not_applied(ErrorKind::Unreachable, "it restarts".to_owned());
        assert_eq!(words(Err(Error::Store(unreachable))), "later 1s");
    }

    #[test]
    fn a_call_that_did_not_run_is_for_later() {
        let in_progress = |millis| {
            let remaining = Duration::from_millis(millis);
            words(Ok(Outcome::InProgress(InProgress { state: State::Executing, remaining })))
        };
        assert_eq!([0, 400, 30_000].map(in_progress), ["later 50ms", "later 400ms", "later 1s"]);
        assert_eq!(words(Ok(Outcome::NotRun(NotRun::Draining))), "later 1s");
    }

    #[test]
    fn each_unknown_outcome_is_in_doubt() {
        let (begun_at, operator) = (StoreTime::ZERO, Label::lossy("ada"));
        let current = Current { state: State::Completed, token: token() };
        let ran = RanUncertain {
            cause: Label::lossy("reset"),
            error: None,
            token: token(),
            claim_id: ClaimId::from_bits(1),
        };
        let uncertain = Uncertain { token: token(), begun_at, worker: None };
        assert_eq!(words(Ok(Outcome::Uncertain(uncertain))), "in doubt Some(7)");
        assert_eq!(words(Ok(Outcome::RanUncertain(ran))), "in doubt Some(7)");
        assert_eq!(words(Ok(Outcome::Superseded(Ok("v"), current))), "in doubt Some(7)");
        assert_eq!(words(Ok(Outcome::Superseded(Err("e"), current))), "in doubt Some(7)");
        let by = Reconciling { operator, since: begun_at };
        assert_eq!(words(Ok(Outcome::Reconciling(by))), "in doubt None");
    }
}

//! Outcomes as sentences for people. Each states whether this call ran, and what to do.

use std::fmt::{self, Display, Formatter};

use super::outcome::{
    Error, Failure, InProgress, Outcome, RanUncertain, Reconciling, ReplayedFailure, Uncertain,
};

/// Without the value, which may be private.
impl<T, E: Display> Display for Outcome<T, E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(_) => f.write_str("completed"),
            Self::CompletedNotStored(_, why) => write!(f, "completed; {why}"),
            Self::Replayed(_) => f.write_str("completed before; this is the recorded result"),
            Self::Failed(failure) => failure.fmt(f),
            Self::InProgress(other) => other.fmt(f),
            Self::Reconciling(by) => by.fmt(f),
            Self::Uncertain(run) => run.fmt(f),
            Self::NotRun(reason) => reason.fmt(f),
            Self::RanUncertain(run) => run.fmt(f),
            Self::Unconfirmed(Ok(_)) => {
                f.write_str("completed; the store has not confirmed yet that the result is recorded")
            }
            Self::Unconfirmed(Err(error)) => {
                write!(f, "{error}; the store has not confirmed yet that the failure is recorded")
            }
            Self::Superseded(Ok(_), now) => {
                write!(f, "completed, but the record is {} with token {}, and counts", now.state, now.token)
            }
            Self::Superseded(Err(error), now) => {
                write!(f, "{error}; the record is {} with token {}, and counts", now.state, now.token)
            }
        }
    }
}

impl<E: Display> Display for Failure<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingHappened(error) => {
                write!(f, "{error}; nothing happened, and any call can run again")
            }
            Self::ForGood(error) => write!(f, "{error}; this failure is recorded for good"),
            Self::Replayed(failure) => write!(f, "{failure}; an earlier call recorded this failure for good"),
            Self::Preparation(error) => {
                write!(f, "{error}; the preparation failed, nothing ran, and any call can run again")
            }
        }
    }
}

/// The error, if it was decoded, and otherwise the recorded bytes as text.
impl<E: Display> Display for ReplayedFailure<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => error.fmt(f),
            None => f.write_str(&String::from_utf8_lossy(&self.recorded.payload.bytes)),
        }
    }
}

impl Display for InProgress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { state, remaining } = self;
        write!(
            f,
            "this call did not run: the key is {state} by another call, whose lease lasts {remaining:?}"
        )
    }
}

impl Display for Reconciling {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { operator, since } = self;
        write!(f, "this call did not run: {operator} has been deciding about the key since {since}")
    }
}

impl Display for Uncertain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this call did not run: an earlier run has an unknown outcome (begun at {}",
            self.begun_at
        )?;
        if let Some(worker) = &self.worker {
            write!(f, " by {worker}")?;
        }
        write!(f, ", token {}); reconcile the key", self.token)
    }
}

impl<E> Display for RanUncertain<E> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { cause, token, .. } = self;
        write!(f, "this call ran, and its outcome is unknown: {cause} (token {token}); reconcile the key")
    }
}

/// The message, because Rust prints this form of an error that `main` returns. `{:#?}` prints the fields.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return Display::fmt(self, f);
        }
        match self {
            Self::Invalid(invalid) => f.debug_tuple("Invalid").field(invalid).finish(),
            Self::FingerprintMismatch => f.write_str("FingerprintMismatch"),
            Self::ResultNotStored(recorded) => f.debug_tuple("ResultNotStored").field(recorded).finish(),
            Self::Undecodable { recorded, source } => {
                f.debug_struct("Undecodable").field("recorded", recorded).field("source", source).finish()
            }
            Self::Store(error) => f.debug_tuple("Store").field(error).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sentinel_core::operation::Current;
    use sentinel_core::{
        ClaimId, ErrorKind, Invalid, Label, Payload, RecordedResult, State, StoreError, StoreTime, Token,
    };

    use super::*;
    use crate::outcome::{NotRun, NotStored};

    fn token() -> Token {
        Token::from_stored(1_795)
    }

    #[test]
    fn an_outcome_is_a_sentence_without_its_value() {
        let recorded = RecordedResult::failure(None, Payload::new("text/plain", "the card was declined"));
        let (worker, since) = (Some(Label::lossy("web1:8742")), StoreTime::from_micros(3_000_000));
        let current = Current { state: State::Reconciling, token: token() };
        let in_progress = InProgress { state: State::Executing, remaining: Duration::from_secs(9) };
        let ran = |error| RanUncertain {
            cause: Label::lossy("the function failed: reset"),
            error,
            token: token(),
            claim_id: ClaimId::from_bits(1),
        };
        let too_large = NotStored::TooLarge { bytes: 9, limit: 3 };
        let replayed = ReplayedFailure { recorded, error: None };
        let sentences: [(Outcome<&str, &str>, &str); 15] = [
            (Outcome::Completed("private"), "completed"),
            (
                Outcome::CompletedNotStored("private", too_large),
                "completed; the result was not stored: 9 bytes are over the limit of 3",
            ),
            (Outcome::Replayed("private"), "completed before; this is the recorded result"),
            (
                Outcome::Failed(Failure::NothingHappened("refused")),
                "refused; nothing happened, and any call can run again",
            ),
            (Outcome::Failed(Failure::ForGood("declined")), "declined; this failure is recorded for good"),
            (
                Outcome::Failed(Failure::Replayed(replayed)),
                "the card was declined; an earlier call recorded this failure for good",
            ),
            (
                Outcome::Failed(Failure::Preparation("no rate")),
                "no rate; the preparation failed, nothing ran, and any call can run again",
            ),
            (
                Outcome::InProgress(in_progress),
                "this call did not run: the key is executing by another call, whose lease lasts 9s",
            ),
            (
                Outcome::Reconciling(Reconciling { operator: Label::lossy("ada"), since }),
                "this call did not run: ada has been deciding about the key since 1970-01-01 00:00:03.000000 UTC",
            ),
            (
                Outcome::Uncertain(Uncertain { token: token(), begun_at: since, worker }),
                "this call did not run: an earlier run has an unknown outcome (begun at 1970-01-01 \
                 00:00:03.000000 UTC by web1:8742, token 1795); reconcile the key",
            ),
            (
                Outcome::NotRun(NotRun::Draining),
                "nothing ran: this client is draining, because its process is about to exit",
            ),
            (
                Outcome::RanUncertain(ran(Some("reset"))),
                "this call ran, and its outcome is unknown: the function failed: reset (token 1795); \
                 reconcile the key",
            ),
            (
                Outcome::Unconfirmed(Ok("private")),
                "completed; the store has not confirmed yet that the result is recorded",
            ),
            (
                Outcome::Unconfirmed(Err("declined")),
                "declined; the store has not confirmed yet that the failure is recorded",
            ),
            (
                Outcome::Superseded(Ok("private"), current),
                "completed, but the record is reconciling with token 1795, and counts",
            ),
        ];
        for (outcome, sentence) in sentences {
            assert_eq!(outcome.to_string(), sentence);
        }
    }

    #[test]
    fn an_error_that_main_returns_is_printed_as_its_message() {
        let error = Error::Invalid(Invalid::new("key", "must be 1 to 512 bytes, is 0"));
        assert_eq!(format!("{error:?}"), error.to_string());
        assert!(format!("{error:#?}").starts_with("Invalid("));
        let error = Error::Store(StoreError::not_applied(ErrorKind::Unreachable, "it restarts".to_owned()));
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

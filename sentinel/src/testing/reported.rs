//! How a function under test reports its end: done, or not done.

use std::fmt::Display;

use crate::{Failure, Outcome};

/// What a process reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The work is done, now or before.
    Done,
    /// The work is not done, or its outcome is unknown, and why. The caller cannot rely on it.
    NotDone(String),
}

/// The return value of a function under test. A `Result` reports what its value reports; an error means *not done*.
///
/// An [`Outcome`] means *done* if it is `Completed`, `CompletedNotStored` or `Replayed`, and *not done* otherwise. A
/// function that returns another type converts it to [`Reported`], or to `()` if it always means *done*.
pub trait Report {
    /// Whether the value means *done*.
    fn reported(&self) -> Reported;
}

impl Report for Reported {
    fn reported(&self) -> Reported {
        self.clone()
    }
}

impl Report for () {
    fn reported(&self) -> Reported {
        Reported::Done
    }
}

impl<T: Report, E: Display> Report for Result<T, E> {
    fn reported(&self) -> Reported {
        match self {
            Ok(value) => value.reported(),
            Err(error) => Reported::NotDone(error.to_string()),
        }
    }
}

impl<T, E: Display> Report for Outcome<T, E> {
    fn reported(&self) -> Reported {
        match self {
            Self::Completed(_) | Self::CompletedNotStored(..) | Self::Replayed(_) => Reported::Done,
            Self::Failed(Failure::Replayed(failure)) => {
                Reported::NotDone(format!("failed for good: {failure}"))
            }
            other => Reported::NotDone(other.name().replace('_', " ")),
        }
    }
}

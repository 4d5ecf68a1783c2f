//! How a function under test reports its end: done, or not done.

use std::fmt::Display;

use crate::{Failure, Outcome};

/// What a process reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The work is done, now or before.
    Done,
    /// The work is not done, or its outcome is unknown, and why. The caller cannot rely on it.
    NotDone(String),
}

/// The return value of a function under test. A `Result` reports what its value reports; an error means *not done*.
///
/// An [`Outcome`] means *done* if it is `Completed`, `CompletedNotStored` or `Replayed`, and *not done* otherwise. A
/// function that returns another type converts it to [`Said`], or to `()` if it always means *done*.
pub trait Answer {
    /// Whether the value means *done*.
    fn said(&self) -> Said;
}

impl Answer for Said {
    fn said(&self) -> Said {
        self.clone()
    }
}

impl Answer for () {
    fn said(&self) -> Said {
        Said::Done
    }
}

impl<T: Answer, E: Display> Answer for Result<T, E> {
    fn said(&self) -> Said {
        match self {
            Ok(value) => value.said(),
            Err(error) => Said::NotDone(error.to_string()),
        }
    }
}

impl<T, E> Answer for Outcome<T, E> {
    fn said(&self) -> Said {
        match self {
            Self::Completed(_) | Self::CompletedNotStored(..) | Self::Replayed(_) => Said::Done,
            Self::Failed(Failure::Replayed(failure)) => Said::NotDone(format!("failed for good: {failure}")),
            other => Said::NotDone(other.name().replace('_', " ")),
        }
    }
}

//! What a function says at its end, as far as it matters here: that it is done, or not.

use std::fmt::Display;

use crate::{Failure, Outcome};

/// What a process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is done, now or before.
    Done,
    /// It is not done, or nobody knows, and why. Whoever is told so does not rely on it.
    NotDone(String),
}

/// What a function under test gives. A `Result` says what its value says, and an error says that it is not done.
///
/// An [`Outcome`] is done if it is `Completed`, `CompletedNotStored` or `Replayed`, and not if it is anything else. A function that returns a
/// value of your own maps it to [`Said`], or, if it is always good news, to `()`.
pub trait Answer {
    /// What it says.
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

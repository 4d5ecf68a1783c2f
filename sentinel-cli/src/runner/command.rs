//! A command to run: what it is, how long it may run, and how it ended.

use std::ffi::OsString;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tee::{Flush, Recording};
use crate::exit::Exit;

/// A command to run.
#[derive(Debug, Clone)]
pub(crate) struct CommandSpec {
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Added to our own environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What happens to its standard output.
    pub(crate) output: Output,
}

/// What happens to a command's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// The command writes to this program's output directly.
    Inherited,
    /// It is copied to this program's output, and recorded.
    Copied,
    /// It is recorded only.
    Recorded,
}

/// How long the command may run.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// Fires when the authority is lost.
    pub(crate) lost: CancellationToken,
    /// At this instant the group is killed.
    pub(crate) hard: Instant,
    /// How long before the hard deadline the command is asked to end.
    pub(crate) notice: Duration,
}

impl Authority {
    /// Notice is given 10 s before the hard deadline, or half of the hard ttl if that is less.
    pub(crate) fn new(lost: CancellationToken, remaining: Duration, hard_ttl: Duration) -> Self {
        let notice = Duration::from_secs(10).min(hard_ttl / 2);
        Self { lost, hard: Instant::now() + remaining, notice }
    }

    /// Whether it is lost, or over.
    pub(crate) fn is_over(&self) -> bool {
        self.lost.is_cancelled() || Instant::now() >= self.hard
    }
}

/// How the command's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// The system did not report it.
    Unknown,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "killed by signal {number}"),
            Self::Unknown => f.write_str("its end is unknown"),
        }
    }
}

/// Why a command was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its authority was lost.
    Lost,
    /// Its hard deadline had passed.
    Deadline,
    /// Its hard deadline was near.
    Notice,
    /// Its first process had ended.
    LeftBehind,
}

/// What to do with processes of the command that remain after its first process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They may stay.
    MayStay,
    /// The program waits for them, unless a signal asked the command to end: then it ends them.
    IsAwaited,
    /// The program ends them.
    IsEnded,
}

/// A command that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    /// The output, if it is to be recorded after this end.
    pub(crate) recording: Option<Recording>,
    /// The part of the output that is still being written.
    pub(crate) flush: Option<Flush>,
    /// Why the command was asked to end, if it was, when its first process ended.
    pub(crate) why: Option<Why>,
    /// The authority ended before all of the command did.
    pub(crate) lost: bool,
    /// Processes of the command remain that should have ended.
    pub(crate) left: bool,
}

/// A command that has not run at all.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// It could not be executed: 126 or 127, and the reason.
    CannotExecute(Exit, String),
    /// A signal asked to end before it had started.
    Signalled(i32),
    /// The authority was over before it had started.
    TooLate,
}

impl std::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CannotExecute(_, why) => f.write_str(why),
            Self::Signalled(number) => write!(f, "signal {number} arrived before it had started"),
            Self::TooLate => f.write_str("its time was over before it had started"),
        }
    }
}

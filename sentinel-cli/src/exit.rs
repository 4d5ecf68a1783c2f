//! Exit codes, after sysexits.h where it has one, and the errors that lead to them.

use std::process::ExitCode;

use sentinel::Error;
use sentinel::store::{ErrorKind, Invalid, StoreError};

use crate::parse::is_for_commands;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// The command completed now, its result was replayed, or the requested output was printed.
    pub(crate) const OK: Self = Self(0);
    /// `inspect`: absent. `doctor`: this deployment is refused.
    pub(crate) const NO: Self = Self(1);
    /// Bad arguments; nothing was sent to the store.
    pub(crate) const USAGE: Self = Self(64);
    /// Another fingerprint, or a decision that does not apply.
    pub(crate) const DOES_NOT_APPLY: Self = Self(65);
    /// The store cannot be used; the command did not run.
    pub(crate) const UNAVAILABLE: Self = Self(69);
    /// The answer could not be written to standard output.
    pub(crate) const IO: Self = Self(74);
    /// Another caller holds it; nothing ran.
    pub(crate) const HELD: Self = Self(75);
    /// Whether it happened is not known, or could not be recorded.
    pub(crate) const DOUBT: Self = Self(76);
    /// The command was found and could not be started.
    pub(crate) const CANNOT_EXECUTE: Self = Self(126);
    /// The command was not found.
    pub(crate) const NOT_FOUND: Self = Self(127);

    /// Ended by a signal, as a shell reports it.
    pub(crate) fn signal(number: i32) -> Self {
        Self(128u8.wrapping_add(u8::try_from(number).unwrap_or(0)))
    }

    /// The code of a failure that was recorded for good. A code that is no exit code of a command (a library recorded
    /// it) becomes 1.
    pub(crate) fn recorded_failure(code: Option<i32>) -> Self {
        match code.map(u8::try_from) {
            Some(Ok(code)) if is_for_commands(code) => Self(code),
            _ => Self(1),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Why there is no result: an exit code, and a sentence for standard error.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// The store exists, and this program must not use it as it is.
    pub(crate) refused: bool,
    /// The store may become available without help.
    pub(crate) may_pass: bool,
    /// The store is there, and what it holds cannot be trusted.
    pub(crate) has_lost_data: bool,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), refused: false, may_pass: false, has_lost_data: false }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, message)
    }

    pub(crate) fn does_not_apply(message: impl Into<String>) -> Self {
        Self::new(Exit::DOES_NOT_APPLY, message)
    }
}

/// Whether the store exists, and this program must not use it as it is.
pub(crate) fn is_refusal(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::DeploymentRefused | ErrorKind::NewerSchema)
}

/// Whether the store is there, and what it holds cannot be trusted.
pub(crate) fn has_lost_data(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::PossibleDataLoss | ErrorKind::Corrupt)
}

impl From<Invalid> for CliError {
    fn from(invalid: Invalid) -> Self {
        Self::usage(invalid.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let (refused, may_pass) = (is_refusal(&error), error.is_worth_waiting_for());
        let has_lost_data = has_lost_data(&error);
        Self { refused, may_pass, has_lost_data, ..Self::new(Exit::UNAVAILABLE, error.to_string()) }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::IO, format!("cannot write to standard output: {error}"))
    }
}

/// The client returned no outcome; nothing of the call ran.
impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(invalid) => invalid.into(),
            Error::Store(error) => error.into(),
            error @ Error::FingerprintMismatch => Self::does_not_apply(error.to_string()),
            error => Self::new(Exit::UNAVAILABLE, error.to_string()),
        }
    }
}

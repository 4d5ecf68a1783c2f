//! The errors of a file, as errors of the contract.

use std::path::Path;

use rusqlite::ErrorCode;
use sentinel_core::{Applied, ErrorKind, Invalid, StoreError};

/// What stops one operation inside a transaction.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite failed: what the operation wrote so far is unknown, and the transaction must be rolled back.
    Sqlite(rusqlite::Error),
    /// A row that no record can have. Found before anything was written.
    Unreadable(String),
    /// The kernel refuses the request. Found before anything was written.
    Invalid(Invalid),
}

impl Fault {
    /// Whether the transaction may have been harmed, so that its neighbours must be rolled back and repeated.
    pub(crate) fn harms_transaction(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// The error for the caller.
    pub(crate) fn into_error(self, path: &Path, applied: Applied) -> StoreError {
        match self {
            Self::Sqlite(error) => explain(path, applied, error),
            Self::Unreadable(what) => {
                make(applied, ErrorKind::Corrupt, format!("{}: {what}", path.display()))
            }
            Self::Invalid(invalid) => invalid.into(),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

pub(crate) fn unreadable(error: impl std::fmt::Display) -> Fault {
    Fault::Unreadable(error.to_string())
}

/// An SQLite error as the contract's: which file, what happened, what to do.
pub(crate) fn explain(path: &Path, applied: Applied, error: rusqlite::Error) -> StoreError {
    let detail = format!("{}: {error}{}", path.display(), hint(path, &error));
    make(applied, error_kind(&error), detail).caused_by(error)
}

/// The operating system starts no further thread.
pub(crate) fn no_thread(error: std::io::Error) -> StoreError {
    StoreError::not_applied(ErrorKind::Unreachable, "a thread could not be started").caused_by(error)
}

pub(crate) fn not_applied(path: &Path, error: rusqlite::Error) -> StoreError {
    explain(path, Applied::No, error)
}

fn make(applied: Applied, error_kind: ErrorKind, detail: String) -> StoreError {
    match applied {
        Applied::No => StoreError::not_applied(error_kind, detail),
        Applied::Ambiguous => StoreError::ambiguous(error_kind, detail),
    }
}

fn error_kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::ReadOnly) => ErrorKind::DeploymentRefused,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
            ErrorKind::Corrupt
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::FileLockingProtocolFailed,
        ) => ErrorKind::Unreachable,
        _ => ErrorKind::BrokenStore,
    }
}

fn hint(path: &Path, error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => match path.parent() {
            Some(dir) if !dir.is_dir() => format!("; there is no directory {}", dir.display()),
            _ if !path.exists() => "; there is no such file, or its directory is not writable".into(),
            _ => "; check that it is a readable and writable file, in a writable directory".into(),
        },
        Some(ErrorCode::ReadOnly) => {
            "; the file and its directory must be writable, for readers too: WAL needs both".into()
        }
        Some(ErrorCode::DatabaseBusy) => {
            "; another connection holds the file for longer than the busy timeout".into()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    #[test]
    fn an_sqlite_error_becomes_an_error_of_the_contract() {
        use rusqlite::ffi::*;
        for (code, expected) in [
            (SQLITE_BUSY, ErrorKind::Busy),
            (SQLITE_LOCKED, ErrorKind::Busy),
            (SQLITE_READONLY, ErrorKind::DeploymentRefused),
            (SQLITE_CORRUPT, ErrorKind::Corrupt),
            (SQLITE_NOTADB, ErrorKind::Corrupt),
            (SQLITE_CONSTRAINT, ErrorKind::Corrupt),
            (SQLITE_FULL, ErrorKind::Unreachable),
            (SQLITE_IOERR, ErrorKind::Unreachable),
            (SQLITE_MISUSE, ErrorKind::BrokenStore),
        ] {
            let error = not_applied(Path::new("/data/sentinel.db"), sqlite(code));
            assert_eq!((error.kind(), error.applied()), (expected, Applied::No), "{code}");
            assert!(error.to_string().contains("/data/sentinel.db"), "{error}");
        }
    }

    #[test]
    fn an_error_on_opening_a_file_names_the_likely_cause() {
        let dir = tempfile::tempdir().unwrap();
        let message = |path: &Path, code| not_applied(path, sqlite(code)).to_string();
        let file = dir.path().join("there.db");
        std::fs::write(&file, "").unwrap();
        let cannot_open = rusqlite::ffi::SQLITE_CANTOPEN;
        assert!(message(&dir.path().join("no/such.db"), cannot_open).contains("there is no directory"));
        assert!(message(&dir.path().join("no.db"), cannot_open).contains("there is no such file"));
        assert!(message(&file, cannot_open).contains("check that it is a readable and writable file"));
        assert!(message(&file, rusqlite::ffi::SQLITE_READONLY).contains("WAL needs both"));
        assert!(message(&file, rusqlite::ffi::SQLITE_BUSY).contains("the busy timeout"));
        assert_eq!(hint(&file, &sqlite(rusqlite::ffi::SQLITE_FULL)), "", "nothing to add");
    }

    #[test]
    fn only_an_sqlite_error_can_harm_a_transaction() {
        assert!(Fault::from(sqlite(rusqlite::ffi::SQLITE_FULL)).harms_transaction());
        assert!(!Fault::Unreadable("a row".into()).harms_transaction());
        assert!(!Fault::from(Invalid::new("key", "is empty")).harms_transaction());
    }
}

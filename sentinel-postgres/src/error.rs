//! The errors of a server in the terms of the contract: by SQLSTATE, and by when the connection broke.

use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Codes that mean: the statement was rolled back because of another transaction, and the same one may succeed.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";

/// Codes that mean: the transaction, or our savepoint in it, is not there any more.
const NO_ACTIVE_TRANSACTION: &str = "25P01";
const NO_SUCH_SAVEPOINT: &str = "3B001";

/// Why a statement has no rows.
#[derive(Debug)]
pub(crate) enum StatementError {
    /// The server reported that the statement was rolled back.
    RolledBack(Box<PgDatabaseError>),
    /// The statement, or the connection under it, ended without a report of the server.
    Lost(StoreError),
    /// Nothing was sent.
    NotSent(StoreError),
    /// Nothing was sent, because the connection broke before.
    Broken(StoreError),
}

impl StatementError {
    /// Judges an error that came while a statement was out.
    ///
    /// An ERROR is the server's report that the transaction was rolled back. A FATAL or PANIC is not: the session may
    /// end after the commit and before the reply.
    pub(crate) fn of(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast::<PgDatabaseError>() {
                Ok(error) if matches!(error.severity(), PgSeverity::Error) => Self::RolledBack(error),
                Ok(error) => {
                    let detail = format!("the server ended the connection: {}", message(&error));
                    Self::Lost(StoreError::ambiguous(ErrorKind::LostReply, detail).caused_by(*error))
                }
                Err(error) => Self::Lost(StoreError::ambiguous(ErrorKind::LostReply, error.to_string())),
            },
            sqlx::Error::Encode(error) => Self::NotSent(StoreError::not_applied(
                ErrorKind::InvalidRequest,
                format!("the request cannot be encoded: {error}"),
            )),
            error => {
                let detail = format!("the connection broke before the reply arrived: {error}");
                Self::Lost(StoreError::ambiguous(ErrorKind::LostReply, detail).caused_by(error))
            }
        }
    }

    pub(crate) fn timed_out(deadline: Duration) -> Self {
        let detail = format!("no reply arrived within {deadline:?}");
        Self::Lost(StoreError::ambiguous(ErrorKind::LostReply, detail))
    }

    /// The server replied, and warned that the commit may not be on its synchronous standby.
    pub(crate) fn in_doubt(warning: &str) -> Self {
        let detail =
            format!("committed on this server, and perhaps not on its synchronous standby: {warning}");
        Self::Lost(StoreError::ambiguous(ErrorKind::LostReply, detail))
    }

    fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::RolledBack(error) if error.code() == code)
    }

    /// Another transaction held a lock for longer than this statement waits.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.has_code(LOCK_NOT_AVAILABLE)
    }

    /// The same statement, sent again at once, is likely to succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has_code(SERIALIZATION_FAILURE) || self.has_code(DEADLOCK_DETECTED)
    }

    /// The transaction that this was sent in had ended before.
    pub(crate) fn is_outside(&self) -> bool {
        self.has_code(NO_ACTIVE_TRANSACTION) || self.has_code(NO_SUCH_SAVEPOINT)
    }

    /// Whether the connection can be used again.
    pub(crate) fn spares_the_connection(&self) -> bool {
        !matches!(self, Self::Lost(_) | Self::Broken(_))
    }
}

impl From<StatementError> for StoreError {
    fn from(failure: StatementError) -> Self {
        match failure {
            StatementError::RolledBack(error) => rolled_back(*error),
            StatementError::Lost(error) | StatementError::NotSent(error) | StatementError::Broken(error) => {
                error
            }
        }
    }
}

fn rolled_back(error: PgDatabaseError) -> StoreError {
    let (error_kind, hint) = error_kind(error.code());
    StoreError::not_applied(error_kind, format!("PostgreSQL: {}{hint}", message(&error))).caused_by(error)
}

/// The kind of error that a SQLSTATE means, and a hint.
fn error_kind(code: &str) -> (ErrorKind, &'static str) {
    match code {
        LOCK_NOT_AVAILABLE => (ErrorKind::Busy, "; a transaction holds the record's row"),
        SERIALIZATION_FAILURE | DEADLOCK_DETECTED => (ErrorKind::Busy, ""),
        // query_canceled: by statement_timeout, or by an operator.
        "57014" => (ErrorKind::Busy, ""),
        // undefined_table, invalid_schema_name, undefined_object, undefined_column
        "42P01" | "3F000" | "42704" | "42703" => (
            ErrorKind::NotInitialised,
            "; if this store was used before, its tables were dropped or renamed: restore them, because \
            with new tables keys run again",
        ),
        // insufficient_privilege
        "42501" => (
            ErrorKind::DeploymentRefused,
            "; the role lacks a grant that docs/operations.md lists, or row-level security applies to it",
        ),
        // read_only_sql_transaction
        "25006" => (ErrorKind::DeploymentRefused, "; this server is read only: a standby, or made so"),
        // untranslatable_character, character_not_in_repertoire, numeric_value_out_of_range
        "22P05" | "22021" | "22003" => (ErrorKind::InvalidRequest, ""),
        // check_violation: of the token's column, the only one with a check
        "23514" => (ErrorKind::InvalidRequest, "; the server's clock is beyond the largest fencing token"),
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => (ErrorKind::Corrupt, ""),
        code if code.starts_with("53") => (ErrorKind::Unreachable, "; the server lacks a resource"),
        _ => (ErrorKind::BrokenStore, ""),
    }
}

/// An error that came before anything of ours was sent.
pub(crate) fn unreachable(error: sqlx::Error) -> StoreError {
    cannot_connect(error, "the server")
}

/// An error of connecting to this server.
pub(crate) fn cannot_connect(error: sqlx::Error, server: &str) -> StoreError {
    let (error_kind, detail) = match &error {
        sqlx::Error::Database(error) => {
            let (code, message) = (error.code().unwrap_or_default(), error.message());
            (refusal(&code), format!("{server} refused the connection: {message} ({code})"))
        }
        sqlx::Error::Configuration(error) => {
            (ErrorKind::InvalidRequest, format!("bad connection options: {error}"))
        }
        sqlx::Error::Tls(error) => (ErrorKind::Unreachable, format!("TLS with {server} failed: {error}")),
        sqlx::Error::Io(error) => (ErrorKind::Unreachable, format!("no connection to {server}: {error}")),
        error => (ErrorKind::Unreachable, format!("no connection to {server}: {error}")),
    };
    StoreError::not_applied(error_kind, detail).caused_by(error)
}

/// What a server's refusal of a connection means.
fn refusal(code: &str) -> ErrorKind {
    match code {
        // invalid_catalog_name, insufficient_privilege: no such database, or no right to connect to it
        "3D000" | "42501" => ErrorKind::AccessDenied,
        // invalid_authorization_specification, invalid_password
        code if code.starts_with("28") => ErrorKind::AccessDenied,
        _ => ErrorKind::Unreachable,
    }
}

/// Nothing that could change anything was sent.
pub(crate) fn late(deadline: Duration) -> StoreError {
    let detail = format!("the server did not answer within {deadline:?}");
    StoreError::not_applied(ErrorKind::Unreachable, detail)
}

/// An error's message and code, without the statement and its values.
fn message(error: &PgDatabaseError) -> String {
    format!("{} ({})", error.message(), error.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_has_an_error_kind() {
        let table = [
            (ErrorKind::Busy, &["55P03", "40001", "40P01", "57014"][..]),
            (ErrorKind::NotInitialised, &["42P01", "3F000", "42704", "42703"]),
            (ErrorKind::DeploymentRefused, &["42501", "25006"]),
            (ErrorKind::InvalidRequest, &["22P05", "22021", "22003", "23514"]),
            (ErrorKind::Corrupt, &["XX001", "XX002"]),
            (ErrorKind::Unreachable, &["53000", "53100", "53200", "53300", "53400"]),
            // What a statement of ours should never get: of its grammar, a constraint, an internal error.
            (ErrorKind::BrokenStore, &["42601", "23505", "XX000"]),
        ];
        for (expected, codes) in table {
            for code in codes {
                assert_eq!(error_kind(code).0, expected, "{code}");
            }
        }
    }

    #[test]
    fn a_wrong_password_is_no_wrong_address() {
        for code in ["28P01", "28000", "3D000", "42501"] {
            assert_eq!(refusal(code), ErrorKind::AccessDenied, "{code}");
        }
        // too_many_connections, cannot_connect_now
        for code in ["53300", "57P03"] {
            assert_eq!(refusal(code), ErrorKind::Unreachable, "{code}");
        }
    }

    #[test]
    fn a_hint_names_what_to_check() {
        for (code, hint) in [
            ("55P03", "holds the record's row"),
            ("42501", "lacks a grant"),
            ("25006", "standby"),
            ("53100", "lacks a resource"),
        ] {
            assert!(error_kind(code).1.contains(hint), "{code}: {}", error_kind(code).1);
        }
    }
}

//! The schema: which program a file belongs to, its version, and the migrations to the current one.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use sentinel_core::{ErrorKind, StoreError};

use crate::error::not_applied;

/// "Sntl": which program a file belongs to.
pub(crate) const APPLICATION_ID: i32 = 0x536E_746C;

/// One script for each version, from an empty file on. A script that was released is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001.sql")];

/// The version that this release reads and writes.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// How many tables there are.
const TABLES: i64 = 4;

/// Checks that the file is ours, or empty where it may be set up, before anything in it is changed.
pub(crate) fn inspect(connection: &Connection, path: &Path, may_set_up: bool) -> Result<(), StoreError> {
    if connection.is_readonly("main").unwrap_or(false) {
        let detail = format!("{}: is read-only", path.display());
        return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, detail));
    }
    if version(connection, path)? == 0 && !may_set_up { Err(not_set_up(path)) } else { Ok(()) }
}

/// Checks that the file is ours and set up. Nothing is written.
pub(crate) fn initialised(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if version(connection, path)? == SCHEMA_VERSION {
        return Ok(());
    }
    Err(not_set_up(path))
}

fn not_set_up(path: &Path) -> StoreError {
    StoreError::not_applied(ErrorKind::NotInitialised, format!("{}: holds nothing yet", path.display()))
}

/// Brings the schema to our version, in one transaction. Any number of processes may do so at once: the first one
/// does it, the others find it done.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if version(connection, path)? == SCHEMA_VERSION {
        return Ok(());
    }
    let wrong = |error| not_applied(path, error);
    let lock =
        rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(wrong)?;
    let found = version(&lock, path)?;
    for (script, version) in MIGRATIONS.iter().zip(1..).skip(usize::try_from(found).unwrap_or(0)) {
        lock.execute_batch(script).map_err(wrong)?;
        lock.pragma_update(None, "user_version", version).map_err(wrong)?;
    }
    lock.pragma_update(None, "application_id", APPLICATION_ID).map_err(wrong)?;
    lock.commit().map_err(wrong)
}

/// The version of the schema in the file; 0: the file is empty. Refuses what is not ours.
fn version(connection: &Connection, path: &Path) -> Result<i32, StoreError> {
    let refuse = |error_kind, why: String| {
        Err(StoreError::not_applied(error_kind, format!("{}: {why}", path.display())))
    };
    // One statement, one state of the file: another process may be migrating it.
    let query = "SELECT (SELECT application_id FROM pragma_application_id), \
         (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema), \
         (SELECT count(*) FROM sqlite_schema \
          WHERE type = 'table' AND name IN ('records', 'events', 'floors', 'main_file'))";
    let found =
        connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let (owner, version, all, ours): (i32, i32, i64, i64) = match found {
        Ok(found) => found,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return refuse(
                ErrorKind::DeploymentRefused,
                "is not an SQLite database; nothing was changed".into(),
            );
        }
        Err(error) => return Err(not_applied(path, error)),
    };
    match (owner, version) {
        (0, 0) if all == 0 => Ok(0),
        (APPLICATION_ID, newer) if newer > SCHEMA_VERSION => refuse(
            ErrorKind::NewerSchema,
            format!("has schema {newer}; this release knows schemas up to {SCHEMA_VERSION}"),
        ),
        (APPLICATION_ID, _) if ours == 0 => refuse(
            ErrorKind::Corrupt,
            "was set up by Sentinel and has no tables; its records are in another file or lost. Sentinel \
            does not set it up again: restore it, or name another file"
                .into(),
        ),
        (APPLICATION_ID, 1..=SCHEMA_VERSION) if ours == TABLES => Ok(version),
        (APPLICATION_ID, 1..=SCHEMA_VERSION) => {
            refuse(ErrorKind::Corrupt, format!("has {ours} of Sentinel's {TABLES} tables"))
        }
        (APPLICATION_ID, odd) => refuse(ErrorKind::Corrupt, format!("has schema {odd}, which never existed")),
        _ => refuse(
            ErrorKind::DeploymentRefused,
            "is a database of another program; nothing was changed. Name another file".into(),
        ),
    }
}

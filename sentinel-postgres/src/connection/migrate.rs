//! Reads the version of the schema, and brings the schema up to date. Any number of processes may do so at once.

use sentinel_core::{ErrorKind, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::session::Connection;
use crate::error::{StatementError, unreachable};
use crate::parts::Names;
use crate::schema::{MIGRATIONS, bare, check, lock, newest, versions};

/// The version that is there; 0: none.
pub(crate) async fn version(connection: &mut Connection, names: &Names) -> Result<i32, StoreError> {
    let exists = format!("SELECT to_regclass('{}') IS NOT NULL", names.qualified("migrations"));
    if !connection.query_one(exists).await?.try_get(0).map_err(unreachable)? {
        return Ok(0);
    }
    let newest = format!(
        "SELECT coalesce(max(version), 0), to_regclass('{}') IS NOT NULL FROM {}",
        names.qualified("records"),
        names.qualified("migrations")
    );
    let row = connection.query_one(newest).await?;
    let (version, has_tables) = (row.try_get(0).map_err(unreachable)?, row.try_get(1).map_err(unreachable)?);
    if version == 0 && has_tables {
        return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, bare(names)));
    }
    Ok(version)
}

/// Brings the schema up to date, in one transaction. A second process waits, and finds it done.
pub(crate) async fn migrate(connection: &mut Connection, names: &Names) -> Result<(), StoreError> {
    let found = version(connection, names).await?;
    if found >= newest() {
        return check(found, names);
    }
    let connection = connection.session();
    let mut transaction = connection.begin().await.map_err(failed)?;
    let patient = format!(
        "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '10min'; SELECT pg_advisory_xact_lock({})",
        lock(names)
    );
    execute(&mut transaction, patient).await?;
    let exists = format!("SELECT to_regnamespace('\"{}\"') IS NOT NULL", names.schema);
    if !flag(&mut transaction, exists).await? {
        execute(&mut transaction, format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", names.schema)).await?;
    }
    execute(&mut transaction, versions(names)).await?;
    let schema_version = newest();
    let newest = format!("SELECT coalesce(max(version), 0) FROM {}", names.qualified("migrations"));
    let found = number(&mut transaction, newest).await?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        execute(&mut transaction, names.fill(migration)).await?;
        let done = format!("INSERT INTO {} (version) VALUES ({version})", names.qualified("migrations"));
        execute(&mut transaction, done).await?;
    }
    transaction.commit().await.map_err(failed)?;
    check(found.max(schema_version), names)
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), StoreError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(failed)
}

async fn flag(connection: &mut PgConnection, sql: String) -> Result<bool, StoreError> {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(failed)?;
    row.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get(0)).map_err(failed)
}

async fn number(connection: &mut PgConnection, sql: String) -> Result<i32, StoreError> {
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.map_err(failed)?;
    row.first().ok_or(sqlx::Error::RowNotFound).and_then(|row| row.try_get(0)).map_err(failed)
}

fn failed(error: sqlx::Error) -> StoreError {
    StatementError::of(error).into()
}

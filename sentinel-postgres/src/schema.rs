//! The schema: versioned, additive, and brought up to date by any number of processes at once.

use sentinel_core::{ErrorKind, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::error::{Failure, unreachable};
use crate::link::Link;
use crate::statement::Names;

/// The server's time line, which a standby that takes over counts up. Only where the server is not in recovery.
pub(crate) const TIMELINE: &str = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4";

/// One text for each version, in order. A text that was released is never changed: what comes later is added.
const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001.sql")];

/// The version that this release reads and writes.
pub(crate) fn newest() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// All that `migrate` would do to an empty database, for people who run migrations themselves. Running it again changes
/// nothing; it must be run as a whole.
pub(crate) fn script(names: &Names) -> String {
    let mut text = format!(
        "BEGIN;\nCREATE SCHEMA IF NOT EXISTS \"{}\";\n{};\nSELECT pg_advisory_xact_lock({});\n",
        names.schema,
        versions(names),
        lock(names),
    );
    for (version, migration) in (1..).zip(MIGRATIONS) {
        // A script has no conditions of its own: a block does, and runs each migration once.
        text += &format!(
            "DO $migrate$ BEGIN\nIF NOT EXISTS (SELECT FROM {migrations} WHERE version = {version}) THEN\n\
             EXECUTE $ddl$\n{}$ddl$;\nINSERT INTO {migrations} (version) VALUES ({version});\nEND IF;\nEND $migrate$;\n",
            names.fill(migration),
            migrations = names.qualified("migrations"),
        );
    }
    text + "COMMIT;\n"
}

fn versions(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (version int4 PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now(), \
         timeline int4 DEFAULT {TIMELINE})",
        names.qualified("migrations")
    )
}

/// The number that migrations of one schema lock each other out with: FNV-1a of its name.
fn lock(names: &Names) -> i64 {
    let text = names.qualified("migrations");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// The version that is there; 0: none.
pub(crate) async fn version(link: &mut Link, names: &Names) -> Result<i32, StoreError> {
    let exists = format!("SELECT to_regclass('{}') IS NOT NULL", names.qualified("migrations"));
    if !link.ask(exists).await?.try_get(0).map_err(unreachable)? {
        return Ok(0);
    }
    let newest = format!(
        "SELECT coalesce(max(version), 0), to_regclass('{}') IS NOT NULL FROM {}",
        names.qualified("records"),
        names.qualified("migrations")
    );
    let row = link.ask(newest).await?;
    let (version, has_tables) = (row.try_get(0).map_err(unreachable)?, row.try_get(1).map_err(unreachable)?);
    if version == 0 && has_tables {
        return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, bare(names)));
    }
    Ok(version)
}

/// Tables without a recorded version: they were restored without what was in them.
pub(crate) fn bare(names: &Names) -> String {
    let schema = &names.schema;
    format!(
        "\"{schema}\" has Sentinel's tables, and no version is recorded in them: the schema was restored without its data, \
         and has forgotten every record. Stop the workers. Restore the data too (`pg_restore --data-only`); or, to start \
         without it, DROP SCHEMA \"{schema}\" CASCADE, then run `sentinel init`"
    )
}

/// Refuses a schema that is not there, older, or newer.
pub(crate) fn check(version: i32, names: &Names) -> Result<(), StoreError> {
    let newest = newest();
    if version == newest {
        return Ok(());
    }
    let (error_kind, what) = match version {
        0 => (ErrorKind::NotInitialised, "is not there".to_owned()),
        found if found < newest => {
            (ErrorKind::NotInitialised, format!("has version {found}, and this release needs {newest}"))
        }
        found => {
            (ErrorKind::NewerSchema, format!("has version {found}, and this release knows up to {newest}"))
        }
    };
    Err(StoreError::not_applied(error_kind, format!("Sentinel's schema \"{}\" {what}", names.schema)))
}

/// Brings the schema up to date, in one transaction. Whoever comes second waits, and finds it done.
pub(crate) async fn migrate(link: &mut Link, names: &Names) -> Result<(), StoreError> {
    let found = version(link, names).await?;
    if found >= newest() {
        return check(found, names);
    }
    let connection = link.connection();
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
    let newest = format!("SELECT coalesce(max(version), 0) FROM {}", names.qualified("migrations"));
    let found = number(&mut transaction, newest).await?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        execute(&mut transaction, names.fill(migration)).await?;
        let done = format!("INSERT INTO {} (version) VALUES ({version})", names.qualified("migrations"));
        execute(&mut transaction, done).await?;
    }
    transaction.commit().await.map_err(failed)?;
    check(found.max(self::newest()), names)
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
    Failure::of(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(schema: &str, prefix: &str) -> Names {
        Names::new(schema, prefix).unwrap()
    }

    #[test]
    fn another_version_is_refused_with_what_helps() {
        let refused = |version| check(version, &names("sentinel", "")).map_err(|error| error.kind());
        assert_eq!(refused(newest()), Ok(()));
        for older in 0..newest() {
            assert_eq!(refused(older), Err(ErrorKind::NotInitialised));
        }
        assert_eq!(refused(newest() + 1), Err(ErrorKind::NewerSchema));
        let why = check(newest() + 1, &names("orders", "")).unwrap_err().to_string();
        assert!(why.contains("\"orders\"") && why.contains(&format!("knows up to {}", newest())), "{why}");
    }

    /// A release that locks by another number migrates beside this one.
    #[test]
    fn migrations_lock_by_a_number_that_stays() {
        assert_eq!(lock(&names("sentinel", "")), 8_498_066_717_405_689_178);
        assert_ne!(lock(&names("sentinel", "a_")), lock(&names("sentinel", "b_")));
    }
}

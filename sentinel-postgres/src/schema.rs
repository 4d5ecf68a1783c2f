//! The schema: versioned, and additive. `connection/migrate.rs` brings it up to date.

use sentinel_core::{ErrorKind, StoreError};
use sentinel_store_kit::stable_hash;

use crate::parts::Names;

/// The server's time line, which a standby that takes over counts up. Only where the server is not in recovery.
pub(crate) const TIMELINE: &str = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4";

/// One text for each version, in order. A text that was released is never changed: what comes later is added.
pub(crate) const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001.sql")];

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
             EXECUTE $ddl$\n{}$ddl$;\nINSERT INTO {migrations} (version) VALUES ({version});\n\
             END IF;\nEND $migrate$;\n",
            names.fill(migration),
            migrations = names.qualified("migrations"),
        );
    }
    text + "COMMIT;\n"
}

pub(crate) fn versions(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (version int4 PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now(), \
         timeline int4 DEFAULT {TIMELINE})",
        names.qualified("migrations")
    )
}

/// The number that migrations of one schema lock each other out with: the hash of its name.
pub(crate) fn lock(names: &Names) -> i64 {
    stable_hash(names.qualified("migrations").bytes()).cast_signed()
}

/// Tables without a recorded version: they were restored without what was in them.
pub(crate) fn bare(names: &Names) -> String {
    let schema = &names.schema;
    format!(
        "\"{schema}\" has Sentinel's tables, and no version is recorded in them: the schema was restored \
        without its data, so all records are lost. Stop all workers. Restore the data too (`pg_restore \
        --data-only`); or, \
         to start without it, DROP SCHEMA \"{schema}\" CASCADE, then run `sentinel init`"
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

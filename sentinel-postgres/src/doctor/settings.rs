//! The settings of the server, as this role and session see them.

use std::time::Duration;

use sentinel_core::StoreError;
use sqlx::Row as _;

use crate::connection::session::Connection;
use crate::error::unreachable;

/// What the server is set to, as this role and session see it.
pub(super) struct Settings {
    pub(super) version: String,
    pub(super) synchronous_commit: String,
    pub(super) synchronous_standby_names: String,
    /// Standbys that are connected, and those that confirm commits. Without `pg_read_all_stats` they cannot be
    /// distinguished.
    pub(super) standbys: i64,
    pub(super) confirming: i64,
    pub(super) sees_standbys: bool,
    /// The isolation that was set for the role or the database, if any was.
    pub(super) isolation: Option<String>,
    pub(super) idle_timeout: Duration,
    pub(super) encryption: Option<String>,
}

const SETTINGS: &str = "SELECT current_setting('server_version'), current_setting('synchronous_commit'), \
    current_setting('synchronous_standby_names'), \
    (SELECT count(*) FROM pg_stat_replication), \
    (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')), \
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), \
    (SELECT string_agg(split_part(s, '=', 2), ', ' ORDER BY d.setrole DESC, d.setdatabase DESC) \
        FROM pg_db_role_setting d CROSS JOIN LATERAL unnest(d.setconfig) s \
        WHERE d.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) \
        AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) \
        AND s LIKE 'default_transaction_isolation=%'), \
    coalesce((SELECT setting::int8 FROM pg_settings WHERE name = 'idle_session_timeout'), 0), \
    (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl)";

impl Settings {
    pub(super) async fn read(connection: &mut Connection) -> Result<Self, StoreError> {
        let row = connection.query_one(SETTINGS.into()).await?;
        let read = || {
            Ok(Self {
                version: row.try_get(0)?,
                synchronous_commit: row.try_get(1)?,
                synchronous_standby_names: row.try_get(2)?,
                standbys: row.try_get(3)?,
                confirming: row.try_get(4)?,
                sees_standbys: row.try_get(5)?,
                isolation: row.try_get(6)?,
                idle_timeout: Duration::from_millis(row.try_get::<i64, _>(7)?.unsigned_abs()),
                encryption: row.try_get(8)?,
            })
        };
        read().map_err(unreachable)
    }
}

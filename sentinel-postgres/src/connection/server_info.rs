//! What a server reports about itself when a connection is made, and why Sentinel refuses some servers.

use sentinel_core::{ErrorKind, StoreError};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::session::Connection;
use crate::error::{StatementError, late, unreachable};

/// The oldest server whose statements, settings and functions are the ones used here, as `server_version_num`.
const OLDEST: i32 = 140_000;

/// Raises a role's `synchronous_commit = off` in a session of our own; behind a pooler each transaction does it.
const SERVER_INFO: &str = "SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(), \
    current_setting('transaction_read_only') = 'on', \
    CASE WHEN NOT pg_is_in_recovery() \
        THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4 END, \
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', \
    current_setting('synchronous_standby_names') <> '', \
    current_setting('lc_messages') ~ '^(en|C|POSIX|$)', \
    CASE WHEN current_setting('sentinel.session', true) = 'ours' AND \
    current_setting('synchronous_commit') = 'off' \
        THEN set_config('synchronous_commit', 'on', false) END";

#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerInfo {
    pub(crate) version: i32,
    pub(crate) in_recovery: bool,
    pub(crate) read_only: bool,
    pub(crate) timeline: Option<i32>,
    pub(crate) fsync: bool,
    pub(crate) full_page_writes: bool,
    /// Commits wait for a standby.
    pub(crate) has_synchronous_standby: bool,
    /// The server's messages are in English, and can be recognized.
    pub(crate) has_english_messages: bool,
}

impl ServerInfo {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get(0)?,
            in_recovery: row.try_get(1)?,
            read_only: row.try_get(2)?,
            timeline: row.try_get(3)?,
            fsync: row.try_get(4)?,
            full_page_writes: row.try_get(5)?,
            has_synchronous_standby: row.try_get(6)?,
            has_english_messages: row.try_get(7)?,
        })
    }

    pub(crate) fn is_old(&self) -> bool {
        self.version < OLDEST
    }

    /// A crash of the host can damage what was acknowledged, and no setting of ours can raise it.
    pub(crate) fn is_lossy(&self) -> bool {
        !(self.fsync && self.full_page_writes)
    }

    /// Why Sentinel does not work with this server, and what to do.
    pub(crate) fn refusal(&self, allow_lossy: bool) -> Option<&'static str> {
        if self.is_old() {
            Some("this server is older than PostgreSQL 14: upgrade it")
        } else if self.in_recovery {
            Some("this server is a standby (in recovery): Sentinel needs the primary")
        } else if self.read_only {
            Some("transactions are read only here (default_transaction_read_only): Sentinel needs to write")
        } else if !self.fsync && !allow_lossy {
            Some("fsync is off: a crash of the host may lose or damage what was acknowledged; turn it on")
        } else if !self.full_page_writes && !allow_lossy {
            Some("full_page_writes is off: a crash of the host may damage what was acknowledged; turn it on")
        } else {
            None
        }
    }

    pub(crate) fn check(&self, allow_lossy: bool) -> Result<(), StoreError> {
        match self.refusal(allow_lossy) {
            Some(why) => Err(StoreError::not_applied(ErrorKind::DeploymentRefused, why)),
            None => Ok(()),
        }
    }
}

impl Connection {
    pub(crate) async fn server_info(&mut self) -> Result<ServerInfo, StoreError> {
        // By the simple protocol: nothing is prepared, so it works behind every pooler.
        let rows = sqlx::raw_sql(SERVER_INFO).fetch_all(self.session()).await.map_err(unreachable)?;
        let row = rows.first().ok_or_else(|| unreachable(sqlx::Error::RowNotFound))?;
        ServerInfo::read(row).map_err(unreachable)
    }

    /// Runs a query for one row, within the deadline. It changes nothing.
    pub(crate) async fn query_one(&mut self, sql: String) -> Result<PgRow, StoreError> {
        let deadline = self.deadline();
        let query = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(self.session());
        let rows = match timeout(deadline, query).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => match StatementError::of(error) {
                refused @ StatementError::RolledBack(_) => return Err(refused.into()),
                StatementError::Lost(error)
                | StatementError::NotSent(error)
                | StatementError::Broken(error) => {
                    let detail = "the connection broke while the server's settings were read";
                    return Err(StoreError::not_applied(ErrorKind::Unreachable, detail).caused_by(error));
                }
            },
            Err(_) => return Err(late(deadline)),
        };
        rows.into_iter().next().ok_or_else(|| unreachable(sqlx::Error::RowNotFound))
    }
}

#[cfg(test)]
impl ServerInfo {
    /// Nothing is wrong with it, and nothing special about it.
    pub(crate) const FINE: Self = Self {
        version: OLDEST,
        in_recovery: false,
        read_only: false,
        timeline: Some(1),
        fsync: true,
        full_page_writes: true,
        has_synchronous_standby: false,
        has_english_messages: true,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: ServerInfo = ServerInfo::FINE;

    #[test]
    fn an_unsuitable_server_is_refused_with_its_reason() {
        assert_eq!(FINE.refusal(false), None);
        for (info, word) in [
            (ServerInfo { version: OLDEST - 1, ..FINE }, "older than PostgreSQL 14"),
            (ServerInfo { in_recovery: true, ..FINE }, "in recovery"),
            (ServerInfo { read_only: true, ..FINE }, "read only"),
        ] {
            for allow_lossy in [false, true] {
                let why = info.refusal(allow_lossy).unwrap_or_default();
                assert!(why.contains(word), "{info:?}: {why}");
            }
            assert_eq!(info.check(true).map_err(|error| error.kind()), Err(ErrorKind::DeploymentRefused));
        }
    }

    #[test]
    fn a_lossy_server_is_accepted_only_if_allowed() {
        for (info, word) in [
            (ServerInfo { fsync: false, ..FINE }, "fsync is off"),
            (ServerInfo { full_page_writes: false, ..FINE }, "full_page_writes is off"),
        ] {
            assert!(info.is_lossy() && info.refusal(false).unwrap_or_default().contains(word), "{info:?}");
            assert_eq!(info.refusal(true), None);
        }
        assert!(!FINE.is_lossy());
    }

    #[test]
    fn a_newer_server_is_not_old() {
        let is_old = |version| ServerInfo { version, ..FINE }.is_old();
        assert!(is_old(OLDEST - 1) && !is_old(OLDEST) && !is_old(OLDEST + 1));
    }
}

//! A connection of the store's own, and how it is set up.
//!
//! *Direct*: the session is ours, its settings come with the connection, and a statement is its own transaction.
//! *Pooled*: a pooler in transaction mode (PgBouncer) is between this process and the server, and the next transaction
//! may meet another session. Nothing may be left in a session then, and no statement prepared in it: each goes out in a
//! transaction of its own, with settings that end with it. Which of the two it is, is found out when connecting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sentinel_core::StoreError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr};
use tokio::time::{Instant, timeout};

use super::notices::NoticeListener;
use crate::error::{StatementError, late, unreachable};

/// A connection that was idle for longer is asked whether it is still there before something is sent over it.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// A session setting that only our own connections have: it shows whether settings reach the session.
const SESSION_MARKER: &str = "sentinel.session";

/// How long a statement waits for a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockTimeout(pub(crate) Duration);

/// What each of our transactions runs under. Plans: a batcher's statement is used for as long as the process runs, and
/// a plan made while the tables were empty would scan them from then on; its lookups are by primary key, always.
/// Row-level security that hides a record is an error: a record that seems absent would run again.
pub(super) fn settings(lock_timeout: LockTimeout, deadline: Duration) -> Vec<(&'static str, String)> {
    vec![
        (SESSION_MARKER, "ours".into()),
        ("default_transaction_isolation", "read committed".into()),
        ("lock_timeout", millis(lock_timeout.0)),
        ("statement_timeout", millis(deadline)),
        ("plan_cache_mode", "force_generic_plan".into()),
        ("enable_seqscan", "off".into()),
        ("enable_hashjoin", "off".into()),
        ("enable_mergejoin", "off".into()),
        ("enable_bitmapscan", "off".into()),
        ("jit", "off".into()),
        ("row_security", "off".into()),
    ]
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

/// Opens a transaction behind a pooler. A role's `synchronous_commit = off` is raised: what was acknowledged has to be
/// durable.
pub(super) fn opening(lock_timeout: LockTimeout, deadline: Duration) -> SqlStr {
    let mut text = String::from("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    for (name, value) in settings(lock_timeout, deadline) {
        if name != "default_transaction_isolation" && name != "plan_cache_mode" {
            text += &format!("; SET LOCAL {name} = '{value}'");
        }
    }
    text += "; SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    session: PgConnection,
    /// Behind a pooler: what opens each transaction.
    opening: Option<SqlStr>,
    deadline: Duration,
    used: Instant,
    broken: bool,
    /// What opens a transaction is out, and nothing else.
    is_opening: bool,
    /// How often any connection has broken, and how often when this one was last known to be there.
    breaks: Arc<AtomicU64>,
    known_breaks: u64,
    /// With a synchronous standby: whether a commit was cut short of it.
    pub(super) notices: Option<NoticeListener>,
}

/// A statement with its values.
pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

impl Connection {
    pub(super) fn new(
        session: PgConnection,
        opening: Option<SqlStr>,
        deadline: Duration,
        breaks: Arc<AtomicU64>,
    ) -> Self {
        let known_breaks = breaks.load(Ordering::Relaxed);
        Self {
            session,
            opening,
            deadline,
            used: Instant::now(),
            broken: false,
            is_opening: false,
            breaks,
            known_breaks,
            notices: None,
        }
    }

    pub(super) async fn is_marked(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT current_setting('sentinel.session', true) IS NOT DISTINCT FROM 'ours'";
        let row = sqlx::raw_sql(sql).fetch_one(&mut self.session).await.map_err(unreachable)?;
        row.try_get(0).map_err(unreachable)
    }

    /// Makes it wait for locks as long as this; false: the connection is not there any more.
    pub(crate) async fn set_lock_timeout(&mut self, lock_timeout: LockTimeout) -> bool {
        if self.broken {
            return false;
        }
        if self.opening.is_some() {
            self.opening = Some(opening(lock_timeout, self.deadline));
            return self.is_alive().await;
        }
        let sql = AssertSqlSafe(format!("SET lock_timeout = {}", millis(lock_timeout.0)));
        matches!(timeout(self.deadline, sqlx::raw_sql(sql).execute(&mut self.session)).await, Ok(Ok(_)))
    }

    /// After a pause, or when another connection broke: whether this one is still there. Nothing of ours is out, so
    /// a no proves that nothing was applied.
    pub(crate) async fn is_alive(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let breaks = self.breaks.load(Ordering::Relaxed);
        if self.used.elapsed() > TRUSTED_IDLE || breaks != self.known_breaks {
            self.known_breaks = breaks;
            // Half: making a new connection instead has to fit into what the caller waits.
            let answer = timeout(self.deadline / 2, self.session.ping()).await;
            self.broken = !matches!(answer, Ok(Ok(())));
            self.used = Instant::now();
        }
        !self.broken
    }

    /// Runs a statement to its end, within the deadline.
    ///
    /// All rows are fetched although one may be expected: with the extended protocol the commit comes after the last
    /// row (on Sync), so a caller that stops at the first row does not know of the commit. A connection on which this
    /// future was dropped, or ran into its deadline, is broken: a reply may still be on its way.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, StatementError> {
        self.broken = true;
        let deadline = self.deadline;
        let notices = self.notices.clone();
        let exchanged = match &notices {
            Some(notices) => timeout(deadline, notices.over(self.exchange(query))).await,
            None => timeout(deadline, self.exchange(query)).await,
        };
        let outcome = match (exchanged, notices.and_then(|notices| notices.doubt())) {
            (Err(_), _) if self.is_opening => Err(StatementError::Broken(late(deadline))),
            (Err(_), _) => Err(StatementError::timed_out(deadline)),
            (Ok(Ok(_)), Some(doubt)) => Err(StatementError::in_doubt(&doubt)),
            (Ok(outcome), _) => outcome,
        };
        self.broken = outcome.as_ref().is_err_and(|failure| !failure.spares_the_connection());
        self.used = Instant::now();
        if self.broken {
            self.breaks.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn exchange(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, StatementError> {
        let Some(opening) = self.opening.clone() else {
            return query.fetch_all(&mut self.session).await.map_err(StatementError::of);
        };
        // Nothing is committed before COMMIT is sent: what breaks here was not applied.
        self.is_opening = true;
        if let Err(error) = sqlx::raw_sql(opening).execute(&mut self.session).await {
            return Err(StatementError::Broken(unreachable(error)));
        }
        self.is_opening = false;
        match query.persistent(false).fetch_all(&mut self.session).await.map_err(StatementError::of) {
            Ok(rows) => {
                sqlx::raw_sql("COMMIT").execute(&mut self.session).await.map_err(StatementError::of)?;
                Ok(rows)
            }
            Err(failure @ (StatementError::RolledBack(_) | StatementError::NotSent(_))) => {
                match sqlx::raw_sql("ROLLBACK").execute(&mut self.session).await {
                    Ok(_) => Err(failure),
                    Err(error) => Err(StatementError::of(error)),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The connection itself, for what is not one statement of ours: maintenance, and looking at the deployment.
    pub(crate) fn session(&mut self) -> &mut PgConnection {
        &mut self.session
    }
}

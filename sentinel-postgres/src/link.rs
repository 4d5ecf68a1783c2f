//! A connection of the store's own, and how it is set up.
//!
//! *Direct*: the session is ours, its settings come with the connection, and a statement is its own transaction. *Pooled*:
//! between us and the server stands a pooler in transaction mode (PgBouncer), and the next transaction may meet another
//! session. Nothing may be left in a session then, and no statement prepared in it: each goes out in a transaction of its
//! own, with settings that end with it. Which of the two it is, is found out when connecting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sentinel_core::{StoreError, Trouble};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr,
};
use tokio::time::{Instant, timeout};
use tracing::log::LevelFilter;

use crate::error::{Failure, unreachable};
use crate::timeline::Timeline;

/// A connection that was idle for longer is asked whether it is still there before something is sent over it.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);

/// A session setting that only our own connections have: it tells whether settings reach the session.
const MARK: &str = "sentinel.session";

const UNKNOWN: u8 = 0;
const DIRECT: u8 = 1;
const POOLED: u8 = 2;

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Dialer {
    options: PgConnectOptions,
    mode: AtomicU8,
    /// How long a statement may take, and how long making a connection may.
    pub(crate) deadline: Duration,
    pub(crate) timeline: Timeline,
}

/// How long a statement waits for a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(pub(crate) Duration);

impl Dialer {
    pub(crate) fn new(options: PgConnectOptions, deadline: Duration, pooled: Option<bool>) -> Self {
        let mode = match pooled {
            None => UNKNOWN,
            Some(false) => DIRECT,
            Some(true) => POOLED,
        };
        let options =
            options.log_statements(LevelFilter::Off).log_slow_statements(LevelFilter::Off, Duration::MAX);
        Self { options, mode: AtomicU8::new(mode), deadline, timeline: Timeline::default() }
    }

    /// Whether a pooler in transaction mode was found.
    pub(crate) fn is_pooled(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == POOLED
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Connects, and refuses a server that cannot be written to.
    pub(crate) async fn dial(&self, patience: Patience) -> Result<Link, StoreError> {
        let late = || {
            let detail = format!("the server was not connected within {:?}", self.deadline);
            StoreError::not_applied(Trouble::Unreachable, detail)
        };
        let mut link =
            timeout(self.deadline, self.connect(patience)).await.unwrap_or_else(|_| Err(late()))?;
        let hello = timeout(self.deadline, link.hello()).await.unwrap_or_else(|_| Err(late()))?;
        if hello.in_recovery {
            let detail = "this server is a standby (in recovery): Sentinel needs the primary";
            return Err(StoreError::not_applied(Trouble::DeploymentRefused, detail));
        }
        if hello.read_only {
            let detail = "transactions are read only here: Sentinel needs to write";
            return Err(StoreError::not_applied(Trouble::DeploymentRefused, detail));
        }
        self.timeline.see(hello.timeline);
        Ok(link)
    }

    /// Connects to whatever is there.
    pub(crate) async fn connect(&self, patience: Patience) -> Result<Link, StoreError> {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != POOLED {
            let direct = self.options.clone().options(settings(patience, self.deadline));
            match direct.connect().await {
                Ok(connection) => {
                    let mut link = Link::new(connection, None, self.deadline);
                    if mode == DIRECT || link.is_marked().await? {
                        self.mode.store(DIRECT, Ordering::Relaxed);
                        return Ok(link);
                    }
                }
                // PgBouncer: unsupported startup parameter.
                Err(sqlx::Error::Database(error))
                    if mode == UNKNOWN && error.code().as_deref() == Some("08P01") => {}
                Err(error) => return Err(unreachable(error)),
            }
        }
        let plain = self.options.clone().extra_float_digits(None).statement_cache_capacity(0);
        let connection = plain.connect().await.map_err(unreachable)?;
        self.mode.store(POOLED, Ordering::Relaxed);
        Ok(Link::new(connection, Some(opening(patience, self.deadline)), self.deadline))
    }
}

/// What each of our transactions runs under. Plans: a lane's statement runs for as long as the process does, and a plan
/// made while the tables were empty would scan them ever after; its lookups are by primary key, always.
fn settings(patience: Patience, deadline: Duration) -> Vec<(&'static str, String)> {
    let millis = |duration: Duration| duration.as_millis().max(1).to_string();
    vec![
        (MARK, "ours".into()),
        ("default_transaction_isolation", "read committed".into()),
        ("lock_timeout", millis(patience.0)),
        ("statement_timeout", millis(deadline)),
        ("plan_cache_mode", "force_generic_plan".into()),
        ("enable_seqscan", "off".into()),
        ("enable_hashjoin", "off".into()),
        ("enable_mergejoin", "off".into()),
        ("enable_bitmapscan", "off".into()),
        ("jit", "off".into()),
    ]
}

/// Opens a transaction behind a pooler. A role's `synchronous_commit = off` is raised: what is answered has to be durable.
fn opening(patience: Patience, deadline: Duration) -> SqlStr {
    let mut text = String::from("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    for (name, value) in settings(patience, deadline) {
        if name != "default_transaction_isolation" && name != "plan_cache_mode" {
            text += &format!("; SET LOCAL {name} = '{value}'");
        }
    }
    text += "; SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";
    AssertSqlSafe(Arc::<str>::from(text)).into_sql_str()
}

/// What a server says of itself.
#[derive(Debug)]
struct Hello {
    in_recovery: bool,
    read_only: bool,
    timeline: Option<i32>,
}

const HELLO: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
    CASE WHEN NOT pg_is_in_recovery() \
        THEN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4 END, \
    CASE WHEN current_setting('sentinel.session', true) = 'ours' AND current_setting('synchronous_commit') = 'off' \
        THEN set_config('synchronous_commit', 'on', false) END";

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    connection: PgConnection,
    /// Behind a pooler: what opens each transaction.
    opening: Option<SqlStr>,
    deadline: Duration,
    used: Instant,
    broken: bool,
}

/// A statement with its values.
pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

impl Link {
    fn new(connection: PgConnection, opening: Option<SqlStr>, deadline: Duration) -> Self {
        Self { connection, opening, deadline, used: Instant::now(), broken: false }
    }

    async fn is_marked(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT current_setting('sentinel.session', true) IS NOT DISTINCT FROM 'ours'";
        let row = sqlx::raw_sql(sql).fetch_one(&mut self.connection).await.map_err(unreachable)?;
        row.try_get(0).map_err(unreachable)
    }

    async fn hello(&mut self) -> Result<Hello, StoreError> {
        // By the simple protocol: nothing is prepared, so it works behind every pooler.
        let rows = sqlx::raw_sql(HELLO).fetch_all(&mut self.connection).await.map_err(unreachable)?;
        let row = rows.first().ok_or_else(|| unreachable(sqlx::Error::RowNotFound))?;
        Ok(Hello {
            in_recovery: row.try_get(0).map_err(unreachable)?,
            read_only: row.try_get(1).map_err(unreachable)?,
            timeline: row.try_get(2).map_err(unreachable)?,
        })
    }

    /// After a pause: whether the connection is still there. Nothing of ours is out, so a no proves nothing was applied.
    pub(crate) async fn is_alive(&mut self) -> bool {
        if self.broken {
            return false;
        }
        if self.used.elapsed() > TRUSTED_IDLE {
            self.broken = !matches!(timeout(self.deadline, self.connection.ping()).await, Ok(Ok(())));
            self.used = Instant::now();
        }
        !self.broken
    }

    /// Runs a statement to its very end, within the deadline.
    ///
    /// All rows are fetched although one may be expected: with the extended protocol the commit comes after the last row
    /// (on Sync), so who stops at the first row has not heard of the commit. A link on which this future was dropped, or
    /// ran into its deadline, is broken: a reply may still be on its way.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, Failure> {
        self.broken = true;
        let deadline = self.deadline;
        let outcome = match timeout(deadline, self.exchange(query)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::timed_out(deadline)),
        };
        self.broken = outcome.as_ref().is_err_and(|failure| !failure.spares_the_connection());
        self.used = Instant::now();
        outcome
    }

    async fn exchange(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, Failure> {
        let Some(opening) = self.opening.clone() else {
            return query.fetch_all(&mut self.connection).await.map_err(Failure::of);
        };
        // Nothing is committed before COMMIT is sent: whatever breaks up to then was rolled back with its session.
        let not_sent = |error| Failure::NotSent(unreachable(error));
        if let Err(error) = sqlx::raw_sql(opening).execute(&mut self.connection).await {
            self.broken = true;
            return Err(not_sent(error));
        }
        match query.persistent(false).fetch_all(&mut self.connection).await.map_err(Failure::of) {
            Ok(rows) => {
                sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map_err(Failure::of)?;
                Ok(rows)
            }
            Err(failure @ Failure::RolledBack(_)) => {
                match sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await {
                    Ok(_) => Err(failure),
                    Err(error) => Err(Failure::of(error)),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// The connection itself, for what is not one statement of ours: maintenance, and looking at the deployment.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

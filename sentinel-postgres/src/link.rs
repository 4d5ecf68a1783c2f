//! A connection of the store's own, and how it is set up.
//!
//! *Direct*: the session is ours, its settings come with the connection, and a statement is its own transaction. *Pooled*:
//! between us and the server stands a pooler in transaction mode (PgBouncer), and the next transaction may meet another
//! session. Nothing may be left in a session then, and no statement prepared in it: each goes out in a transaction of its
//! own, with settings that end with it. Which of the two it is, is found out when connecting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqlSafeStr as _, SqlStr,
};
use tokio::time::{Instant, timeout};

use crate::error::{Failure, unreachable};
use crate::hello::{Hello, late};
use crate::source::Source;
use crate::spare::Spare;
use crate::timeline::Timeline;
use crate::warnings::Warnings;

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
    source: Source,
    mode: AtomicU8,
    /// How long a statement may take, and how long making a connection may.
    pub(crate) deadline: Duration,
    pub(crate) timeline: Timeline,
    /// A server whose host's crash may lose what was acknowledged is accepted all the same.
    pub(crate) allow_lossy: bool,
    /// How often a connection broke: each break casts doubt on the others, for a restart ends them all.
    breaks: Arc<AtomicU64>,
    /// The link that the store was opened with, for whoever dials first.
    pub(crate) spare: Spare,
}

/// How long a statement waits for a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(pub(crate) Duration);

impl Dialer {
    pub(crate) fn new(source: Source, deadline: Duration, pooled: Option<bool>, allow_lossy: bool) -> Self {
        let mode = match pooled {
            None => UNKNOWN,
            Some(false) => DIRECT,
            Some(true) => POOLED,
        };
        Self {
            source,
            mode: AtomicU8::new(mode),
            deadline,
            timeline: Timeline::default(),
            allow_lossy,
            breaks: Arc::default(),
            spare: Spare::default(),
        }
    }

    /// Whether a pooler in transaction mode was found.
    pub(crate) fn is_pooled(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == POOLED
    }

    /// How to connect for listening: the session is idle for long, and what it commits need not outlive anything.
    pub(crate) fn listening(&self) -> PgConnectOptions {
        let deadline = self.deadline.as_millis().max(1).to_string();
        self.source.now().options([
            ("statement_timeout", deadline.as_str()),
            ("idle_session_timeout", "0"),
            ("synchronous_commit", "off"),
        ])
    }

    /// Connects, and refuses a server that Sentinel does not work with.
    pub(crate) async fn dial(&self, patience: Patience) -> Result<Link, StoreError> {
        if let Some(link) = self.spare.take(patience).await {
            return Ok(link);
        }
        let (link, hello) = self.meet(patience).await?;
        hello.check(self.allow_lossy)?;
        self.timeline.see(hello.timeline);
        Ok(link)
    }

    /// Connects to whatever is there, and hears what it says of itself.
    pub(crate) async fn meet(&self, patience: Patience) -> Result<(Link, Hello), StoreError> {
        let late = |_| {
            let detail = format!("the server was not connected within {:?}", self.deadline);
            Err(StoreError::not_applied(ErrorKind::Unreachable, detail))
        };
        let meeting = async {
            let mut link = self.connect(patience).await?;
            let hello = link.hello().await?;
            link.warnings = hello.has_synchronous_standby.then(|| Warnings::new(hello.speaks_english));
            Ok((link, hello))
        };
        timeout(self.deadline, meeting).await.unwrap_or_else(late)
    }

    async fn connect(&self, patience: Patience) -> Result<Link, StoreError> {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != POOLED {
            let direct = self.source.now().options(settings(patience, self.deadline));
            match direct.connect().await {
                Ok(connection) => {
                    let mut link = Link::new(connection, None, self);
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
        let plain = self.source.now().extra_float_digits(None).statement_cache_capacity(0);
        let connection = plain.connect().await.map_err(unreachable)?;
        self.mode.store(POOLED, Ordering::Relaxed);
        Ok(Link::new(connection, Some(opening(patience, self.deadline)), self))
    }
}

/// What each of our transactions runs under. Plans: a lane's statement runs for as long as the process does, and a plan
/// made while the tables were empty would scan them ever after; its lookups are by primary key, always. Row-level security
/// that hides a record is an error: a record that seems absent would run again.
fn settings(patience: Patience, deadline: Duration) -> Vec<(&'static str, String)> {
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
        ("row_security", "off".into()),
    ]
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
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

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    connection: PgConnection,
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
    warnings: Option<Warnings>,
}

/// A statement with its values.
pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

impl Link {
    fn new(connection: PgConnection, opening: Option<SqlStr>, dialer: &Dialer) -> Self {
        let (deadline, breaks) = (dialer.deadline, dialer.breaks.clone());
        let known_breaks = breaks.load(Ordering::Relaxed);
        Self {
            connection,
            opening,
            deadline,
            used: Instant::now(),
            broken: false,
            is_opening: false,
            breaks,
            known_breaks,
            warnings: None,
        }
    }

    async fn is_marked(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT current_setting('sentinel.session', true) IS NOT DISTINCT FROM 'ours'";
        let row = sqlx::raw_sql(sql).fetch_one(&mut self.connection).await.map_err(unreachable)?;
        row.try_get(0).map_err(unreachable)
    }

    /// Makes it wait for locks as long as this; false: the connection is not there any more.
    pub(crate) async fn suit(&mut self, patience: Patience) -> bool {
        if self.broken {
            return false;
        }
        if self.opening.is_some() {
            self.opening = Some(opening(patience, self.deadline));
            return self.is_alive().await;
        }
        let sql = AssertSqlSafe(format!("SET lock_timeout = {}", millis(patience.0)));
        matches!(timeout(self.deadline, sqlx::raw_sql(sql).execute(&mut self.connection)).await, Ok(Ok(_)))
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
            let answer = timeout(self.deadline / 2, self.connection.ping()).await;
            self.broken = !matches!(answer, Ok(Ok(())));
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
        let warnings = self.warnings.clone();
        let exchanged = match &warnings {
            Some(warnings) => timeout(deadline, warnings.over(self.exchange(query))).await,
            None => timeout(deadline, self.exchange(query)).await,
        };
        let outcome = match (exchanged, warnings.and_then(|warnings| warnings.doubt())) {
            (Err(_), _) if self.is_opening => Err(Failure::Broken(late(deadline))),
            (Err(_), _) => Err(Failure::timed_out(deadline)),
            (Ok(Ok(_)), Some(doubt)) => Err(Failure::in_doubt(&doubt)),
            (Ok(outcome), _) => outcome,
        };
        self.broken = outcome.as_ref().is_err_and(|failure| !failure.spares_the_connection());
        self.used = Instant::now();
        if self.broken {
            self.breaks.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn exchange(&mut self, query: Query<'_>) -> Result<Vec<PgRow>, Failure> {
        let Some(opening) = self.opening.clone() else {
            return query.fetch_all(&mut self.connection).await.map_err(Failure::of);
        };
        // Nothing is committed before COMMIT is sent: what breaks here was not applied.
        self.is_opening = true;
        if let Err(error) = sqlx::raw_sql(opening).execute(&mut self.connection).await {
            return Err(Failure::Broken(unreachable(error)));
        }
        self.is_opening = false;
        match query.persistent(false).fetch_all(&mut self.connection).await.map_err(Failure::of) {
            Ok(rows) => {
                sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map_err(Failure::of)?;
                Ok(rows)
            }
            Err(failure @ (Failure::RolledBack(_) | Failure::NotSent(_))) => {
                match sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await {
                    Ok(_) => Err(failure),
                    Err(error) => Err(Failure::of(error)),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The connection itself, for what is not one statement of ours: maintenance, and looking at the deployment.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

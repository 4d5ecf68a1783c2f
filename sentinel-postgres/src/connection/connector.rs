//! How connections are made, and what is known of the server behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection, SqlStr};
use tokio::time::timeout;

use super::idle::IdleConnection;
use super::notices::NoticeListener;
use super::server_info::ServerInfo;
use super::session::{Connection, LockTimeout, opening, settings};
use super::source::Source;
use super::timeline::Timeline;
use crate::error::cannot_connect;

const UNKNOWN: u8 = 0;
const DIRECT: u8 = 1;
const POOLED: u8 = 2;

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Connector {
    source: Source,
    mode: AtomicU8,
    /// How long a statement may take, and how long making a connection may.
    pub(crate) deadline: Duration,
    pub(crate) timeline: Timeline,
    /// A server whose host's crash may lose what was acknowledged is accepted all the same.
    pub(crate) allow_lossy: bool,
    /// How often a connection broke: each break casts doubt on the others, for a restart ends them all.
    breaks: Arc<AtomicU64>,
    /// The connection that the store was opened with, for the first task that connects.
    pub(crate) idle: IdleConnection,
}

impl Connector {
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
            idle: IdleConnection::default(),
        }
    }

    /// The server as messages name it: host and port, or the folder of its socket.
    fn server(&self) -> String {
        let options = self.source.now();
        let (host, port) = (options.get_host(), options.get_port());
        match options.get_socket() {
            Some(folder) => format!("{}, port {port}", folder.display()),
            None if host.contains(':') => format!("[{host}]:{port}"),
            None => format!("{host}:{port}"),
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
    pub(crate) async fn connect(&self, lock_timeout: LockTimeout) -> Result<Connection, StoreError> {
        if let Some(connection) = self.idle.take(lock_timeout).await {
            return Ok(connection);
        }
        let (connection, info) = self.handshake(lock_timeout).await?;
        info.check(self.allow_lossy)?;
        self.timeline.see(info.timeline);
        Ok(connection)
    }

    /// Connects to any server, and reads its facts.
    pub(crate) async fn handshake(
        &self,
        lock_timeout: LockTimeout,
    ) -> Result<(Connection, ServerInfo), StoreError> {
        let late = |_| {
            let detail = format!("no connection to {} within {:?}", self.server(), self.deadline);
            Err(StoreError::not_applied(ErrorKind::Unreachable, detail))
        };
        let meeting = async {
            let mut connection = self.open_session(lock_timeout).await?;
            let info = connection.server_info().await?;
            connection.notices =
                info.has_synchronous_standby.then(|| NoticeListener::new(info.has_english_messages));
            Ok((connection, info))
        };
        timeout(self.deadline, meeting).await.unwrap_or_else(late)
    }

    async fn open_session(&self, lock_timeout: LockTimeout) -> Result<Connection, StoreError> {
        let mode = self.mode.load(Ordering::Relaxed);
        if mode != POOLED {
            let direct = self.source.now().options(settings(lock_timeout, self.deadline));
            match direct.connect().await {
                Ok(session) => {
                    let mut connection = self.made(session, None);
                    if mode == DIRECT || connection.is_marked().await? {
                        self.mode.store(DIRECT, Ordering::Relaxed);
                        return Ok(connection);
                    }
                }
                // PgBouncer: unsupported startup parameter.
                Err(sqlx::Error::Database(error))
                    if mode == UNKNOWN && error.code().as_deref() == Some("08P01") => {}
                Err(error) => return Err(cannot_connect(error, &self.server())),
            }
        }
        let plain = self.source.now().extra_float_digits(None).statement_cache_capacity(0);
        let session = plain.connect().await.map_err(|error| cannot_connect(error, &self.server()))?;
        self.mode.store(POOLED, Ordering::Relaxed);
        Ok(self.made(session, Some(opening(lock_timeout, self.deadline))))
    }

    fn made(&self, session: PgConnection, opening: Option<SqlStr>) -> Connection {
        Connection::new(session, opening, self.deadline, self.breaks.clone())
    }
}

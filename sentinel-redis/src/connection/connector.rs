//! Opening connections.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind as FredErrorKind;
use fred::interfaces::ClientLike as _;
use fred::types::config::{Config, ReconnectPolicy, ServerConfig};
use fred::types::{Builder, ConnectHandle};
use sentinel_core::{ErrorKind, StoreError};
use tokio::time::timeout;

use super::SharedConnection;
use super::fred::{Fred, Reconnects, RefusedLogins};
use crate::error::plain;

/// How a server is reached.
pub(crate) struct Connector {
    pub(crate) config: Config,
    /// The file with the password: read at each connection that is not fred's own.
    pub(crate) password: Option<PathBuf>,
    pub(crate) deadline: Duration,
}

impl Connector {
    pub(crate) async fn connect(&self) -> Result<SharedConnection, StoreError> {
        let client = self.client()?;
        let (reconnects, refused) = (Reconnects::since(&client), RefusedLogins::since(&client));
        let driver = self.start(&client).await?;
        Ok(Arc::new(Fred { client, driver, deadline: self.deadline, reconnects, refused }))
    }

    /// The same to one server by its address, within this time; without TLS's or the user's being any other.
    pub(crate) fn to_one(&self, host: &str, port: u16, deadline: Duration) -> Self {
        let mut config = self.config.clone();
        config.server = ServerConfig::new_centralized(host, port);
        Self { config, password: self.password.clone(), deadline: deadline.min(self.deadline) }
    }

    /// Makes the first connections, and returns the handle that keeps them open.
    pub(super) async fn start(&self, client: &Client) -> Result<ConnectHandle, StoreError> {
        match timeout(self.deadline, client.init()).await {
            Ok(Ok(driver)) => Ok(driver),
            Ok(Err(error)) => {
                let (server, why) = (self.server(), plain(error.details()));
                Err(match error.kind() {
                    // It is there, and wants another password.
                    FredErrorKind::Auth => {
                        let detail = format!("{server} refused the connection: {why}");
                        StoreError::not_applied(ErrorKind::AccessDenied, detail)
                    }
                    FredErrorKind::IO => {
                        let detail = format!("no connection to {server}: {why}");
                        StoreError::not_applied(ErrorKind::Unreachable, detail)
                    }
                    _ => {
                        let detail = format!("no connection to {server}: {error}");
                        StoreError::not_applied(ErrorKind::Unreachable, detail)
                    }
                })
            }
            Err(_) => {
                let detail = format!("no connection to {} within {:?}", self.server(), self.deadline);
                Err(StoreError::not_applied(ErrorKind::Unreachable, detail))
            }
        }
    }

    /// The servers as messages name them.
    fn server(&self) -> String {
        let servers: Vec<String> = match &self.config.server {
            ServerConfig::Unix { path } => return path.display().to_string(),
            server => {
                server.hosts().iter().map(|server| format!("{}:{}", server.host, server.port)).collect()
            }
        };
        servers.join(", ")
    }

    fn client(&self) -> Result<Client, StoreError> {
        self.builder()?
            .build()
            .map_err(|error| StoreError::not_applied(ErrorKind::InvalidRequest, error.to_string()))
    }

    /// Whether all files can be read.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let bad = |error: StoreError| StoreError::not_applied(ErrorKind::InvalidRequest, error.to_string());
        self.config().map(drop).map_err(bad)
    }

    /// How to connect now.
    fn config(&self) -> Result<Config, StoreError> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password {
            let unreadable = |error| {
                let detail = format!("the password in {} cannot be read: {error}", file.display());
                StoreError::not_applied(ErrorKind::Unreachable, detail)
            };
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            config.password = Some(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
        Ok(config)
    }

    /// With fred's own retries off.
    pub(crate) fn builder(&self) -> Result<Builder, StoreError> {
        let mut builder = Builder::from_config(self.config()?);
        let deadline = self.deadline;
        builder
            .with_connection_config(|connection| {
                connection.max_command_attempts = 1;
                // When a slot has moved, fred updates its routing and returns the command: it was not carried out.
                connection.max_redirections = 0;
                connection.connection_timeout = deadline;
                connection.internal_command_timeout = deadline;
                // A connection that answers nothing is closed, and made anew.
                connection.unresponsive.max_timeout = Some(deadline);
                connection.unresponsive.interval = deadline / 4;
                connection.tcp.nodelay = Some(true);
            })
            .set_policy(ReconnectPolicy::new_exponential(0, 10, 1_000, 2));
        Ok(builder)
    }
}

/// A connection that is opened when it is first needed, on the caller's runtime, and again on another runtime if that
/// one ends.
pub(crate) struct LazyConnection {
    connector: Arc<Connector>,
    connection: Mutex<Option<SharedConnection>>,
    connecting: tokio::sync::Mutex<()>,
}

impl LazyConnection {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, connection: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(crate) async fn get(&self) -> Result<SharedConnection, StoreError> {
        if let Some(connection) = self.alive() {
            return Ok(connection);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(connection) = self.alive() {
            return Ok(connection);
        }
        let connection = self.connector.connect().await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The user of the connection.
    pub(crate) fn user(&self) -> String {
        self.connector.config.username.clone().unwrap_or_else(|| "default".into())
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.connector.config.uses_tls()
    }

    fn alive(&self) -> Option<SharedConnection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|connection| connection.is_alive()).cloned()
    }
}

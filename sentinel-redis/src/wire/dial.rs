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

use super::Link;
use super::fred::{Fred, Made, Refused};
use crate::trust::Location;

/// How a server is reached.
pub(crate) struct Dialer {
    pub(crate) config: Config,
    /// The file with the password: read at each connection that is not fred's own.
    pub(crate) password: Option<PathBuf>,
    pub(crate) deadline: Duration,
}

impl Dialer {
    /// Where a store of this prefix is reached.
    pub(crate) fn location(&self, prefix: &str) -> Location {
        let service = match &self.config.server {
            ServerConfig::Sentinel { service_name, .. } => service_name,
            _ => "",
        };
        let mut hosts: Vec<_> =
            self.config.server.hosts().iter().map(|one| format!("{}:{}", one.host, one.port)).collect();
        hosts.sort_unstable();
        hosts.extend((!service.is_empty()).then(|| service.to_owned()));
        Location::new(hosts.join(" "), self.config.database.unwrap_or_default(), prefix)
    }

    pub(crate) async fn dial(&self) -> Result<Link, StoreError> {
        let client = self.client()?;
        let (made, refused) = (Made::by(&client), Refused::by(&client));
        let driver = self.connect(&client).await?;
        Ok(Arc::new(Fred { client, driver, deadline: self.deadline, made, refused }))
    }

    /// The same to one server by its address, within this time; without TLS's or the user's being any other.
    pub(crate) fn to_one(&self, host: &str, port: u16, deadline: Duration) -> Self {
        let mut config = self.config.clone();
        config.server = ServerConfig::new_centralized(host, port);
        Self { config, password: self.password.clone(), deadline: deadline.min(self.deadline) }
    }

    /// Makes the first connections, and answers what keeps them.
    pub(super) async fn connect(&self, client: &Client) -> Result<ConnectHandle, StoreError> {
        match timeout(self.deadline, client.init()).await {
            Ok(Ok(driver)) => Ok(driver),
            Ok(Err(error)) => {
                let error_kind = match error.kind() {
                    // It is there, and wants another password.
                    FredErrorKind::Auth => ErrorKind::DeploymentRefused,
                    _ => ErrorKind::Unreachable,
                };
                Err(StoreError::not_applied(error_kind, error.to_string()))
            }
            Err(_) => {
                let detail = format!("no connection within {:?}", self.deadline);
                Err(StoreError::not_applied(ErrorKind::Unreachable, detail))
            }
        }
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
                // A slot that has moved is learnt of, and the command given back: it was not carried out.
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

/// A connection that is opened when it is first needed, on the runtime of whoever needs it, and again on another's if that
/// runtime ends.
pub(crate) struct Port {
    dialer: Arc<Dialer>,
    link: Mutex<Option<Link>>,
    dialing: tokio::sync::Mutex<()>,
}

impl Port {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, link: Mutex::default(), dialing: tokio::sync::Mutex::default() }
    }

    pub(crate) async fn link(&self) -> Result<Link, StoreError> {
        if let Some(link) = self.open() {
            return Ok(link);
        }
        let _one_at_a_time = self.dialing.lock().await;
        if let Some(link) = self.open() {
            return Ok(link);
        }
        let link = self.dialer.dial().await?;
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        Ok(link)
    }

    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Whom the servers take us for.
    pub(crate) fn user(&self) -> String {
        self.dialer.config.username.clone().unwrap_or_else(|| "default".into())
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.dialer.config.uses_tls()
    }

    fn open(&self) -> Option<Link> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| link.is_alive()).cloned()
    }
}

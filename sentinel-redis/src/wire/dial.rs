//! Opening connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::ClientLike as _;
use fred::types::config::{Config, ReconnectPolicy};
use fred::types::{Builder, ConnectHandle};
use sentinel_core::{StoreError, Trouble};
use tokio::time::timeout;

use super::Link;
use super::fred::{Fred, Made};

/// How a server is reached.
pub(crate) struct Dialer {
    pub(crate) config: Config,
    pub(crate) deadline: Duration,
}

impl Dialer {
    pub(crate) async fn dial(&self) -> Result<Link, StoreError> {
        let client = self.client()?;
        let made = Made::by(&client);
        let driver = self.connect(&client).await?;
        Ok(Arc::new(Fred { client, driver, deadline: self.deadline, made }))
    }

    /// Makes the first connections, and answers what keeps them.
    pub(super) async fn connect(&self, client: &Client) -> Result<ConnectHandle, StoreError> {
        match timeout(self.deadline, client.init()).await {
            Ok(Ok(driver)) => Ok(driver),
            Ok(Err(error)) => {
                let trouble = match error.kind() {
                    // It is there, and wants another password.
                    ErrorKind::Auth => Trouble::DeploymentRefused,
                    _ => Trouble::Unreachable,
                };
                Err(StoreError::not_applied(trouble, error.to_string()))
            }
            Err(_) => {
                let detail = format!("no connection within {:?}", self.deadline);
                Err(StoreError::not_applied(Trouble::Unreachable, detail))
            }
        }
    }

    fn client(&self) -> Result<Client, StoreError> {
        self.builder()
            .build()
            .map_err(|error| StoreError::not_applied(Trouble::InvalidRequest, error.to_string()))
    }

    /// With fred's own retries off.
    pub(crate) fn builder(&self) -> Builder {
        let mut builder = Builder::from_config(self.config.clone());
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
        builder
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

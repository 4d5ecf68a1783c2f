//! Waiting until a write is replicated or on disk. `WAIT` and `WAITAOF` concern the last write of their own
//! connection, so the write and the wait are sent on one connection of a pool, which no other caller uses meanwhile.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use sentinel_core::StoreError;

use super::{Command, Connector, Reply, SharedConnection};
use crate::durability::Durability;
use crate::error::{CommandError, broken_store};

/// The most connections that wait at once.
const CONNECTIONS: usize = 8;

/// Connections, each for one caller at a time.
pub(crate) struct Barrier {
    pool: Pool<BarrierConnections>,
    durability: Durability,
    timeout: Duration,
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("durability", &self.durability).finish_non_exhaustive()
    }
}

/// Opens the pool's connections.
struct BarrierConnections(Arc<Connector>);

impl Manager for BarrierConnections {
    type Type = SharedConnection;
    type Error = StoreError;

    async fn create(&self) -> Result<SharedConnection, StoreError> {
        self.0.connect().await
    }

    async fn recycle(&self, connection: &mut SharedConnection, _: &Metrics) -> RecycleResult<StoreError> {
        match connection.is_alive() {
            true => Ok(()),
            false => Err(RecycleError::message("its runtime has ended")),
        }
    }
}

impl Barrier {
    /// None: the server's own settings are enough.
    pub(crate) fn new(connector: Arc<Connector>, durability: Durability) -> Result<Option<Self>, StoreError> {
        if durability == Durability::Server {
            return Ok(None);
        }
        let timeout = connector.deadline / 2;
        let pool = Pool::builder(BarrierConnections(connector)).max_size(CONNECTIONS).build();
        let pool = pool.map_err(|error| broken_store(error.to_string()))?;
        Ok(Some(Self { pool, durability, timeout }))
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Sends a command that writes, and waits until its write is as durable as asked for.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, CommandError> {
        let connection = self.pool.get().await.map_err(|error| CommandError::NotSent(error.to_string()))?;
        let wait = self.wait(&command);
        let mut replies = connection.pipeline(vec![command, wait]).await.into_iter();
        let none = || Err(CommandError::Lost("a pipeline returned too few replies".into()));
        let (reply, waited) = (replies.next().unwrap_or_else(none)?, replies.next().unwrap_or_else(none));
        match waited {
            Ok(waited) if self.suffices(&waited) => Ok(reply),
            Ok(waited) => Err(CommandError::Lost(format!(
                "the write was applied but not confirmed within {:?}: {:?} required, {waited:?} confirmed",
                self.timeout, self.durability
            ))),
            Err(failure) => Err(CommandError::Lost(format!(
                "the write was applied, but the wait for its \
                    confirmation failed: {failure:?}"
            ))),
        }
    }

    fn wait(&self, command: &Command) -> Command {
        let millis = self.timeout.as_millis();
        match self.durability {
            Durability::Disk { replicas } => {
                Command::new("WAITAOF", command.to.clone()).number(1).number(replicas).number(millis)
            }
            Durability::Replicas(replicas) => {
                Command::new("WAIT", command.to.clone()).number(replicas).number(millis)
            }
            Durability::Server => Command::new("WAIT", command.to.clone()).number(0).number(millis),
        }
    }

    fn suffices(&self, waited: &Reply) -> bool {
        let enough = |reply: &Reply, asked: u32| matches!(reply, Reply::Number(n) if *n >= i64::from(asked));
        match (self.durability, waited) {
            (Durability::Server, _) => true,
            (Durability::Replicas(replicas), waited) => enough(waited, replicas),
            (Durability::Disk { replicas }, Reply::List(counts)) => {
                matches!(counts.as_slice(), [local, remote] if enough(local, 1) && enough(remote, replicas))
            }
            (Durability::Disk { .. }, _) => false,
        }
    }
}

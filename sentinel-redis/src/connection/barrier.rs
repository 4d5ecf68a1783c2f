//! Waiting until a write is where it has to be. `WAIT` and `WAITAOF` speak of the last write of their own connection, so both
//! go out on one connection, which nobody else uses meanwhile: one of a pool.

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
    within: Duration,
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
        let within = connector.deadline / 2;
        let pool = Pool::builder(BarrierConnections(connector)).max_size(CONNECTIONS).build();
        let pool = pool.map_err(|error| broken_store(error.to_string()))?;
        Ok(Some(Self { pool, durability, within }))
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Sends a command that writes, and waits until what it wrote is where it has to be.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, CommandError> {
        let connection = self.pool.get().await.map_err(|error| CommandError::NotSent(error.to_string()))?;
        let wait = self.wait(&command);
        let mut answers = connection.pipeline(vec![command, wait]).await.into_iter();
        let none = || Err(CommandError::Lost("a pipeline answered too little".into()));
        let (answer, waited) = (answers.next().unwrap_or_else(none)?, answers.next().unwrap_or_else(none));
        match waited {
            Ok(waited) if self.suffices(&waited) => Ok(answer),
            Ok(waited) => Err(CommandError::Lost(format!(
                "it was carried out, and is not everywhere within {:?}: {:?} asked, {waited:?} told",
                self.within, self.durability
            ))),
            Err(failure) => {
                Err(CommandError::Lost(format!("it was carried out, and waiting for it failed: {failure:?}")))
            }
        }
    }

    fn wait(&self, command: &Command) -> Command {
        let millis = self.within.as_millis();
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
        let enough =
            |answer: &Reply, asked: u32| matches!(answer, Reply::Number(n) if *n >= i64::from(asked));
        match (self.durability, waited) {
            (Durability::Server, _) => true,
            (Durability::Replicas(replicas), waited) => enough(waited, replicas),
            (Durability::Disk { replicas }, Reply::List(told)) => {
                matches!(told.as_slice(), [local, remote] if enough(local, 1) && enough(remote, replicas))
            }
            (Durability::Disk { .. }, _) => false,
        }
    }
}

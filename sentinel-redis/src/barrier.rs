//! Waiting until a write is where it has to be. `WAIT` and `WAITAOF` speak of the last write of their own connection, so both
//! go out on one connection, which nobody else uses meanwhile: one of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use sentinel_core::StoreError;

use crate::wire::dial::Dialer;
use crate::wire::{Answer, Command, Failure, Link};

/// How durable a write must be before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// As the server's own settings have it.
    #[default]
    Server,
    /// On so many replicas too: `WAIT`. It narrows what a failover can lose, and does not close it.
    Replicas(u32),
    /// On the disk of the server, and of so many replicas: `WAITAOF`, of Redis 7.2 or newer.
    Disk {
        /// How many replicas.
        replicas: u32,
    },
}

/// The most connections that wait at once.
const CONNECTIONS: usize = 8;

/// Connections, each for one caller at a time.
pub(crate) struct Barrier {
    pool: Pool<Dial>,
    durability: Durability,
    within: Duration,
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("durability", &self.durability).finish_non_exhaustive()
    }
}

/// Opens the pool's connections.
struct Dial(Arc<Dialer>);

impl Manager for Dial {
    type Type = Link;
    type Error = StoreError;

    async fn create(&self) -> Result<Link, StoreError> {
        self.0.dial().await
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<StoreError> {
        match link.is_alive() {
            true => Ok(()),
            false => Err(RecycleError::message("its runtime has ended")),
        }
    }
}

impl Barrier {
    /// None: the server's own settings are enough.
    pub(crate) fn new(dialer: Arc<Dialer>, durability: Durability) -> Result<Option<Self>, StoreError> {
        if durability == Durability::Server {
            return Ok(None);
        }
        let within = dialer.deadline / 2;
        let pool = Pool::builder(Dial(dialer)).max_size(CONNECTIONS).build();
        let pool = pool.map_err(|error| crate::transition::broken(error.to_string()))?;
        Ok(Some(Self { pool, durability, within }))
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Sends a command that writes, and waits until what it wrote is where it has to be.
    pub(crate) async fn call(&self, command: Command) -> Result<Answer, Failure> {
        let link = self.pool.get().await.map_err(|error| Failure::NotSent(error.to_string()))?;
        let wait = self.wait(&command);
        let mut answers = link.pipeline(vec![command, wait]).await.into_iter();
        let none = || Err(Failure::Lost("a pipeline answered too little".into()));
        let (answer, waited) = (answers.next().unwrap_or_else(none)?, answers.next().unwrap_or_else(none));
        match waited {
            Ok(waited) if self.suffices(&waited) => Ok(answer),
            Ok(waited) => Err(Failure::Lost(format!(
                "it was carried out, and is not everywhere within {:?}: {:?} asked, {waited:?} told",
                self.within, self.durability
            ))),
            Err(failure) => {
                Err(Failure::Lost(format!("it was carried out, and waiting for it failed: {failure:?}")))
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

    fn suffices(&self, waited: &Answer) -> bool {
        let enough =
            |answer: &Answer, asked: u32| matches!(answer, Answer::Number(n) if *n >= i64::from(asked));
        match (self.durability, waited) {
            (Durability::Server, _) => true,
            (Durability::Replicas(replicas), waited) => enough(waited, replicas),
            (Durability::Disk { replicas }, Answer::List(told)) => {
                matches!(told.as_slice(), [local, remote] if enough(local, 1) && enough(remote, replicas))
            }
            (Durability::Disk { .. }, _) => false,
        }
    }
}

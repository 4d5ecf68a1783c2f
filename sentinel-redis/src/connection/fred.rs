//! The client `fred`. Its own retries are off, so that it never sends a script a second time without our knowledge.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind as FredErrorKind};
use fred::interfaces::{ClientLike as _, ClusterInterface as _, EventInterface as _};
use fred::types::config::Server;
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Resp3Frame, Value};
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout};

use super::{Command, Connection, Reply};
use crate::error::CommandError;
use crate::schema::To;

pub(super) struct Fred {
    pub(super) client: Client,
    pub(super) driver: ConnectHandle,
    pub(super) deadline: Duration,
    pub(super) reconnects: Reconnects,
    pub(super) refused: RefusedLogins,
}

/// Whether a server has refused the credentials of a connection that fred made again. fred would send the same each
/// time; a new connection reads them again.
pub(super) struct RefusedLogins(Mutex<(Errors, bool)>);

type Errors = broadcast::Receiver<(Error, Option<Server>)>;

impl RefusedLogins {
    /// From now on.
    pub(super) fn since(client: &Client) -> Self {
        Self(Mutex::new((client.error_rx(), false)))
    }

    fn any(&self) -> bool {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (errors, refused) = &mut *refused;
        loop {
            match errors.try_recv() {
                Ok((error, _)) => *refused |= *error.kind() == FredErrorKind::Auth,
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return *refused,
            }
        }
    }
}

/// Counts the connections that fred has made. fred reports each before it sends anything on it.
pub(super) struct Reconnects(Mutex<(broadcast::Receiver<Server>, u64)>);

impl Reconnects {
    /// From now on; the first is not made yet.
    pub(super) fn since(client: &Client) -> Self {
        Self(Mutex::new((client.reconnect_rx(), 0)))
    }

    fn generation(&self) -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let mut reconnects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (reconnected, generation) = &mut *reconnects;
        loop {
            match reconnected.try_recv() {
                Ok(_) | Err(TryRecvError::Lagged(_)) => {
                    *generation = 1 + LAST.fetch_add(1, Ordering::Relaxed);
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return *generation,
            }
        }
    }
}

/// How long a command waits for a connection that is being made again, before it is given up.
const RECONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Between one attempt to find a slot and the next.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl fmt::Debug for Fred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fred").finish_non_exhaustive()
    }
}

impl Drop for Fred {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Fred {
    /// What is sent while there is no connection would wait in a queue, and be carried out whenever there is one.
    async fn connected(&self) -> Result<(), CommandError> {
        let until = Instant::now() + RECONNECT_WITHIN.min(self.deadline);
        while !self.client.is_connected() {
            if Instant::now() >= until || !self.is_alive() {
                return Err(CommandError::NotSent("there is no connection to the server".into()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Until the deadline, or as long as it is hoped that a connection which broke comes back.
    async fn within<T>(&self, reply: impl Future<Output = T>) -> Option<T> {
        let mut reply = pin!(reply);
        let first = RECONNECT_WITHIN.min(self.deadline);
        match timeout(first, &mut reply).await {
            Ok(reply) => Some(reply),
            Err(_) if !self.client.is_connected() => None,
            Err(_) => timeout(self.deadline - first, reply).await.ok(),
        }
    }

    /// Sends a command once, and waits for its reply.
    async fn once(&self, command: Command) -> Result<Reply, CommandError> {
        let (custom, args, node) = parts(command);
        let reply = async {
            match node {
                Some(node) => self.client.with_cluster_node(node).custom_raw(custom, args).await,
                None => self.client.custom_raw(custom, args).await,
            }
        };
        match self.within(reply).await {
            Some(Ok(frame)) => read(frame),
            Some(Err(error)) => Err(Self::lost(&error)),
            None => Err(CommandError::Lost(format!("no reply arrived within {:?}", self.deadline))),
        }
    }

    /// Sends a command until the server that has its slot has received it.
    async fn follow(&self, command: Command) -> Result<Reply, CommandError> {
        let until = Instant::now() + self.deadline / 2;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.once(command.clone()).await {
                Err(failure) if failure.is_elsewhere() && Instant::now() < until => sleep(pause).await,
                done => return done,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
            self.connected().await?;
        }
    }

    fn lost(error: &Error) -> CommandError {
        match error.kind() {
            // fred does not follow redirects: a server answered MOVED or ASK, and fred has updated its routing since.
            // A slot that is being moved answers so until the move ends. Meanwhile the target refuses a script,
            // because some of its keys are missing there.
            FredErrorKind::Routing if error.details() == "Too many redirections." => {
                CommandError::Refused("MOVED to another server, or on the way there".into())
            }
            // Checked before anything is sent.
            FredErrorKind::Backpressure | FredErrorKind::InvalidArgument | FredErrorKind::Config => {
                CommandError::NotSent(error.to_string())
            }
            _ => CommandError::Lost(format!("no reply arrived: {error}")),
        }
    }
}

#[async_trait]
impl Connection for Fred {
    async fn call(&self, command: Command) -> Result<Reply, CommandError> {
        self.connected().await?;
        match self.client.is_clustered() {
            true => self.follow(command).await,
            false => self.once(command).await,
        }
    }

    async fn pipeline(&self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        // Once for all: were one to wait, those after it could leave on another connection than those before.
        if let Err(failure) = self.connected().await {
            return commands.iter().map(|_| Err(failure.clone())).collect();
        }
        futures_util::future::join_all(commands.into_iter().map(|command| self.once(command))).await
    }

    fn masters(&self) -> Vec<To> {
        if !self.client.is_clustered() {
            return vec![To::Slot(0)];
        }
        let state = self.client.cached_cluster_state();
        let nodes = state.map(|routing| routing.unique_primary_nodes()).unwrap_or_default();
        nodes.into_iter().map(|node| To::Node(format!("{}:{}", node.host, node.port))).collect()
    }

    fn is_alive(&self) -> bool {
        !self.driver.is_finished() && !self.refused.any()
    }

    fn generation(&self) -> u64 {
        self.reconnects.generation()
    }
}

fn parts(command: Command) -> (CustomCommand, Vec<Value>, Option<Server>) {
    let (hash, node) = match command.to {
        To::Slot(slot) => (ClusterHash::Custom(slot), None),
        To::Node(node) => (ClusterHash::Random, Server::try_from(node.as_str()).ok()),
    };
    let args = command.args.into_iter().map(Value::Bytes).collect();
    (CustomCommand::new_static(command.name, hash, false), args, node)
}

fn read(frame: Resp3Frame) -> Result<Reply, CommandError> {
    match reply(frame) {
        Reply::Error(text) => Err(CommandError::Refused(text)),
        reply => Ok(reply),
    }
}

fn reply(frame: Resp3Frame) -> Reply {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Reply::Bytes(data),
        Resp3Frame::VerbatimString { data, .. } | Resp3Frame::BigNumber { data, .. } => Reply::Bytes(data),
        Resp3Frame::SimpleError { data, .. } => Reply::Error(data.to_string()),
        Resp3Frame::BlobError { data, .. } => Reply::Error(String::from_utf8_lossy(&data).into_owned()),
        Resp3Frame::Number { data, .. } => Reply::Number(data),
        Resp3Frame::Boolean { data, .. } => Reply::Number(i64::from(data)),
        Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => {
            Reply::List(data.into_iter().map(reply).collect())
        }
        Resp3Frame::Map { data, .. } => {
            Reply::List(data.into_iter().flat_map(|(key, value)| [reply(key), reply(value)]).collect())
        }
        Resp3Frame::Set { data, .. } => Reply::List(data.into_iter().map(reply).collect()),
        Resp3Frame::Double { data, .. } => Reply::Bytes(Bytes::from(data.to_string())),
        Resp3Frame::Null => Reply::Nil,
        Resp3Frame::Hello { .. } | Resp3Frame::ChunkedString { .. } => Reply::Nil,
    }
}

//! The interface to the Redis client: commands in, replies out, and for each failure whether the server may have
//! carried the command out. Another client could replace fred by implementing [`Connection`].

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::CommandError;
use crate::schema::To;

pub(crate) mod barrier;
mod command;
pub(crate) mod connector;
mod fred;
pub(crate) mod subscriber;
pub(crate) mod tls;

pub(crate) use command::{Command, Reply, unexpected_reply};
pub(crate) use connector::Connector;

/// A connection to each server, shared by its callers. A caller that goes away drops a reply, never a command.
#[async_trait]
pub(crate) trait Connection: Debug + Send + Sync + 'static {
    /// Sends a command, and sends it again to another server if that one has its slot.
    async fn call(&self, command: Command) -> Result<Reply, CommandError>;

    /// Sends commands to one server, one after the other on one connection, without waiting in between. None of them
    /// follows its slot: what comes after it would not.
    async fn pipeline(&self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>>;

    /// The masters that there are: one, or those of the cluster.
    fn masters(&self) -> Vec<To>;

    /// Whether whatever drives the connection is still there, which ends with its runtime, and is let in by the server.
    fn is_alive(&self) -> bool;

    /// A number that changes with each reconnect, and is never that of another connection: since then, another server
    /// may be at its end. It has changed before anything is sent on the new connection.
    fn generation(&self) -> u64;
}

pub(crate) type SharedConnection = Arc<dyn Connection>;

//! The seam to whatever speaks to the server: commands in, answers out, and for each failure whether the server may have
//! carried the command out. Another client could take fred's place by implementing [`Connection`].

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

/// A connection to each server, shared by all who use it. A caller that goes away drops an answer, never a command.
#[async_trait]
pub(crate) trait Connection: Debug + Send + Sync + 'static {
    /// Sends a command, and where a server says that another one has its slot, again to that one.
    async fn call(&self, command: Command) -> Result<Reply, CommandError>;

    /// Sends commands to one server, one after the other on one connection, without waiting in between. None of them
    /// follows its slot: what comes after it would not.
    async fn pipeline(&self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>>;

    /// The masters that there are: one, or those of the cluster.
    fn masters(&self) -> Vec<To>;

    /// Whether whatever drives the connection is still there, which ends with its runtime, and is let in by the server.
    fn is_alive(&self) -> bool;

    /// Another number after each connection that was made, never one of another link: since then, there may be another
    /// server at its end. It has changed before anything is sent on the new one.
    fn generation(&self) -> u64;
}

pub(crate) type SharedConnection = Arc<dyn Connection>;

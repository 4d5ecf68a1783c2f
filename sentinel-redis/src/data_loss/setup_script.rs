//! Scripts that run before the servers are trusted: the same in each store and epoch.

use std::time::Duration;

use bytes::Bytes;
use sentinel_core::StoreError;
use tokio::time::{Instant, sleep};

use crate::connection::{Command, Connection, Reply};
use crate::schema::To;
use crate::script;

pub(super) const SET_METADATA: &str = include_str!("../../lua/data_loss/set_metadata.lua");
pub(super) const SET_BUCKET_MARKERS: &str = include_str!("../../lua/data_loss/set_bucket_markers.lua");
pub(super) const REMOVE_LOST_NAMES: &str = include_str!("../../lua/data_loss/remove_lost_names.lua");

/// How long a command is repeated if the server asks for a retry.
const WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Runs one of them.
pub(super) async fn run(
    connection: &dyn Connection,
    text: &'static str,
    to: To,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
) -> Result<Reply, StoreError> {
    let until = Instant::now() + WITHIN;
    let sha = script::sha(text);
    loop {
        let command = Command::new("EVALSHA", to.clone()).arg(sha.clone()).number(keys.len());
        let failure =
            match connection.call(keys.iter().chain(&args).cloned().fold(command, Command::arg)).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
        match failure.code() {
            _ if Instant::now() >= until => return Err(failure.into()),
            "NOSCRIPT" => load(connection, text).await?,
            _ if failure.is_passing() => sleep(PAUSE).await,
            _ => return Err(failure.into()),
        }
    }
}

async fn load(connection: &dyn Connection, text: &'static str) -> Result<(), StoreError> {
    for node in connection.masters() {
        connection.call(Command::new("SCRIPT", node).word("LOAD").word(text)).await?;
    }
    Ok(())
}

//! Scripts that are run before anything is trusted: the same in each store and epoch.

use std::time::Duration;

use bytes::Bytes;
use sentinel_core::StoreError;
use tokio::time::{Instant, sleep};

use crate::script;
use crate::wire::{Answer, Command, To, Wire};

pub(super) const SET: &str = include_str!("../../lua/set.lua");
pub(super) const MARK: &str = include_str!("../../lua/mark.lua");
pub(super) const SWEEP: &str = include_str!("../../lua/sweep.lua");

/// How long a server is asked again that wants to be asked again.
const WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Runs one of them.
pub(super) async fn run(
    wire: &dyn Wire,
    text: &'static str,
    to: To,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
) -> Result<Answer, StoreError> {
    let until = Instant::now() + WITHIN;
    let sha = script::sha(text);
    loop {
        let command = Command::new("EVALSHA", to.clone()).arg(sha.clone()).number(keys.len());
        let failure = match wire.call(keys.iter().chain(&args).cloned().fold(command, Command::arg)).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match failure.code() {
            _ if Instant::now() >= until => return Err(failure.into()),
            "NOSCRIPT" => load(wire, text).await?,
            _ if failure.is_passing() => sleep(PAUSE).await,
            _ => return Err(failure.into()),
        }
    }
}

async fn load(wire: &dyn Wire, text: &'static str) -> Result<(), StoreError> {
    for node in wire.masters() {
        wire.call(Command::new("SCRIPT", node).word("LOAD").word(text)).await?;
    }
    Ok(())
}

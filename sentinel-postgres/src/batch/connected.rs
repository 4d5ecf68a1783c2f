//! The connection of a task: opened when it is first needed, and again when it is lost.

use sentinel_core::{ErrorKind, StoreError};

use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};

/// The connection that is there, if it still is, or a new one.
pub(crate) async fn connected<'l>(
    slot: &'l mut Option<Connection>,
    connector: &Connector,
    lock_timeout: LockTimeout,
) -> Result<&'l mut Connection, StoreError> {
    let alive = match slot {
        Some(connection) => connection.is_alive().await,
        None => false,
    };
    if !alive {
        *slot = None;
        return Ok(slot.insert(connector.connect(lock_timeout).await?));
    }
    slot.as_mut().ok_or_else(closed)
}

fn closed() -> StoreError {
    StoreError::not_applied(ErrorKind::Closed, "the store has no connection")
}

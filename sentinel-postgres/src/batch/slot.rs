//! The connection of a task, or of several that use it in turn: opened when it is first needed, and again when it is
//! lost.

use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use sentinel_core::{ErrorKind, StoreError};
use tokio::runtime::{Handle, Id};
use tokio::sync::{Mutex, MutexGuard};

use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};

/// A place for one connection. The tasks that share it each [`join`](Self::join) it; the connection is closed when the
/// last of them ends, so that it does not outlive their runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<StdMutex<Weak<SharedConnection>>>);

/// A connection that tasks use in turn.
#[derive(Debug, Default)]
pub(crate) struct SharedConnection(Mutex<Option<OpenConnection>>);

#[derive(Debug)]
struct OpenConnection {
    connection: Connection,
    /// The runtime that it was made on: it must not be waited for on another.
    runtime: Id,
    lock_timeout: LockTimeout,
}

impl Slot {
    /// What a task keeps while it uses the slot.
    pub(crate) fn join(&self) -> Arc<SharedConnection> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *shared = Arc::downgrade(&new);
            new
        })
    }
}

/// A task's turn with a connection that it shares.
pub(crate) struct Turn<'a>(MutexGuard<'a, Option<OpenConnection>>);

impl SharedConnection {
    /// Waits until no other task uses the connection.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn(self.0.lock().await)
    }
}

impl Turn<'_> {
    /// The connection that is there, if it still is, or a new one.
    pub(crate) async fn connected(
        &mut self,
        connector: &Connector,
        lock_timeout: LockTimeout,
    ) -> Result<&mut Connection, StoreError> {
        if !is_usable(&mut self.0, lock_timeout).await {
            *self.0 = None;
            let connection = connector.connect(lock_timeout).await?;
            let runtime = Handle::current().id();
            return Ok(&mut self.0.insert(OpenConnection { connection, runtime, lock_timeout }).connection);
        }
        self.0.as_mut().map(|open| &mut open.connection).ok_or_else(closed)
    }
}

/// Whether the connection is there, on this runtime, and waits for locks as long as it should.
async fn is_usable(slot: &mut Option<OpenConnection>, lock_timeout: LockTimeout) -> bool {
    let Some(open) = slot else { return false };
    if open.runtime != Handle::current().id() || !open.connection.is_alive().await {
        return false;
    }
    if open.lock_timeout.0 == lock_timeout.0 {
        return true;
    }
    open.lock_timeout = lock_timeout;
    open.connection.set_lock_timeout(lock_timeout).await
}

fn closed() -> StoreError {
    StoreError::not_applied(ErrorKind::Closed, "the store has no connection")
}

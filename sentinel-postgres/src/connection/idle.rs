//! The connection that a store was opened with. A connection takes a while to make, and a claim's ttl runs meanwhile.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

use super::session::{Connection, LockTimeout};

/// A connection that is not in use, if there is one. It lives on the runtime that it was made on, and must not be
/// waited for on another.
#[derive(Debug, Default)]
pub(crate) struct IdleConnection(Mutex<Option<(Connection, Id)>>);

impl IdleConnection {
    /// Keeps a connection that did what it was made for.
    pub(crate) fn keep(&self, connection: Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((connection, Handle::current().id()));
    }

    /// The connection that was kept, if it is of any use here.
    pub(crate) async fn take(&self, lock_timeout: LockTimeout) -> Option<Connection> {
        let (mut connection, runtime) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (runtime == Handle::current().id() && connection.set_lock_timeout(lock_timeout).await)
            .then_some(connection)
    }
}

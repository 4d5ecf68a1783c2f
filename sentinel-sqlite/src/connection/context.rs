//! What one operation works with.

use rusqlite::{CachedStatement, Connection};
use sentinel_core::{Clock, EventLimit};

use crate::error::Fault;

/// A connection and the clock. On the writer's thread: a transaction that holds the write lock.
#[derive(Clone, Copy)]
pub(crate) struct TransactionContext<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) clock: &'c dyn Clock,
    pub(crate) max_events: EventLimit,
}

impl<'c> TransactionContext<'c> {
    /// A statement that is compiled once for each connection.
    pub(crate) fn prepare(&self, sql: &str) -> Result<CachedStatement<'c>, Fault> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}

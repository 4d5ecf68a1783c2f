//! The context that every operation of a store needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::purge::Resumed;
use super::statement::Sql;
use crate::connection::connector::Connector;

/// Connections, statements and settings of one store.
pub(crate) struct Context {
    pub(crate) connector: Arc<Connector>,
    pub(crate) sql: Arc<Sql>,
    /// By how many microseconds the clock is moved: 0, but in tests.
    pub(crate) offset: Arc<AtomicI64>,
    pub(crate) lock_timeout: Duration,
    /// How many connections the store has at most.
    pub(crate) connections: usize,
    pub(crate) event_retention: Option<Duration>,
    pub(crate) resumed: Resumed,
}

impl Context {
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }
}

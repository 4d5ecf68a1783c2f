//! Maintenance: deleting what has served, a page for each statement.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Namespace, StoreError};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::row::{Cells, integer};
use super::statement::{Sql, Statement};
use super::trim;
use crate::connection::retry::retry_on_conflict;
use crate::connection::session::Connection;

/// The most records of one statement.
const PAGE: u64 = 500;

/// Purges up to the limit, in the order of time. Each page starts where the last one ended: what was purged leaves dead
/// entries in the index, and a page that read those of all pages before it would make a large backlog quadratic.
pub(crate) async fn purge(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    purge: &Purge,
    resumed: &Resumed,
) -> Result<Purged, StoreError> {
    let limit = u64::from(purge.limit);
    let mut due = DueRecords { connection, sql, offset, purge };
    if purge.dry_run {
        let found = due.count(limit + 1, START).await?;
        return Ok(Purged { records: found.min(limit), more: found > limit });
    }
    let mut from = resumed.take(&purge.namespace);
    let mut records = 0;
    while records < limit {
        let most = PAGE.min(limit - records);
        let page = due.purge_page(most, from).await?;
        records += page.purged;
        match page.until {
            Some(until) if page.read == most => from = until,
            // What was passed over because it was locked, or became due meanwhile, is before the place of the last
            // call.
            _ if from > START => from = START,
            _ => return Ok(Purged { records, more: false }),
        }
    }
    let more = due.count(1, from).await? > 0;
    if more {
        resumed.keep(&purge.namespace, from);
    }
    Ok(Purged { records, more })
}

/// Before all times.
const START: i64 = i64::MIN;

/// Where the last call for a namespace ended that left something: the next one goes on there.
#[derive(Debug, Default)]
pub(crate) struct Resumed(Mutex<HashMap<Namespace, i64>>);

impl Resumed {
    fn take(&self, namespace: &Namespace) -> i64 {
        self.places().remove(namespace).unwrap_or(START)
    }

    fn keep(&self, namespace: &Namespace, from: i64) {
        self.places().insert(namespace.clone(), from);
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Namespace, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a statement did with one page of rows that were due.
struct Page {
    /// Records that it purged.
    purged: u64,
    /// Rows that it took: those, and the remains of earlier purges.
    read: u64,
    /// Since when the last of them was due.
    until: Option<i64>,
}

/// The records that a purge concerns, from a time on.
struct DueRecords<'p> {
    connection: &'p mut Connection,
    sql: &'p Sql,
    offset: i64,
    purge: &'p Purge,
}

impl DueRecords<'_> {
    async fn purge_page(&mut self, most: u64, from: i64) -> Result<Page, StoreError> {
        match self.run(Statement::Purge, most, from).await? {
            Some(row) => {
                let mut cells = Cells::from(&row, 0);
                Ok(Page { purged: cells.number()?, read: cells.number()?, until: cells.take()? })
            }
            None => Ok(Page { purged: 0, read: 0, until: None }),
        }
    }

    /// How many there are, as far as the limit.
    async fn count(&mut self, most: u64, from: i64) -> Result<u64, StoreError> {
        match self.run(Statement::PurgeCount, most, from).await? {
            Some(row) => Ok(Cells::from(&row, 0).number()?),
            None => Ok(0),
        }
    }

    async fn run(&mut self, statement: Statement, most: u64, from: i64) -> Result<Option<PgRow>, StoreError> {
        let query = || {
            sqlx::query(self.sql.get(statement))
                .bind(self.offset)
                .bind(self.purge.namespace.as_str())
                .bind(integer(most))
                .bind(from)
        };
        let rows = retry_on_conflict(self.connection, query).await.map_err(StoreError::from)?;
        Ok(rows.into_iter().next())
    }
}

/// How many blocks of the table of events one statement reads.
const BLOCKS: i64 = 64;

/// Drops events of earlier grants that are older than `kept` microseconds, in one pass over the table.
pub(crate) async fn forget_events(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    kept: i64,
) -> Result<(), StoreError> {
    let mut block: i64 = 0;
    loop {
        let query =
            || sqlx::query(sql.get(Statement::ForgetEvents)).bind(offset).bind(block).bind(kept).bind(BLOCKS);
        let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
        let mut goes_on = false;
        for row in &rows {
            let mut cells = Cells::from(row, 0);
            goes_on = cells.take()?;
            let (record, first): (Option<Uuid>, Option<i64>) = (cells.take()?, cells.take()?);
            if let Some((record, first)) = record.zip(first) {
                trim::drop_before(connection, sql, record, first).await?;
            }
        }
        if !goes_on {
            return Ok(());
        }
        block += BLOCKS;
    }
}

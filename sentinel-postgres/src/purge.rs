//! Maintenance: deleting what has served, a page for each statement.

use sentinel_core::StoreError;
use sentinel_core::store::{Purge, Purged};

use crate::link::Link;
use crate::row::Cells;
use crate::statement::{Sql, Statement};
use crate::transition::insist;

/// The most records of one statement.
const PAGE: u64 = 500;

/// Purges up to the limit.
pub(crate) async fn purge(
    link: &mut Link,
    sql: &Sql,
    offset: i64,
    purge: &Purge,
) -> Result<Purged, StoreError> {
    let limit = u64::from(purge.limit);
    if purge.dry_run {
        let found = count(link, sql, Statement::PurgeCount, offset, purge, limit + 1).await?;
        return Ok(Purged { records: found.min(limit), more: found > limit });
    }
    while count(link, sql, Statement::Forget, offset, purge, PAGE).await? == PAGE {}
    let mut records = 0;
    while records < limit {
        let page = PAGE.min(limit - records);
        let purged = count(link, sql, Statement::Purge, offset, purge, page).await?;
        records += purged;
        if purged < page {
            return Ok(Purged { records, more: false });
        }
    }
    let more = count(link, sql, Statement::PurgeCount, offset, purge, 1).await? > 0;
    Ok(Purged { records, more })
}

async fn count(
    link: &mut Link,
    sql: &Sql,
    statement: Statement,
    offset: i64,
    purge: &Purge,
    limit: u64,
) -> Result<u64, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = || sqlx::query(sql.get(statement)).bind(offset).bind(purge.namespace.as_str()).bind(limit);
    let rows = insist(link, query).await.map_err(StoreError::from)?;
    match rows.first() {
        Some(row) => Ok(Cells::from(row, 0).number()?),
        None => Ok(0),
    }
}

/// Deletes events of earlier grants that are older than `kept` microseconds; how many, at most a page.
pub(crate) async fn forget_events(
    link: &mut Link,
    sql: &Sql,
    offset: i64,
    kept: i64,
) -> Result<bool, StoreError> {
    let page = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let query = || sqlx::query(sql.get(Statement::ForgetEvents)).bind(offset).bind(page).bind(kept);
    let rows = insist(link, query).await.map_err(StoreError::from)?;
    match rows.first() {
        Some(row) => Ok(Cells::from(row, 0).number()? >= PAGE),
        None => Ok(false),
    }
}

//! Lists and histories.

use sentinel_core::store::{List, Listing, VisibleState};
use sentinel_core::{Address, Event, Key, Record, StoreError, StoreTime};
use sqlx::SqlStr;
use sqlx::postgres::PgRow;

use super::row::{Cells, Unreadable, integer};
use super::statement::{Sql, Statement};
use crate::connection::retry::retry_on_conflict;
use crate::connection::session::Connection;

/// What is undecided has an index of its own, in no order that a page needs: there is little of it.
const UNDECIDED: &str = "r.state IN ('claimed', 'executing', 'reconciling')";

/// Each state has its statement, and what is free its index: a condition that is a parameter would hide the index from
/// the planner.
fn list_sql(sql: &Sql, state: Option<VisibleState>) -> SqlStr {
    let live = "greatest(clock.now, r.last_now) < r.lease_until";
    let condition = match state {
        None => "r.state NOT IN ('free', 'purged')".to_owned(),
        Some(VisibleState::Free) => "r.state = 'free'".to_owned(),
        Some(VisibleState::Completed) => "r.state = 'completed'".to_owned(),
        Some(VisibleState::Claimed) => format!("{UNDECIDED} AND r.state = 'claimed'"),
        Some(VisibleState::Reconciling) => format!("{UNDECIDED} AND r.state = 'reconciling'"),
        Some(VisibleState::Executing) => format!("{UNDECIDED} AND r.state = 'executing' AND {live}"),
        Some(VisibleState::Uncertain) => format!("{UNDECIDED} AND r.state = 'executing' AND NOT {live}"),
    };
    let text = format!(
        "WITH clock AS MATERIALIZED (SELECT {{clock_before}} AS now), page AS (\
         SELECT r.*, clock.now FROM {{records}} r CROSS JOIN clock \
         WHERE r.namespace = $2::text AND r.kind = $3::text::{{kind}} AND r.key > $4::text \
         AND {condition} ORDER BY r.key LIMIT $5::int8) \
         SELECT clock.now, p.key, p.* FROM clock LEFT JOIN \
         (SELECT key, {{listed}} FROM page) p ON true ORDER BY p.key"
    );
    sql.made("list", &text)
}

/// A page of records by key.
pub(crate) async fn list(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    list: &List,
) -> Result<Listing, StoreError> {
    let text = list_sql(sql, list.state);
    let after = list.after.as_ref().map_or("", Key::as_str);
    let limit = i64::from(list.limit.clamp(1, List::MAX));
    let query = || {
        sqlx::query(text.clone())
            .bind(offset)
            .bind(list.namespace.as_str())
            .bind(list.kind.as_str())
            .bind(after)
            .bind(limit)
    };
    let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
    let mut listing = Listing { records: Vec::with_capacity(rows.len()), now: StoreTime::ZERO };
    for row in &rows {
        let (now, listed) = listed(row)?;
        listing.now = now;
        listing.records.extend(listed);
    }
    Ok(listing)
}

fn listed(row: &PgRow) -> Result<(StoreTime, Option<(Key, Record)>), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let now = cells.instant()?;
    let key: Option<String> = cells.take()?;
    let _again: Option<String> = cells.take()?;
    let Some(key) = key else { return Ok((now, None)) };
    let key = Key::new(key).map_err(|invalid| Unreadable(invalid.to_string()))?;
    Ok((now, cells.record()?.map(|record| (key, record))))
}

/// The newest events of a record, oldest first.
pub(crate) async fn history(
    connection: &mut Connection,
    sql: &Sql,
    address: &Address,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let query = || {
        sqlx::query(sql.get(Statement::History))
            .bind(address.namespace.as_str())
            .bind(address.kind.as_str())
            .bind(address.key.as_str())
            .bind(integer(limit.into()))
    };
    let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
    let events: Result<Vec<_>, Unreadable> =
        rows.iter().rev().map(|row| Cells::from(row, 0).event()).collect();
    Ok(events?)
}

//! Queries over all namespaces.

use sentinel_core::store::List;
use sentinel_core::survey::CausePage;
use sentinel_core::{Address, CauseQuery, Key, Kind, Namespace, Record, StoreError, StoreTime};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::row::{Cells, Unreadable};
use super::statement::Sql;
use crate::connection::retry::retry_on_conflict;
use crate::connection::session::Connection;

/// From one namespace to the next by the primary key: one search for each, however many records it has.
const NAMESPACES: &str = "WITH RECURSIVE found (namespace) AS (\
     (SELECT namespace FROM {records} WHERE namespace > $1::text ORDER BY namespace LIMIT 1) \
     UNION ALL SELECT (SELECT r.namespace FROM {records} r WHERE r.namespace > found.namespace \
     ORDER BY r.namespace LIMIT 1) FROM found WHERE found.namespace IS NOT NULL) \
     SELECT namespace FROM found WHERE namespace IS NOT NULL LIMIT $2::int8";

pub(super) async fn namespaces(
    connection: &mut Connection,
    sql: &Sql,
    after: &str,
    limit: u32,
) -> Result<Vec<Namespace>, StoreError> {
    let text = sql.made("namespaces", NAMESPACES);
    let query = || sqlx::query(text.clone()).bind(after).bind(i64::from(limit));
    let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
    let name = |row: &PgRow| {
        let name: String = row.try_get(0).map_err(|error| Unreadable(error.to_string()))?;
        Namespace::new(name).map_err(|invalid| Unreadable(invalid.to_string()))
    };
    Ok(rows.iter().map(name).collect::<Result<Vec<_>, _>>()?)
}

/// Each index has its statement. Kinds are in the order of their type, which is that of `Kind`.
fn by_cause_sql(sql: &Sql, query: &CauseQuery) -> sqlx::SqlStr {
    let condition = match query {
        CauseQuery::Root(_) => "split_part(r.cause, ' ', 2) = $2::text",
        CauseQuery::Trace(_) => {
            "split_part(r.cause, ' ', 1) = $2::text \
             AND split_part(r.cause, ' ', 1) <> '00000000000000000000000000000000'"
        }
    };
    let text = format!(
        "WITH clock AS MATERIALIZED (SELECT {{clock_before}} AS now), page AS (\
         SELECT r.* FROM {{records}} r WHERE r.cause IS NOT NULL AND {condition} \
         AND (r.namespace, r.kind, r.key) > ($3::text, $4::text::{{kind}}, $5::text) \
         ORDER BY r.namespace, r.kind, r.key LIMIT $6::int8) \
         SELECT clock.now, p.* FROM clock LEFT JOIN \
         (SELECT namespace, kind::text, key, {{listed}} FROM page) p ON true ORDER BY p.namespace, p.kind, p.key"
    );
    sql.made("by_cause", &text)
}

pub(super) async fn by_cause(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    query: &CauseQuery,
    after: Option<&Address>,
    limit: u32,
) -> Result<CausePage, StoreError> {
    let (text, encoded) = (by_cause_sql(sql, query), query.encoded());
    // Before all addresses: no namespace and no key is empty.
    let (namespace, kind, key) =
        after.map_or(("", Kind::Execution, ""), |at| (at.namespace.as_str(), at.kind, at.key.as_str()));
    let query = || {
        sqlx::query(text.clone())
            .bind(offset)
            .bind(encoded.as_str())
            .bind(namespace)
            .bind(kind.as_str())
            .bind(key)
            .bind(i64::from(limit.clamp(1, List::MAX)))
    };
    let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
    let mut page =
        CausePage { records: Vec::with_capacity(rows.len()), now: StoreTime::ZERO, incomplete: false };
    for row in &rows {
        let (now, found) = found(row)?;
        page.now = now;
        page.records.extend(found);
    }
    Ok(page)
}

fn found(row: &PgRow) -> Result<(StoreTime, Option<(Address, Record)>), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let now = cells.instant()?;
    let (namespace, kind, key) =
        (cells.text::<Namespace>("namespace")?, cells.take::<Option<&str>>()?, cells.text::<Key>("key")?);
    let (Some(namespace), Some(kind), Some(key)) = (namespace, kind, key) else { return Ok((now, None)) };
    let known = [Kind::Execution, Kind::Lease].into_iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or_else(|| Unreadable(format!("{kind:?} is no kind")))?;
    let address = Address { namespace, kind, key };
    Ok((now, cells.record()?.map(|record| (address, record))))
}

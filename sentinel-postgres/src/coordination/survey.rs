//! Queries over all namespaces.

use sentinel_core::{Namespace, StoreError};
use sqlx::Row as _;

use super::row::Unreadable;
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
    let name = |row: &sqlx::postgres::PgRow| {
        let name: String = row.try_get(0).map_err(|error| Unreadable(error.to_string()))?;
        Namespace::new(name).map_err(|invalid| Unreadable(invalid.to_string()))
    };
    Ok(rows.iter().map(name).collect::<Result<Vec<_>, _>>()?)
}

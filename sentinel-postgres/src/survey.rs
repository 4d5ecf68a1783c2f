//! What is asked of all namespaces.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sentinel_core::survey::{Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Namespace, StoreError, Survey};
use sqlx::Row as _;

use crate::link::Link;
use crate::row::Unreadable;
use crate::statement::Sql;
use crate::store::PostgresStore;
use crate::transition::insist;

/// From one namespace to the next by the primary key: one search for each, however many records it has.
const NAMESPACES: &str = "WITH RECURSIVE found (namespace) AS (\
     (SELECT namespace FROM {records} WHERE namespace > $1::text ORDER BY namespace LIMIT 1) \
     UNION ALL SELECT (SELECT r.namespace FROM {records} r WHERE r.namespace > found.namespace \
     ORDER BY r.namespace LIMIT 1) FROM found WHERE found.namespace IS NOT NULL) \
     SELECT namespace FROM found WHERE namespace IS NOT NULL LIMIT $2::int8";

#[async_trait]
impl Survey for PostgresStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        let parts = self.inner.parts.clone();
        self.inner
            .singles
            .run(move |link| async move { namespaces(link, &parts.sql, &after, limit).await }.boxed())
            .await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }
}

async fn namespaces(
    link: &mut Link,
    sql: &Sql,
    after: &str,
    limit: u32,
) -> Result<Vec<Namespace>, StoreError> {
    let text = sql.made("namespaces", NAMESPACES);
    let query = || sqlx::query(text.clone()).bind(after).bind(i64::from(limit));
    let rows = insist(link, query).await.map_err(StoreError::from)?;
    let name = |row: &sqlx::postgres::PgRow| {
        let name: String = row.try_get(0).map_err(|error| Unreadable(error.to_string()))?;
        Namespace::new(name).map_err(|invalid| Unreadable(invalid.to_string()))
    };
    Ok(rows.iter().map(name).collect::<Result<Vec<_>, _>>()?)
}

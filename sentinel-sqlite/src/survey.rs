//! What is asked of all namespaces.

use async_trait::async_trait;
use rusqlite::params;
use sentinel_core::survey::{Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Namespace, StoreError, Survey};

use crate::error::Fault;
use crate::ledger::Ledger;
use crate::row::unreadable;
use crate::store::SqliteStore;

/// From one namespace to the next by the index of the addresses: one search for each, however many records it has.
const NAMESPACES: &str = "WITH RECURSIVE found (namespace) AS (\
     SELECT min(namespace) FROM records WHERE namespace > ?1 \
     UNION ALL SELECT (SELECT min(namespace) FROM records WHERE namespace > found.namespace) FROM found \
     WHERE found.namespace IS NOT NULL) \
     SELECT namespace FROM found WHERE namespace IS NOT NULL LIMIT ?2";

#[async_trait]
impl Survey for SqliteStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        self.inner.reads.send(move |ledger| ledger.namespaces(&after, limit)).await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }
}

impl Ledger<'_> {
    fn namespaces(&self, after: &str, limit: u32) -> Result<Vec<Namespace>, Fault> {
        let mut statement = self.connection.prepare_cached(NAMESPACES)?;
        let names = statement.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
        names.map(|name| Namespace::new(name?).map_err(unreadable)).collect()
    }
}

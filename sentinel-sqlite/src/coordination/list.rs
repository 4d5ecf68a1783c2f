//! Pages of records, and the namespaces of the file.

use rusqlite::{Row, params};
use sentinel_core::store::{List, Listing, VisibleState};
use sentinel_core::{Key, Namespace};

use crate::connection::context::TransactionContext;
use crate::coordination::row::{Stored, micros};
use crate::error::{Fault, unreadable};
use crate::parts::{NEWEST, columns};

/// From one namespace to the next by the index of the addresses: one search for each, however many records it has.
const NAMESPACES: &str = "WITH RECURSIVE found (namespace) AS (\
     SELECT min(namespace) FROM records WHERE namespace > ?1 \
     UNION ALL SELECT (SELECT min(namespace) FROM records WHERE namespace > found.namespace) FROM found \
     WHERE found.namespace IS NOT NULL) \
     SELECT namespace FROM found WHERE namespace IS NOT NULL LIMIT ?2";

macro_rules! list {
    ($index:literal, $condition:expr) => {
        concat!(
            "SELECT key, ",
            columns!("''", "CASE WHEN verdict IS NOT NULL THEN x'' END"),
            " FROM records ",
            $index,
            " WHERE namespace = ?1 AND kind = ?2 AND key > ?3 AND rev > 0 AND ",
            $condition,
        )
    };
    (all: $condition:literal) => {
        concat!(list!("", $condition), " ORDER BY key LIMIT ?4")
    };
    // The few that linger, and whichever of the newest do not.
    (undecided: $condition:literal) => {
        concat!(
            list!("INDEXED BY records_lingering", concat!("lingers = 1 AND ", $condition)),
            " UNION ALL ",
            list!(
                "NOT INDEXED",
                concat!("id > (SELECT max(id) FROM records) - ?6 AND lingers = 0 AND ", $condition)
            ),
            " ORDER BY 1 LIMIT ?4"
        )
    };
}

impl TransactionContext<'_> {
    /// A page of records by key.
    pub(crate) fn list(&self, list: &List) -> Result<Listing, Fault> {
        let now = self.clock.now();
        let mut statement = self.prepare(list_sql(list.state))?;
        let after = list.after.as_ref().map_or("", Key::as_str);
        let (namespace, kind) = (list.namespace.as_str(), list.kind.as_str());
        let limit = list.limit.clamp(1, List::MAX);
        let mut rows = match list.state {
            None | Some(VisibleState::Free | VisibleState::Completed) => {
                statement.query(params![namespace, kind, after, limit])?
            }
            _ => statement.query(params![namespace, kind, after, limit, micros(now), NEWEST])?,
        };
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(listed(row)?);
        }
        Ok(Listing { records, now })
    }

    /// The names of namespaces that follow one.
    pub(crate) fn namespaces(&self, after: &str, limit: u32) -> Result<Vec<Namespace>, Fault> {
        let mut statement = self.connection.prepare_cached(NAMESPACES)?;
        let names = statement.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
        names.map(|name| Namespace::new(name?).map_err(unreadable)).collect()
    }
}

/// Each state has its statement: a condition that is a parameter would hide the index from the planner.
fn list_sql(state: Option<VisibleState>) -> &'static str {
    match state {
        None => list!(all: "state <> 'free'"),
        Some(VisibleState::Free) => list!(all: "state = 'free'"),
        Some(VisibleState::Completed) => list!(all: "state = 'completed'"),
        Some(VisibleState::Claimed) => list!(undecided: "state = 'claimed'"),
        Some(VisibleState::Reconciling) => list!(undecided: "state = 'reconciling'"),
        Some(VisibleState::Executing) => {
            list!(undecided: "state = 'executing' AND max(?5, last_now) < lease_until")
        }
        Some(VisibleState::Uncertain) => {
            list!(undecided: "state = 'executing' AND max(?5, last_now) >= lease_until")
        }
    }
}

fn listed(row: &Row<'_>) -> Result<(Key, sentinel_core::Record), Fault> {
    let key: String = row.get(0).map_err(|error| Fault::Unreadable(error.to_string()))?;
    let stored = Stored::read(row, 1)?;
    let key =
        Key::new(key).map_err(|invalid| Fault::Unreadable(format!("record {}: {invalid}", stored.id)))?;
    Ok((key, stored.record))
}

//! The records that have one root or trace, in all namespaces.

use rusqlite::{Row, params};
use sentinel_core::store::List;
use sentinel_core::survey::CausePage;
use sentinel_core::{Address, CauseQuery, Key, Kind, Namespace, Record};

use crate::connection::context::TransactionContext;
use crate::coordination::row::Stored;
use crate::error::{Fault, unreadable};
use crate::parts::columns;

/// A page of one of the two indexes. Kinds are compared by their names, which are in the order of `Kind`.
macro_rules! by_cause {
    ($index:literal, $condition:literal) => {
        concat!(
            "SELECT namespace, kind, key, ",
            columns!("''", "CASE WHEN verdict IS NOT NULL THEN x'' END"),
            " FROM records INDEXED BY ",
            $index,
            " WHERE cause IS NOT NULL AND ",
            $condition,
            " AND (namespace, kind, key) > (?2, ?3, ?4) ORDER BY namespace, kind, key LIMIT ?5"
        )
    };
}

const BY_ROOT: &str = by_cause!("records_root", "substr(cause, 34, instr(substr(cause, 34), ' ') - 1) = ?1");
const BY_TRACE: &str = by_cause!(
    "records_trace",
    "substr(cause, 1, 32) = ?1 AND substr(cause, 1, 32) <> '00000000000000000000000000000000'"
);

impl TransactionContext<'_> {
    pub(crate) fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, Fault> {
        let now = self.clock.now();
        let mut statement = self.prepare(match query {
            CauseQuery::Root(_) => BY_ROOT,
            CauseQuery::Trace(_) => BY_TRACE,
        })?;
        let of = |address: &Address| {
            (address.namespace.to_string(), address.kind.as_str(), address.key.to_string())
        };
        let (namespace, kind, key) = after.map(of).unwrap_or_default();
        let limit = limit.clamp(1, List::MAX);
        let mut rows = statement.query(params![query.encoded(), namespace, kind, key, limit])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(found(row)?);
        }
        Ok(CausePage { records, now, incomplete: false })
    }
}

fn found(row: &Row<'_>) -> Result<(Address, Record), Fault> {
    let text = |column: usize| row.get::<_, String>(column).map_err(unreadable);
    let stored = Stored::read(row, 3)?;
    let kind = match text(1)?.as_str() {
        "execution" => Kind::Execution,
        "lease" => Kind::Lease,
        other => return Err(Fault::Unreadable(format!("record {}: {other:?} is no kind", stored.id))),
    };
    let namespace = Namespace::new(text(0)?).map_err(unreadable)?;
    let key = Key::new(text(2)?).map_err(unreadable)?;
    Ok((Address { namespace, kind, key }, stored.record))
}

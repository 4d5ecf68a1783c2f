//! Reads: on a connection of their own, so that they never wait for a writer.

use rusqlite::{Row, params};
use sentinel_core::kernel;
use sentinel_core::operation::{Claim, ClaimReply, Stamped};
use sentinel_core::store::{Inspection, List, Listing, Shown};
use sentinel_core::{Address, Event, Key, State, Token};

use crate::error::Fault;
use crate::history::read_line;
use crate::ledger::Ledger;
use crate::row::{NEWEST, Stored, columns, micros, unreadable};

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

/// Newest first: what stands in the record, then what had to make room. Each row holds one event at least.
const HISTORY: &str = "WITH found AS MATERIALIZED (SELECT life, last_event, recent FROM records \
     WHERE namespace = ?1 AND kind = ?2 AND key = ?3) \
     SELECT lines FROM (SELECT last_event AS seq, recent AS lines FROM found UNION ALL \
     SELECT seq, lines FROM events WHERE life = (SELECT life FROM found)) ORDER BY seq DESC LIMIT ?4";

impl Ledger<'_> {
    /// One record.
    pub(crate) fn inspect(&self, address: &Address) -> Result<Inspection, Fault> {
        let record = self.find(address)?.map(|stored| stored.record).filter(|record| !record.is_absent());
        let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
        Ok(Inspection { record, now: self.clock.now().max(last) })
    }

    /// A page of records by key.
    pub(crate) fn list(&self, list: &List) -> Result<Listing, Fault> {
        let now = self.clock.now();
        let mut statement = self.prepare(list_sql(list.state))?;
        let after = list.after.as_ref().map_or("", Key::as_str);
        let (namespace, kind) = (list.namespace.as_str(), list.kind.as_str());
        let limit = list.limit.clamp(1, List::MAX);
        let mut rows = match list.state {
            None | Some(Shown::Free | Shown::Completed) => {
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

    /// The newest events of a record, oldest first.
    pub(crate) fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, Fault> {
        let mut statement = self.prepare(HISTORY)?;
        let Address { namespace, kind, key } = address;
        let mut rows = statement.query(params![namespace.as_str(), kind.as_str(), key.as_str(), limit])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let lines: String = row.get(0).map_err(unreadable)?;
            let room = (limit as usize).saturating_sub(events.len());
            for line in lines.lines().rev().take(room) {
                events.push(read_line(line)?);
            }
        }
        events.reverse();
        Ok(events)
    }

    /// The answer to a claim on a record that is completed within its retention; None: the lane has to look.
    ///
    /// Nothing changes such a record, so what a reader sees is what a writer would find, at any reading of the clock
    /// that is within the retention. A reader sees a commit only after it was synced.
    pub(crate) fn replay(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, Fault> {
        let Some(Stored { mut record, .. }) = self.find(address)? else { return Ok(None) };
        let now = self.clock.now().max(record.last_now);
        if record.state != State::Completed || record.is_past_retention(now) {
            return Ok(None);
        }
        let at = kernel::Reading { kind: address.kind, now, floor: Token::NONE };
        Ok(Some(kernel::apply(&mut record, claim, at)?.stamped))
    }
}

/// Each state has its statement: a condition that is a parameter would hide the index from the planner.
fn list_sql(state: Option<Shown>) -> &'static str {
    match state {
        None => list!(all: "state <> 'free'"),
        Some(Shown::Free) => list!(all: "state = 'free'"),
        Some(Shown::Completed) => list!(all: "state = 'completed'"),
        Some(Shown::Claimed) => list!(undecided: "state = 'claimed'"),
        Some(Shown::Reconciling) => list!(undecided: "state = 'reconciling'"),
        Some(Shown::Executing) => list!(undecided: "state = 'executing' AND max(?5, last_now) < lease_until"),
        Some(Shown::Uncertain) => {
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

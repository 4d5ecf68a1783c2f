//! Reads of one record: on a connection of their own, so that they never wait for a writer.

use rusqlite::params;
use sentinel_core::kernel;
use sentinel_core::operation::{Claim, ClaimReply, Stamped};
use sentinel_core::store::Inspection;
use sentinel_core::{Address, Event, State, Token};

use crate::connection::context::TransactionContext;
use crate::coordination::events::read_line;
use crate::coordination::row::Stored;
use crate::error::{Fault, unreadable};
use crate::parts::columns;

const FIND: &str = concat!(
    "SELECT ",
    columns!("recent", "payload"),
    " FROM records WHERE namespace = ?1 AND kind = ?2 AND key = ?3"
);
/// Newest first: what is kept in the record, then the rows of the table. Each has at least one event.
const HISTORY: &str = "WITH found AS MATERIALIZED (SELECT life, last_event, recent FROM records \
     WHERE namespace = ?1 AND kind = ?2 AND key = ?3) \
     SELECT lines FROM (SELECT last_event AS seq, recent AS lines FROM found UNION ALL \
     SELECT seq, lines FROM events WHERE life = (SELECT life FROM found)) ORDER BY seq DESC LIMIT ?4";

impl TransactionContext<'_> {
    /// Reads the row of an address.
    pub(crate) fn find(&self, address: &Address) -> Result<Option<Stored>, Fault> {
        let mut statement = self.prepare(FIND)?;
        let Address { namespace, kind, key } = address;
        let mut rows = statement.query(params![namespace.as_str(), kind.as_str(), key.as_str()])?;
        match rows.next()? {
            Some(row) => Stored::read(row, 0).map(Some),
            None => Ok(None),
        }
    }

    /// One record.
    pub(crate) fn inspect(&self, address: &Address) -> Result<Inspection, Fault> {
        let record = self.find(address)?.map(|stored| stored.record).filter(|record| !record.is_absent());
        let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
        Ok(Inspection { record, now: self.clock.now().max(last) })
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

    /// The reply to a claim on a record that is completed within its retention; None: the claim has to go to the
    /// writer.
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

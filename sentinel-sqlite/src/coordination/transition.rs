//! What an operation on one record does inside the transaction of its batch.

use rusqlite::{OptionalExtension as _, ToSql, params};
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::Stamped;
use sentinel_core::{Address, Event, Namespace, Record, Token};

use crate::connection::context::TransactionContext;
use crate::coordination::events::{self, Appended};
use crate::coordination::row::{Stored, integer, is_undecided, micros, write_record};
use crate::error::Fault;
use crate::parts::{NEWEST, undecided};

pub(crate) const INSERT: &str = "INSERT INTO records (last_event, purge_at, state, rev, token, claim_id, past_claims, \
     incarnation, after_reset, worker, ttl, hard_ttl, late_effects, retention, claimed_at, lease_until, hard_until, \
     effects_until, begun_at, completed_at, last_now, fingerprint, accepts, doubt, decision, cause, about, verdict, \
     code, omitted, content_type, recent, payload, namespace, kind, key, lingers) VALUES (\
     ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
     ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, \
     ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, 0)";
/// A record that is no longer among the newest, and undecided still.
const LINGER: &str = concat!("UPDATE records SET lingers = 1 WHERE id = ?1 AND ", undecided!());
/// A record that was decided, and is not any more, may be an old one: it lingers from the start. (The right sides read
/// the row as it was.)
const UPDATE: &str = concat!(
    "UPDATE records SET last_event = ?1, purge_at = ?2, state = ?3, rev = ?4, token = ?5, claim_id = ?6, \
     past_claims = ?7, incarnation = ?8, after_reset = ?9, worker = ?10, ttl = ?11, hard_ttl = ?12, \
     late_effects = ?13, retention = ?14, claimed_at = ?15, lease_until = ?16, hard_until = ?17, effects_until = ?18, \
     begun_at = ?19, completed_at = ?20, last_now = ?21, fingerprint = ?22, accepts = ?23, doubt = ?24, \
     decision = ?25, cause = ?26, about = ?27, verdict = ?28, code = ?29, omitted = ?30, content_type = ?31, \
     recent = ?32, payload = ?33, lingers = ?35 AND (lingers OR NOT ",
    undecided!(),
    ") WHERE id = ?34"
);
/// A heartbeat moves nothing else, and no index.
const EXTEND: &str = "UPDATE records SET lease_until = ?1, rev = ?2, last_now = ?3 WHERE id = ?4";
const MOVE_EVENTS: &str = "INSERT INTO events (life, seq, lines) VALUES (?1, ?2, ?3)";
const OLDER_EVENTS: &str = "SELECT seq, lines FROM events WHERE life = ?1 ORDER BY seq";
const DROP_EVENTS: &str = "DELETE FROM events WHERE life = ?1 AND seq <= ?2";
const SHORTEN_EVENTS: &str = "UPDATE events SET lines = ?1 WHERE life = ?2 AND seq = ?3";
const UPDATE_DROPPED: &str = "UPDATE records SET dropped = ?1 WHERE id = ?2";
const FLOOR: &str = "SELECT token FROM floors WHERE namespace = ?1";
const RAISE_FLOOR: &str = "INSERT INTO floors (namespace, token) VALUES (?1, ?2) \
     ON CONFLICT (namespace) DO UPDATE SET token = max(token, excluded.token)";

/// The row of a record, and the events in it.
struct RowRef {
    id: i64,
    life: Vec<u8>,
    last_event: i64,
    dropped: i64,
    recent: String,
}

impl TransactionContext<'_> {
    /// Runs the kernel on the record and writes what changed: record and event.
    pub(crate) fn transition<O: Operation>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, Fault> {
        let (row, mut record) = match self.find(address)? {
            Some(Stored { id, life, last_event, dropped, recent, record }) => {
                (Some(RowRef { id, life, last_event, dropped, recent }), record)
            }
            None => (None, Record::absent()),
        };
        let floor = self.floor(&address.namespace)?;
        // The one reading of this operation: the lock is held, no other change can come in between.
        let at = Reading { kind: address.kind, now: self.clock.now(), floor };
        let outcome = kernel::apply(&mut record, op, at)?;
        if outcome.stamped.stamp.changed {
            self.save(address, row, &record, outcome.event.as_ref())?;
        }
        Ok(outcome.stamped)
    }

    /// The floor of a namespace.
    fn floor(&self, namespace: &Namespace) -> Result<Token, Fault> {
        let mut statement = self.prepare(FLOOR)?;
        let token: Option<i64> = statement.query_row([namespace.as_str()], |row| row.get(0)).optional()?;
        Ok(token.map(|token| Token::from_stored(token.unsigned_abs())).unwrap_or_default())
    }

    /// Raises the floor of a namespace; never lowers it.
    pub(crate) fn raise_floor(&self, namespace: &Namespace, token: Token) -> Result<(), Fault> {
        self.prepare(RAISE_FLOOR)?.execute(params![namespace.as_str(), integer(token.get())])?;
        Ok(())
    }

    fn save(
        &self,
        address: &Address,
        row: Option<RowRef>,
        record: &Record,
        event: Option<&Event>,
    ) -> Result<(), Fault> {
        match (row, event) {
            (None, event) => {
                let Address { namespace, kind, key } = address;
                let address: [&dyn ToSql; 3] = [&namespace.as_str(), &kind.as_str(), &key.as_str()];
                let recent = event.map(events::line).transpose()?.unwrap_or_default();
                write_record(&mut *self.prepare(INSERT)?, record, 1, &recent, &address)?;
                let aged = self.connection.last_insert_rowid() - NEWEST;
                self.prepare(LINGER)?.execute([aged])?;
                Ok(())
            }
            (Some(mut row), Some(event)) => {
                self.trim(&mut row, event)?;
                let RowRef { id, life, last_event, recent, .. } = row;
                let Appended { recent, moved } = events::append(recent, event)?;
                if let Some(lines) = moved {
                    self.prepare(MOVE_EVENTS)?.execute(params![life, last_event, lines])?;
                }
                let row: [&dyn ToSql; 2] = [&id, &is_undecided(record.state)];
                write_record(&mut *self.prepare(UPDATE)?, record, last_event + 1, &recent, &row)
            }
            (Some(RowRef { id, .. }), None) => {
                let lease = micros(record.lease_until);
                let values = params![lease, integer(record.rev), micros(record.last_now), id];
                self.prepare(EXTEND)?.execute(values)?;
                Ok(())
            }
        }
    }

    /// Drops the oldest events, if one more would exceed the limit, and gives the oldest one that is kept its base.
    fn trim(&self, row: &mut RowRef, event: &Event) -> Result<(), Fault> {
        let kept = usize::try_from(row.last_event - row.dropped).unwrap_or(usize::MAX);
        if kept < self.max_events.max() {
            return Ok(());
        }
        let mut older = Vec::new();
        let mut statement = self.prepare(OLDER_EVENTS)?;
        let mut rows = statement.query([&row.life])?;
        while let Some(found) = rows.next()? {
            older.push((found.get(0)?, found.get(1)?));
        }
        drop(rows);
        let trimmed = events::trim(older, &row.recent, row.dropped, event, self.max_events)?;
        self.prepare(DROP_EVENTS)?.execute(params![row.life, trimmed.dropped])?;
        if let Some((seq, lines)) = trimmed.oldest {
            self.prepare(SHORTEN_EVENTS)?.execute(params![lines, row.life, seq])?;
        }
        self.prepare(UPDATE_DROPPED)?.execute(params![trimmed.dropped, row.id])?;
        (row.dropped, row.recent) = (trimmed.dropped, trimmed.recent);
        Ok(())
    }
}

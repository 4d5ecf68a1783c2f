//! What one operation does inside a transaction that the lane holds, or, for reads, on a connection of their own.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, params};
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::{Beat, Heartbeat, HeartbeatReply, Stamp, Stamped};
use sentinel_core::{Address, Clock, Event, EventLimit, Namespace, Record, Token};

use crate::error::Fault;
use crate::history::{self, Appended};
use crate::row::{NEWEST, Stored, columns, integer, is_undecided, micros, undecided, write_record};

const FIND: &str = concat!(
    "SELECT ",
    columns!("recent", "payload"),
    " FROM records WHERE namespace = ?1 AND kind = ?2 AND key = ?3"
);
pub(crate) const INSERT: &str = "INSERT INTO records (last_event, purge_at, state, rev, token, claim_id, past_claims, \
     incarnation, after_reset, worker, ttl, hard_ttl, late_effects, retention, claimed_at, lease_until, hard_until, \
     effects_until, begun_at, completed_at, last_now, fingerprint, accepts, doubt, decision, verdict, code, omitted, \
     content_type, recent, payload, namespace, kind, key, lingers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
     ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, 0)";
/// A record that is no longer among the newest, and undecided still.
const LINGER: &str = concat!("UPDATE records SET lingers = 1 WHERE id = ?1 AND ", undecided!());
/// A record that was decided, and is not any more, may be an old one: it lingers from the start. (The right sides read
/// the row as it was.)
const UPDATE: &str = concat!(
    "UPDATE records SET last_event = ?1, purge_at = ?2, state = ?3, rev = ?4, token = ?5, claim_id = ?6, \
     past_claims = ?7, incarnation = ?8, after_reset = ?9, worker = ?10, ttl = ?11, hard_ttl = ?12, \
     late_effects = ?13, retention = ?14, claimed_at = ?15, lease_until = ?16, hard_until = ?17, effects_until = ?18, \
     begun_at = ?19, completed_at = ?20, last_now = ?21, fingerprint = ?22, accepts = ?23, doubt = ?24, \
     decision = ?25, verdict = ?26, code = ?27, omitted = ?28, content_type = ?29, recent = ?30, payload = ?31, \
     lingers = ?33 AND (lingers OR NOT ",
    undecided!(),
    ") WHERE id = ?32"
);
/// A heartbeat moves nothing else, and no index.
const EXTEND: &str = "UPDATE records SET lease_until = ?1, rev = ?2, last_now = ?3 WHERE id = ?4";
const MOVE_EVENTS: &str = "INSERT INTO events (life, seq, lines) VALUES (?1, ?2, ?3)";
const OLDER_EVENTS: &str = "SELECT seq, lines FROM events WHERE life = ?1 ORDER BY seq";
const DROP_EVENTS: &str = "DELETE FROM events WHERE life = ?1 AND seq <= ?2";
const SHORTEN_EVENTS: &str = "UPDATE events SET lines = ?1 WHERE life = ?2 AND seq = ?3";
const NOTE_DROPPED: &str = "UPDATE records SET dropped = ?1 WHERE id = ?2";
const FLOOR: &str = "SELECT token FROM floors WHERE namespace = ?1";
const RAISE_FLOOR: &str = "INSERT INTO floors (namespace, token) VALUES (?1, ?2) \
     ON CONFLICT (namespace) DO UPDATE SET token = max(token, excluded.token)";

/// A connection and the clock. Within the lane: a transaction that holds the write lock.
#[derive(Clone, Copy)]
pub(crate) struct Ledger<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) clock: &'c dyn Clock,
    pub(crate) max_events: EventLimit,
}

/// Where a record stands, and the events beside it.
struct Place {
    id: i64,
    life: Vec<u8>,
    last_event: i64,
    dropped: i64,
    recent: String,
}

impl<'c> Ledger<'c> {
    /// Runs the kernel on the record and writes what changed: record and event.
    pub(crate) fn transition<O: Operation>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, Fault> {
        let (place, mut record) = match self.find(address)? {
            Some(Stored { id, life, last_event, dropped, recent, record }) => {
                (Some(Place { id, life, last_event, dropped, recent }), record)
            }
            None => (None, Record::absent()),
        };
        let floor = self.floor(&address.namespace)?;
        // The one reading of this operation: the lock is held, nobody else's change can come in between.
        let at = Reading { kind: address.kind, now: self.clock.now(), floor };
        let outcome = kernel::apply(&mut record, op, at)?;
        if outcome.stamped.stamp.changed {
            self.save(address, place, &record, outcome.event.as_ref())?;
        }
        Ok(outcome.stamped)
    }

    /// Extends many leases. A record that cannot be read costs its own beat only.
    pub(crate) fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, Fault> {
        let beat = |beat: &Beat| match self.transition(&beat.address, &Heartbeat { grant: beat.grant }) {
            Err(Fault::Unreadable(what)) => {
                tracing::error!(namespace = %beat.address.namespace, what, "a record cannot be read");
                Ok(Stamped { reply: HeartbeatReply::Unknown, stamp: Stamp::unseen(self.clock.now()) })
            }
            other => other,
        };
        beats.iter().map(beat).collect()
    }

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
        place: Option<Place>,
        record: &Record,
        event: Option<&Event>,
    ) -> Result<(), Fault> {
        match (place, event) {
            (None, event) => {
                let Address { namespace, kind, key } = address;
                let place: [&dyn ToSql; 3] = [&namespace.as_str(), &kind.as_str(), &key.as_str()];
                let recent = event.map(history::line).transpose()?.unwrap_or_default();
                write_record(&mut *self.prepare(INSERT)?, record, 1, &recent, &place)?;
                let aged = self.connection.last_insert_rowid() - NEWEST;
                self.prepare(LINGER)?.execute([aged])?;
                Ok(())
            }
            (Some(mut place), Some(event)) => {
                self.trim(&mut place, event)?;
                let Place { id, life, last_event, recent, .. } = place;
                let Appended { recent, moved } = history::append(recent, event)?;
                if let Some(lines) = moved {
                    self.prepare(MOVE_EVENTS)?.execute(params![life, last_event, lines])?;
                }
                let place: [&dyn ToSql; 2] = [&id, &is_undecided(record.state)];
                write_record(&mut *self.prepare(UPDATE)?, record, last_event + 1, &recent, &place)
            }
            (Some(Place { id, .. }), None) => {
                let lease = micros(record.lease_until);
                let values = params![lease, integer(record.rev), micros(record.last_now), id];
                self.prepare(EXTEND)?.execute(values)?;
                Ok(())
            }
        }
    }

    /// Drops the oldest events, if one more would exceed the limit, and gives the oldest one that is kept its base.
    fn trim(&self, place: &mut Place, event: &Event) -> Result<(), Fault> {
        let kept = usize::try_from(place.last_event - place.dropped).unwrap_or(usize::MAX);
        if kept < self.max_events.max() {
            return Ok(());
        }
        let mut older = Vec::new();
        let mut statement = self.prepare(OLDER_EVENTS)?;
        let mut rows = statement.query([&place.life])?;
        while let Some(row) = rows.next()? {
            older.push((row.get(0)?, row.get(1)?));
        }
        drop(rows);
        let trimmed = history::trim(older, &place.recent, place.dropped, event, self.max_events)?;
        self.prepare(DROP_EVENTS)?.execute(params![place.life, trimmed.dropped])?;
        if let Some((seq, lines)) = trimmed.oldest {
            self.prepare(SHORTEN_EVENTS)?.execute(params![lines, place.life, seq])?;
        }
        self.prepare(NOTE_DROPPED)?.execute(params![trimmed.dropped, place.id])?;
        (place.dropped, place.recent) = (trimmed.dropped, trimmed.recent);
        Ok(())
    }

    /// A statement that is compiled once for each connection.
    pub(crate) fn prepare(&self, sql: &str) -> Result<CachedStatement<'c>, Fault> {
        Ok(self.connection.prepare_cached(sql)?)
    }
}

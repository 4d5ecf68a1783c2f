//! Heartbeats: many leases in one statement, which passes over every row that another transaction has locked.

use sentinel_core::kernel::{self, Reading};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Kind, Label, Record, StoreError, StoreTime};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::row::{Cells, Unreadable, integer, uuid};
use super::statement::{Sql, Statement};
use crate::connection::retry::retry_on_conflict;
use crate::connection::session::Connection;

/// The most beats of one statement.
const PAGE: usize = 16_384;

/// Which beats are sent in one statement: those of one kind, in the order of their addresses. An address is in a
/// statement once: a second beat would not see what the first one changed.
pub(crate) fn pages(beats: &[Beat]) -> Vec<Vec<usize>> {
    let mut pages = Vec::new();
    for kind in [Kind::Execution, Kind::Lease] {
        let mut ordered: Vec<usize> = (0..beats.len()).filter(|n| beats[*n].address.kind == kind).collect();
        ordered.sort_by(|a, b| beats[*a].address.cmp(&beats[*b].address));
        while !ordered.is_empty() {
            let (page, later) = each_once(beats, &ordered);
            pages.push(page);
            ordered = later;
        }
    }
    pages
}

/// The first beat of each address, up to a page, and the rest.
fn each_once(beats: &[Beat], ordered: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut page, mut later): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for n in ordered {
        let again = page.last().is_some_and(|last| beats[*last].address == beats[*n].address);
        if again || page.len() == PAGE { later.push(*n) } else { page.push(*n) }
    }
    (page, later)
}

/// The statements for heartbeats. An execution's heartbeat may be lost with the server, because no other worker takes
/// an execution over. A lease's heartbeat must not be lost: another worker would be granted a lease that its holder
/// keeps.
pub(crate) struct HeartbeatStatements {
    executions: SqlStr,
    leases: SqlStr,
    executions_alone: SqlStr,
    leases_alone: SqlStr,
}

impl HeartbeatStatements {
    pub(crate) fn new(sql: &Sql) -> Self {
        let text = sql.get(Statement::Heartbeat);
        let made = |(skip, found): (&str, &str), durability: &str| {
            let text = text.as_str().replace("{skip}", skip).replace("{found}", found);
            AssertSqlSafe(text.replace("{durability}", durability)).into_sql_str()
        };
        // By its place, which is quick; a row that changed between the statement's start and the lock is elsewhere by
        // then, is not found, and goes out alone. One that goes out alone is found wherever it is.
        let many = ("SKIP LOCKED", "r.ctid = h.place");
        let alone = ("", "r.namespace = h.namespace AND r.kind = h.kind AND r.key = h.key");
        let lazy = "set_config('synchronous_commit', 'off', true)";
        Self {
            executions: made(many, lazy),
            leases: made(many, "NULL::text"),
            executions_alone: made(alone, lazy),
            leases_alone: made(alone, "NULL::text"),
        }
    }

    fn text(&self, kind: Kind, alone: bool) -> SqlStr {
        match (kind, alone) {
            (Kind::Execution, false) => self.executions.clone(),
            (Kind::Execution, true) => self.executions_alone.clone(),
            (Kind::Lease, false) => self.leases.clone(),
            (Kind::Lease, true) => self.leases_alone.clone(),
        }
    }

    /// Sends beats of one kind. None: the beat was skipped, or its record is absent.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        offset: i64,
        beats: &[Beat],
        alone: bool,
    ) -> Result<(Vec<Option<Stamped<HeartbeatReply>>>, StoreTime), StoreError> {
        let Some(kind) = beats.first().map(|beat| beat.address.kind) else {
            return Ok((Vec::new(), StoreTime::ZERO));
        };
        let query = || {
            sqlx::query(self.text(kind, alone))
                .bind(offset)
                .bind(beats.iter().map(|b| b.address.namespace.as_str()).collect::<Vec<_>>())
                .bind(beats.iter().map(|b| b.address.kind.as_str()).collect::<Vec<_>>())
                .bind(beats.iter().map(|b| b.address.key.as_str()).collect::<Vec<_>>())
                .bind(beats.iter().map(|b| integer(b.grant.token.get())).collect::<Vec<_>>())
                .bind(beats.iter().map(|b| uuid(b.grant.claim_id.bits())).collect::<Vec<_>>())
        };
        let rows = retry_on_conflict(connection, query).await.map_err(StoreError::from)?;
        let mut replies: Vec<_> = beats.iter().map(|_| None).collect();
        let mut reading = StoreTime::ZERO;
        for row in &rows {
            let (n, now, reply) = read(row, beats, alone)?;
            reading = reading.max(now);
            if let Some((slot, reply)) = n.and_then(|n| replies.get_mut(n)).zip(reply) {
                *slot = Some(reply);
            }
        }
        Ok((replies, reading))
    }
}

type Read = (Option<usize>, StoreTime, Option<Stamped<HeartbeatReply>>);

fn read(row: &PgRow, beats: &[Beat], alone: bool) -> Result<Read, Unreadable> {
    let mut cells = Cells::from(row, 0);
    let _durability: Option<String> = cells.take()?;
    let n: Option<i64> = cells.take()?;
    let changed: bool = cells.take()?;
    let now = cells.instant()?;
    let Some(beat) = n.and_then(|n| beats.get(usize::try_from(n - 1).ok()?)) else {
        return Ok((None, now, None));
    };
    let n = n.and_then(|n| usize::try_from(n - 1).ok());
    let mut record = Record {
        state: cells.state()?.ok_or_else(|| Unreadable("no state".into()))?,
        token: cells.token()?,
        claim_id: cells.id()?.map(ClaimId::from_bits),
        rev: cells.number()?,
        last_now: cells.instant()?,
        lease_until: cells.instant()?,
        hard_until: cells.instant()?,
        terms: cells.terms()?,
        // A heartbeat does not need the cause.
        doubt: cells.take::<bool>()?.then(|| Label::lossy("abandoned")),
        ..Record::absent()
    };
    if changed {
        let stamp = Stamp {
            now: record.last_now,
            rev: record.rev,
            token: record.token,
            state: record.state,
            changed,
        };
        let reply = HeartbeatReply::Kept { lease_until: record.lease_until };
        return Ok((n, now, Some(Stamped { reply, stamp })));
    }
    let at = Reading { kind: beat.address.kind, now, floor: sentinel_core::Token::NONE };
    let heartbeat = Heartbeat { grant: beat.grant };
    let outcome =
        kernel::apply(&mut record, &heartbeat, at).map_err(|invalid| Unreadable(invalid.to_string()))?;
    if outcome.stamped.stamp.changed {
        if !alone {
            return Ok((n, now, None));
        }
        return Err(Unreadable(
            "a heartbeat changed nothing, although the kernel's rules require a \
            change"
                .into(),
        ));
    }
    Ok((n, now, Some(outcome.stamped)))
}

/// The reply for a record that is not there.
pub(crate) fn of_absent(beat: &Beat, now: StoreTime) -> Result<Stamped<HeartbeatReply>, StoreError> {
    let mut absent = Record::absent();
    let at = Reading { kind: beat.address.kind, now, floor: sentinel_core::Token::NONE };
    Ok(kernel::apply(&mut absent, &Heartbeat { grant: beat.grant }, at)?.stamped)
}

/// The reply to a beat whose row was locked.
pub(crate) fn unknown(now: StoreTime) -> Stamped<HeartbeatReply> {
    Stamped { reply: HeartbeatReply::Unknown, stamp: Stamp::unseen(now) }
}

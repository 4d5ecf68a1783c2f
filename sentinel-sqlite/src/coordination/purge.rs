//! Purging: deletes records past their retention, one page in each transaction, so that no operation waits long for the
//! write lock.

use rusqlite::params;
use sentinel_core::kernel;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Namespace, State, StoreTime};

use crate::connection::context::TransactionContext;
use crate::coordination::events;
use crate::coordination::row::{Stored, forget_at, micros};
use crate::error::Fault;
use crate::parts::columns;

/// The most records of one transaction.
pub(crate) const PAGE: u32 = 256;

const CANDIDATES: &str = concat!(
    "SELECT purge_at, ",
    columns!("''", "x''"),
    " FROM records INDEXED BY records_purgeable WHERE namespace = ?1 AND purge_at <= ?2 AND (purge_at, id) > (?3, ?4) \
      ORDER BY purge_at, id LIMIT ?5"
);
const FORGET_EVENTS: &str = "DELETE FROM events WHERE life = ?1";
const FORGET_RECORD: &str = "DELETE FROM records WHERE id = ?1";
/// The row keeps only its last event: to the kernel the record is absent.
const EMPTY: &str = "UPDATE records SET last_event = ?1, dropped = ?1 - 1, purge_at = ?2, state = 'free', lingers = 0, \
     rev = 0, token = 0, claim_id = NULL, past_claims = x'', incarnation = 0, after_reset = 0, worker = NULL, \
     ttl = NULL, hard_ttl = NULL, late_effects = NULL, retention = NULL, claimed_at = NULL, lease_until = 0, \
     hard_until = 0, effects_until = 0, begun_at = NULL, completed_at = NULL, last_now = 0, fingerprint = NULL, \
     accepts = '*/*', doubt = NULL, decision = NULL, cause = NULL, about = NULL, \
     verdict = NULL, code = NULL, omitted = NULL, \
     content_type = NULL, recent = ?3, payload = NULL WHERE id = ?4";

/// How far a purge has come, between two transactions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    after: (i64, i64),
    /// How many records were deleted, or would be.
    pub(crate) records: u64,
    /// The limit was reached, and another record could be deleted.
    pub(crate) more: bool,
    /// No candidate is left.
    pub(crate) done: bool,
}

impl Progress {
    pub(crate) fn purged(&self) -> Purged {
        Purged { records: self.records, more: self.more }
    }
}

/// Goes one page further.
pub(crate) fn step(
    context: TransactionContext<'_>,
    purge: &Purge,
    mut progress: Progress,
) -> Result<Progress, Fault> {
    let now = context.clock.now();
    let mut statement = context.prepare(CANDIDATES)?;
    let (at, id) = progress.after;
    let mut rows = statement.query(params![purge.namespace.as_str(), micros(now), at, id, PAGE])?;
    let mut candidates = Vec::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        progress.after = (row.get(0)?, row.get(1)?);
        count += 1;
        match Stored::read(row, 1) {
            Ok(stored) => candidates.push(stored),
            Err(Fault::Unreadable(what)) => {
                tracing::error!(namespace = %purge.namespace, what, "a record cannot be read, and is not purged");
            }
            Err(fault) => return Err(fault),
        }
    }
    progress.done = count < PAGE;
    drop(rows);
    for stored in candidates {
        if stored.record.is_absent() {
            forget(context, purge, &stored)?;
        } else if progress.records < u64::from(purge.limit) {
            progress.records += u64::from(delete(context, &purge.namespace, &stored, now, purge.dry_run)?);
        } else if kernel::purge(&stored.record, now).is_some() {
            (progress.more, progress.done) = (true, true);
            break;
        }
    }
    Ok(progress)
}

/// Deletes one record, if the kernel allows it: raises the floor, and leaves the `purged` event.
fn delete(
    context: TransactionContext<'_>,
    namespace: &Namespace,
    stored: &Stored,
    now: StoreTime,
    dry_run: bool,
) -> Result<bool, Fault> {
    let Some((token, event)) = kernel::purge(&stored.record, now) else { return Ok(false) };
    if !dry_run {
        let seq = stored.last_event + 1;
        context.raise_floor(namespace, token)?;
        context.prepare(FORGET_EVENTS)?.execute([&stored.life])?;
        let values = params![seq, forget_at(event.at), events::line(&event)?, stored.id];
        context.prepare(EMPTY)?.execute(values)?;
    }
    Ok(true)
}

/// Deletes the event that a purge left, once its rest is over.
fn forget(context: TransactionContext<'_>, purge: &Purge, stored: &Stored) -> Result<(), Fault> {
    debug_assert_eq!(stored.record.state, State::Free);
    if !purge.dry_run {
        context.prepare(FORGET_EVENTS)?.execute([&stored.life])?;
        context.prepare(FORGET_RECORD)?.execute([stored.id])?;
    }
    Ok(())
}

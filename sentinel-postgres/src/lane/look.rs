//! Reads, batched: replays, and looking at what a claim met.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use sentinel_core::{Address, Record, StoreError, StoreTime};
use sqlx::SqlStr;
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use crate::lane::{Answer, Freight};
use crate::link::Link;
use crate::row::{Cells, Unreadable};

/// The rows of a result can be large: this many bytes at most are asked for by one statement, as far as is known.
const CAP: usize = 128;

/// A record as it was read, without a lock.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// None: no row, or an emptied one.
    pub(crate) record: Option<Record>,
    /// There is a row, be it emptied.
    pub(crate) has_row: bool,
    /// The reading, taken before the row was read, and lifted to the record's last.
    pub(crate) now: StoreTime,
}

pub(crate) struct Ask {
    address: Address,
    /// The answer may tell a result: it has to be durable.
    replay: bool,
    answer: Answer<Seen>,
}

impl Ask {
    pub(crate) fn new(address: Address, replay: bool) -> (Self, oneshot::Receiver<Result<Seen, StoreError>>) {
        let (answer, seen) = oneshot::channel();
        (Self { address, replay, answer }, seen)
    }
}

pub(crate) struct Looks {
    pub(crate) sql: SqlStr,
    pub(crate) offset: Arc<AtomicI64>,
}

impl Freight for Looks {
    type Item = Ask;

    fn load(&self, waiting: &mut VecDeque<Ask>, cap: usize) -> Vec<Ask> {
        let many = waiting.len().min(cap).min(CAP);
        waiting.drain(..many).collect()
    }

    async fn ship(&self, link: &mut Link, batch: Vec<Ask>) {
        let column = |of: fn(&Ask) -> &str| batch.iter().map(of).collect::<Vec<_>>();
        let query = sqlx::query(self.sql.clone())
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(column(|ask| ask.address.namespace.as_str()))
            .bind(column(|ask| ask.address.kind.as_str()))
            .bind(column(|ask| ask.address.key.as_str()))
            .bind(batch.iter().any(|ask| ask.replay));
        match link.run(query).await {
            Ok(rows) => answer(batch, &rows),
            Err(failure) => {
                let error = StoreError::from(failure);
                batch.into_iter().for_each(|ask| self.refuse(ask, error.clone()));
            }
        }
    }

    fn refuse(&self, item: Ask, error: StoreError) {
        let _ = item.answer.send(Err(error));
    }
}

fn answer(batch: Vec<Ask>, rows: &[PgRow]) {
    let mut seen: Vec<Option<Result<Seen, StoreError>>> = batch.iter().map(|_| None).collect();
    let mut now = StoreTime::ZERO;
    for row in rows {
        let mut cells = Cells::from(row, 0);
        match place(&mut cells, &mut now) {
            Ok(Some(n)) => {
                if let Some(slot) = seen.get_mut(n) {
                    *slot = Some(read(&mut cells, now).map_err(StoreError::from));
                }
            }
            Ok(None) => {}
            Err(unreadable) => {
                let error = StoreError::from(unreadable);
                seen.iter_mut().for_each(|slot| *slot = Some(Err(error.clone())));
            }
        }
    }
    for (ask, seen) in batch.into_iter().zip(seen) {
        let absent = Ok(Seen { record: None, has_row: false, now });
        let _ = ask.answer.send(seen.unwrap_or(absent));
    }
}

/// The reading, and which of those asked for stands in this row.
fn place(cells: &mut Cells<'_>, now: &mut StoreTime) -> Result<Option<usize>, Unreadable> {
    *now = cells.instant()?;
    let _barrier: Option<bool> = cells.take()?;
    let n: Option<i64> = cells.take()?;
    Ok(n.and_then(|n| usize::try_from(n - 1).ok()))
}

fn read(cells: &mut Cells<'_>, now: StoreTime) -> Result<Seen, Unreadable> {
    let record = cells.record()?.filter(|record| !record.is_absent());
    let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
    Ok(Seen { record, has_row: true, now: now.max(last) })
}

//! Reads of whole records, batched: for `inspect`, and for claims of addresses that have a row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use sentinel_core::{Address, Record, StoreError, StoreTime};
use sentinel_store_kit::{PendingReply, ReplyTo};
use sqlx::SqlStr;
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use super::row::{Cells, Unreadable};
use crate::batch::executor::StatementExecutor;
use crate::connection::session::Connection;

/// The rows of a result can be large: this many bytes at most are asked for by one statement, as far as is known.
const MAX_BATCH: usize = 128;

/// A record as it was read, without a lock.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// None: no row, or an emptied one.
    pub(crate) record: Option<Record>,
    /// There is a row, be it emptied.
    pub(crate) has_row: bool,
    /// The reading, taken before the row was read, and lifted to the record's last.
    pub(crate) now: StoreTime,
}

pub(crate) struct ReadRequest {
    address: Address,
    /// The reply may contain a result, which has to be durable.
    replay: bool,
    reply_to: ReplyTo<Snapshot>,
}

impl ReadRequest {
    pub(crate) fn new(address: Address, replay: bool) -> (Self, PendingReply<Snapshot>) {
        let (reply_to, receiver) = oneshot::channel();
        (Self { address, replay, reply_to }, receiver)
    }
}

pub(crate) struct ReadExecutor {
    pub(crate) sql: SqlStr,
    pub(crate) offset: Arc<AtomicI64>,
}

impl StatementExecutor for ReadExecutor {
    type Item = ReadRequest;

    fn take_batch(&self, waiting: &mut VecDeque<ReadRequest>, max: usize) -> Vec<ReadRequest> {
        let many = waiting.len().min(max).min(MAX_BATCH);
        waiting.drain(..many).collect()
    }

    async fn execute(&self, connection: &mut Connection, batch: Vec<ReadRequest>) {
        let column = |of: fn(&ReadRequest) -> &str| batch.iter().map(of).collect::<Vec<_>>();
        let query = sqlx::query(self.sql.clone())
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(column(|request| request.address.namespace.as_str()))
            .bind(column(|request| request.address.kind.as_str()))
            .bind(column(|request| request.address.key.as_str()))
            .bind(batch.iter().any(|request| request.replay));
        match connection.run(query).await {
            Ok(rows) => reply_to_all(batch, &rows),
            Err(failure) => self.refuse_all(batch, &failure.into()),
        }
    }

    fn refuse(&self, item: ReadRequest, error: StoreError) {
        let _ = item.reply_to.send(Err(error));
    }
}

fn reply_to_all(batch: Vec<ReadRequest>, rows: &[PgRow]) {
    let mut snapshots: Vec<Option<Result<Snapshot, StoreError>>> = batch.iter().map(|_| None).collect();
    let mut now = StoreTime::ZERO;
    for row in rows {
        let mut cells = Cells::from(row, 0);
        match position(&mut cells, &mut now) {
            Ok(Some(n)) => {
                if let Some(slot) = snapshots.get_mut(n) {
                    *slot = Some(read(&mut cells, now).map_err(StoreError::from));
                }
            }
            Ok(None) => {}
            Err(unreadable) => {
                let error = StoreError::from(unreadable);
                snapshots.iter_mut().for_each(|slot| *slot = Some(Err(error.clone())));
            }
        }
    }
    for (request, snapshot) in batch.into_iter().zip(snapshots) {
        let absent = Ok(Snapshot { record: None, has_row: false, now });
        let _ = request.reply_to.send(snapshot.unwrap_or(absent));
    }
}

/// The reading, and the request that this row is for.
fn position(cells: &mut Cells<'_>, now: &mut StoreTime) -> Result<Option<usize>, Unreadable> {
    *now = cells.instant()?;
    let _barrier: Option<bool> = cells.take()?;
    let n: Option<i64> = cells.take()?;
    Ok(n.and_then(|n| usize::try_from(n - 1).ok()))
}

fn read(cells: &mut Cells<'_>, now: StoreTime) -> Result<Snapshot, Unreadable> {
    let record = cells.record()?.filter(|record| !record.is_absent());
    let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
    Ok(Snapshot { record, has_row: true, now: now.max(last) })
}

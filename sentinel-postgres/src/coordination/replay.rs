//! Reads of results, batched: of executions that this process expects to be completed (see `CompletedHints`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::{Key, Namespace, Payload, Record, RecordedResult, State, StoreError, StoreTime, Verdict};
use sentinel_store_kit::{PendingReply, ReplyTo, take_fitting};
use sqlx::SqlStr;
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use crate::batch::executor::StatementExecutor;
use crate::connection::session::Connection;
use crate::coordination::row::{Cells, Unreadable};

/// What a claim of a completed execution needs to know: the rest of the record is left as that of an absent one. With
/// it the reading, taken before the row was read.
pub(crate) type Completed = Option<(Record, StoreTime)>;

pub(crate) struct ReplayRequest {
    namespace: Namespace,
    key: Key,
    reply_to: ReplyTo<Completed>,
}

impl ReplayRequest {
    pub(crate) fn new(namespace: Namespace, key: Key) -> (Self, PendingReply<Completed>) {
        let (reply_to, receiver) = oneshot::channel();
        (Self { namespace, key, reply_to }, receiver)
    }

    #[cfg(test)]
    fn key(&self) -> &Key {
        &self.key
    }
}

pub(crate) struct ReplayExecutor {
    pub(crate) sql: SqlStr,
    pub(crate) offset: Arc<AtomicI64>,
}

impl StatementExecutor for ReplayExecutor {
    type Item = ReplayRequest;

    /// One statement reads one namespace: that of the request that waits longest.
    fn take_batch(&self, waiting: &mut VecDeque<ReplayRequest>, max: usize) -> Vec<ReplayRequest> {
        let Some(first) = waiting.front().map(|request| request.namespace.clone()) else { return Vec::new() };
        if waiting.len() <= max && waiting.iter().all(|request| request.namespace == first) {
            return waiting.drain(..).collect();
        }
        let mut taken = 0;
        take_fitting(waiting, |request| {
            let fits = taken < max && request.namespace == first;
            taken += usize::from(fits);
            fits
        })
    }

    async fn execute(&self, connection: &mut Connection, batch: Vec<ReplayRequest>) {
        let Some(first) = batch.first() else { return };
        let query = sqlx::query(self.sql.clone())
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(first.namespace.as_str())
            .bind(batch.iter().map(|request| request.key.as_str()).collect::<Vec<_>>());
        match connection.run(query).await {
            Ok(rows) => reply_to_all(batch, &rows),
            Err(failure) => self.refuse_all(batch, &failure.into()),
        }
    }

    fn refuse(&self, item: ReplayRequest, error: StoreError) {
        let _ = item.reply_to.send(Err(error));
    }
}

fn reply_to_all(batch: Vec<ReplayRequest>, rows: &[PgRow]) {
    let mut replies: Vec<Result<Completed, StoreError>> = batch.iter().map(|_| Ok(None)).collect();
    for row in rows {
        match Cells::from(row, 2).take::<i64>() {
            Ok(n) => {
                if let Some(slot) = usize::try_from(n - 1).ok().and_then(|n| replies.get_mut(n)) {
                    *slot = read(row).map(Some).map_err(StoreError::from);
                }
            }
            Err(Unreadable(what)) => {
                tracing::error!(
                    what,
                    "a statement returned an impossible result: its records are read \
                    one by one"
                );
            }
        }
    }
    for (request, reply) in batch.into_iter().zip(replies) {
        let _ = request.reply_to.send(reply);
    }
}

fn read(row: &PgRow) -> Result<(Record, StoreTime), Unreadable> {
    let now = Cells::from(row, 0).instant()?;
    let mut cells = Cells::from(row, 3);
    let (rev, token, last_now, completed_at) =
        (cells.number()?, cells.token()?, cells.instant()?, cells.instant()?);
    let retention = cells.optional()?.map(Duration::from_micros);
    let fingerprint = cells.fingerprint()?;
    let verdict = if cells.take()? { Verdict::Failure } else { Verdict::Success };
    let (code, omitted) = (cells.take()?, cells.take()?);
    let content_type = cells.text("content type")?.ok_or_else(|| Unreadable("half of a result".into()))?;
    let bytes = Bytes::copy_from_slice(cells.take()?);
    let result = RecordedResult { verdict, code, payload: Payload { content_type, bytes }, omitted };
    let record = Record {
        state: State::Completed,
        rev,
        token,
        last_now,
        completed_at: Some(completed_at),
        retention,
        fingerprint,
        result: Some(result),
        ..Record::absent()
    };
    Ok((record, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_reads_one_namespace_in_the_order_of_arrival() {
        let executor = ReplayExecutor { sql: sqlx::SqlStr::from_static("SELECT 1"), offset: Arc::default() };
        let batches = |names: &[(&str, &str)], cap: usize| {
            let request = |(namespace, key): &(&str, &str)| {
                ReplayRequest::new(Namespace::new(*namespace).unwrap(), Key::new(*key).unwrap()).0
            };
            let (mut waiting, mut batches) = (names.iter().map(request).collect::<VecDeque<_>>(), Vec::new());
            while !waiting.is_empty() {
                let batch = executor.take_batch(&mut waiting, cap);
                batches.push(batch.iter().map(|request| request.key().to_string()).collect::<String>());
            }
            batches
        };
        assert_eq!(batches(&[("x", "a"), ("x", "b"), ("x", "c")], 3), ["abc"]);
        assert_eq!(batches(&[("x", "a"), ("x", "b"), ("x", "c")], 2), ["ab", "c"]);
        assert_eq!(batches(&[("x", "a"), ("y", "b"), ("x", "c")], 3), ["ac", "b"]);
        assert_eq!(batches(&[("x", "a"), ("y", "b"), ("x", "c"), ("x", "d")], 2), ["ac", "b", "d"]);
    }
}

//! CompletedHints, batched: the results of executions that this process expects to be completed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::{Key, Namespace, Payload, Record, Recorded, State, StoreError, StoreTime, Verdict};
use sqlx::SqlStr;
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use crate::lane::{Answer, Freight};
use crate::link::Link;
use crate::row::{Cells, Unreadable};

/// What a claim of a completed execution needs to know: the rest of the record is left as that of an absent one. With
/// it the reading, taken before the row was read.
pub(crate) type Completed = Option<(Record, StoreTime)>;

pub(crate) struct Ask {
    namespace: Namespace,
    key: Key,
    answer: Answer<Completed>,
}

impl Ask {
    pub(crate) fn new(
        namespace: Namespace,
        key: Key,
    ) -> (Self, oneshot::Receiver<Result<Completed, StoreError>>) {
        let (answer, told) = oneshot::channel();
        (Self { namespace, key, answer }, told)
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

pub(crate) struct ReplayLane {
    pub(crate) sql: SqlStr,
    pub(crate) offset: Arc<AtomicI64>,
}

impl Freight for ReplayLane {
    type Item = Ask;

    /// One statement reads one namespace: that of whoever waits longest.
    fn load(&self, waiting: &mut VecDeque<Ask>, cap: usize) -> Vec<Ask> {
        let Some(first) = waiting.front().map(|ask| ask.namespace.clone()) else { return Vec::new() };
        if waiting.len() <= cap && waiting.iter().all(|ask| ask.namespace == first) {
            return waiting.drain(..).collect();
        }
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        while let Some(ask) = waiting.pop_front() {
            if batch.len() < cap && ask.namespace == first {
                batch.push(ask);
            } else {
                later.push_back(ask);
            }
        }
        *waiting = later;
        batch
    }

    async fn ship(&self, link: &mut Link, batch: Vec<Ask>) {
        let Some(first) = batch.first() else { return };
        let query = sqlx::query(self.sql.clone())
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(first.namespace.as_str())
            .bind(batch.iter().map(|ask| ask.key.as_str()).collect::<Vec<_>>());
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
    let mut told: Vec<Result<Completed, StoreError>> = batch.iter().map(|_| Ok(None)).collect();
    for row in rows {
        match Cells::from(row, 2).take::<i64>() {
            Ok(n) => {
                if let Some(slot) = usize::try_from(n - 1).ok().and_then(|n| told.get_mut(n)) {
                    *slot = read(row).map(Some).map_err(StoreError::from);
                }
            }
            Err(Unreadable(what)) => {
                tracing::error!(what, "a statement answered what it cannot: its items are looked at");
            }
        }
    }
    for (ask, told) in batch.into_iter().zip(told) {
        let _ = ask.answer.send(told);
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
    let result = Recorded { verdict, code, payload: Payload { content_type, bytes }, omitted };
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

//! Changes of rows that exist, batched: begins, releases, and claims of rows that are free or lapsed. Operations on
//! leases mostly go through here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sentinel_core::operation::*;
use sentinel_core::{Address, Grant, StoreError};
use sentinel_store_kit::{PendingReply, ReplyTo, SeenKeys, take_fitting};
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use super::row::{Cells, Unreadable, integer, micros, uuid};
use super::statement::{Sql, Statement};
use super::{transition, trim};
use crate::batch::executor::StatementExecutor;
use crate::connection::session::{Connection, Query};
use crate::error::StatementError;

/// The result of a call. None: it is sent alone.
pub(crate) type UpdateResult<R> = Option<Stamped<R>>;

type Waiting<R> = PendingReply<UpdateResult<R>>;

/// The change that a call requests.
pub(crate) enum UpdateRequest {
    Begin(Begin, ReplyTo<UpdateResult<BeginReply>>),
    Release(Release, ReplyTo<UpdateResult<ReleaseReply>>),
    Claim(Box<Claim>, ReplyTo<UpdateResult<ClaimReply>>),
}

pub(crate) struct PendingCall {
    pub(crate) address: Address,
    pub(crate) request: UpdateRequest,
}

/// An operation that is batched here.
pub(crate) trait BatchedUpdate: Sized {
    type Reply;
    fn request(&self, reply_to: ReplyTo<UpdateResult<Self::Reply>>) -> UpdateRequest;
}

macro_rules! batched_updates {
    ($($op:ident, $reply:ident, $wrap:expr;)*) => {$(
        impl BatchedUpdate for $op {
            type Reply = $reply;
            fn request(&self, reply_to: ReplyTo<UpdateResult<$reply>>) -> UpdateRequest {
                UpdateRequest::$op($wrap(self.clone()), reply_to)
            }
        }
    )*};
}

batched_updates! {
    Begin, BeginReply, std::convert::identity;
    Release, ReleaseReply, std::convert::identity;
    Claim, ClaimReply, Box::new;
}

impl PendingCall {
    pub(crate) fn new<O: BatchedUpdate>(address: &Address, op: &O) -> (Self, Waiting<O::Reply>) {
        let (reply_to, receiver) = oneshot::channel();
        (Self { address: address.clone(), request: op.request(reply_to) }, receiver)
    }

    fn operation(&self) -> &'static str {
        match self.request {
            UpdateRequest::Begin(..) => "begin",
            UpdateRequest::Release(..) => "release",
            UpdateRequest::Claim(..) => "claim",
        }
    }

    fn grant(&self) -> Option<Grant> {
        match &self.request {
            UpdateRequest::Begin(begin, _) => Some(begin.grant),
            UpdateRequest::Release(release, _) => Some(release.grant),
            UpdateRequest::Claim(..) => None,
        }
    }

    fn claim(&self) -> Option<&Claim> {
        match &self.request {
            UpdateRequest::Claim(claim, _) => Some(claim),
            _ => None,
        }
    }

    fn claim_id(&self) -> sentinel_core::ClaimId {
        match &self.request {
            UpdateRequest::Begin(begin, _) => begin.grant.claim_id,
            UpdateRequest::Release(release, _) => release.grant.claim_id,
            UpdateRequest::Claim(claim, _) => claim.claim_id,
        }
    }

    fn flag(&self) -> bool {
        match &self.request {
            UpdateRequest::Begin(..) => false,
            UpdateRequest::Release(release, _) => release.vouched,
            UpdateRequest::Claim(claim, _) => claim.phase == Phase::Executing,
        }
    }

    fn reply(self, changed: Result<Option<&BatchRow>, StoreError>) {
        fn stamped<R>(row: &BatchRow, reply: R) -> Stamped<R> {
            Stamped { reply, stamp: row.stamp }
        }
        // A caller that went away gets no reply.
        match self.request {
            UpdateRequest::Begin(_, reply_to) => {
                let done = changed.map(|row| row.map(|row| stamped(row, BeginReply::Begun(row.granted))));
                drop(reply_to.send(done));
            }
            UpdateRequest::Release(_, reply_to) => {
                let done = changed.map(|row| row.map(|row| stamped(row, ReleaseReply::Released)));
                drop(reply_to.send(done));
            }
            UpdateRequest::Claim(_, reply_to) => {
                let done = changed.map(|row| row.map(|row| stamped(row, ClaimReply::Granted(row.granted))));
                drop(reply_to.send(done));
            }
        }
    }
}

pub(crate) struct UpdateExecutor {
    pub(crate) sql: Arc<Sql>,
    pub(crate) offset: Arc<AtomicI64>,
}

impl StatementExecutor for UpdateExecutor {
    type Item = PendingCall;

    /// An address is in a statement once; the second goes into the next statement.
    fn take_batch(&self, waiting: &mut VecDeque<PendingCall>, max: usize) -> Vec<PendingCall> {
        let (mut addresses, mut taken) = (SeenKeys::default(), 0);
        take_fitting(waiting, |item| {
            let fits = taken < max && addresses.insert(addresses.hash(&item.address));
            taken += usize::from(fits);
            fits
        })
    }

    async fn execute(&self, connection: &mut Connection, mut batch: Vec<PendingCall>) {
        if batch.len() > 1 {
            return self.execute_many(connection, batch).await;
        }
        let Some(PendingCall { address, request }) = batch.pop() else { return };
        let now = self.offset.load(Ordering::Relaxed);
        match request {
            UpdateRequest::Begin(op, reply_to) => {
                drop(
                    reply_to.send(or_alone(transition::run(connection, &self.sql, now, &address, &op).await)),
                );
            }
            UpdateRequest::Release(op, reply_to) => {
                drop(
                    reply_to.send(or_alone(transition::run(connection, &self.sql, now, &address, &op).await)),
                );
            }
            UpdateRequest::Claim(op, reply_to) => {
                drop(
                    reply_to
                        .send(or_alone(transition::run(connection, &self.sql, now, &address, &*op).await)),
                );
            }
        }
    }

    fn refuse(&self, item: PendingCall, error: StoreError) {
        item.reply(Err(error));
    }
}

/// What was rolled back is sent once more, on a connection that may wait for a lock.
fn or_alone<R>(
    done: Result<Option<Stamped<R>>, transition::CallError>,
) -> Result<UpdateResult<R>, StoreError> {
    match done {
        Ok(done) => Ok(done),
        Err(transition::CallError::Failed(StatementError::RolledBack(_))) => Ok(None),
        Err(call_error) => Err(call_error.into()),
    }
}

/// The row that the statement returns for one call that it changed.
struct BatchRow {
    stamp: Stamp,
    granted: Granted,
    last_event: i64,
}

impl UpdateExecutor {
    async fn execute_many(&self, connection: &mut Connection, batch: Vec<PendingCall>) {
        let rows = match connection.run(self.query(&batch)).await {
            Ok(rows) => rows,
            // One of them, or a lock, is at fault, and nothing came of any: each goes out alone.
            Err(StatementError::RolledBack(_)) => Vec::new(),
            Err(failure) => return self.refuse_all(batch, &failure.into()),
        };
        let mut rows_by_call: Vec<Option<BatchRow>> = batch.iter().map(|_| None).collect();
        for row in &rows {
            match read(row) {
                Ok((n, read)) => {
                    if let (Some(slot), Some(item)) = (rows_by_call.get_mut(n), batch.get(n)) {
                        trim::after(connection, &self.sql, &item.address, read.last_event).await;
                        *slot = Some(read);
                    }
                }
                Err(Unreadable(what)) => {
                    tracing::error!(
                        what,
                        "a statement returned an impossible result: its requests are \
                        sent one by one"
                    )
                }
            }
        }
        for (item, changed) in batch.into_iter().zip(&rows_by_call) {
            item.reply(Ok(changed.as_ref()));
        }
    }

    fn query<'q>(&self, batch: &'q [PendingCall]) -> Query<'q> {
        fn column<'q, T>(batch: &'q [PendingCall], value: impl Fn(&'q PendingCall) -> T) -> Vec<T> {
            batch.iter().map(value).collect()
        }
        let of_claim = |item: &'q PendingCall| item.claim();
        sqlx::query(self.sql.get(Statement::Update))
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(column(batch, PendingCall::operation))
            .bind(column(batch, |item| item.address.namespace.as_str()))
            .bind(column(batch, |item| item.address.kind.as_str()))
            .bind(column(batch, |item| item.address.key.as_str()))
            .bind(column(batch, |item| item.grant().map(|grant| integer(grant.token.get()))))
            .bind(column(batch, |item| uuid(item.claim_id().bits())))
            .bind(column(batch, |item| of_claim(item).map(|claim| micros(claim.terms.ttl()))))
            .bind(column(batch, |item| of_claim(item).map(|claim| micros(claim.terms.hard_ttl()))))
            .bind(column(batch, |item| of_claim(item).and_then(|claim| claim.retention.map(micros))))
            .bind(column(batch, |item| {
                of_claim(item)
                    .and_then(|claim| claim.fingerprint.as_ref())
                    .map(|text| text.as_str().as_bytes())
            }))
            .bind(column(batch, |item| of_claim(item).map(|claim| claim.worker.as_str())))
            .bind(column(batch, PendingCall::flag))
            .bind(column(batch, |item| of_claim(item).map(|claim| micros(claim.terms.late_effects()))))
            .bind(column(batch, |item| of_claim(item).and_then(|claim| transition::accepted(&claim.accepts))))
            .bind(column(batch, |item| {
                of_claim(item).and_then(|claim| claim.cause.as_ref()).map(ToString::to_string)
            }))
            .bind(column(batch, |item| {
                of_claim(item).and_then(|claim| claim.about.as_ref()).map(|text| text.as_str())
            }))
    }
}

fn read(row: &PgRow) -> Result<(usize, BatchRow), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let n: i64 = cells.take()?;
    let (rev, token, now) = (cells.number()?, cells.token()?, cells.instant()?);
    let state = cells.state()?.ok_or_else(|| Unreadable("no state".into()))?;
    let incarnation = cells.number()?;
    let (lease_until, hard_until) = (cells.instant()?, cells.instant()?);
    let granted = Granted { token, state, incarnation, lease_until, hard_until };
    let last_event = cells.take()?;
    let n = usize::try_from(n - 1).map_err(|_| Unreadable(format!("row {n}")))?;
    Ok((n, BatchRow { stamp: Stamp { now, rev, token, state, changed: true }, granted, last_event }))
}

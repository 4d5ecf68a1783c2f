//! The lane for what changes a row that is there and needs little said: begins, releases, and claims of rows that are free
//! or lapsed. Leases live on it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sentinel_core::operation::*;
use sentinel_core::{Address, Grant, StoreError};
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::lane::{Answer, Freight, Guests};
use crate::link::{Link, Query};
use crate::row::{Cells, Unreadable, integer, micros, uuid};
use crate::statement::{Sql, Statement};
use crate::transition;
use crate::trim;

/// What came of an item. None: it goes out alone.
pub(crate) type Turned<R> = Option<Stamped<R>>;

type Waiting<R> = oneshot::Receiver<Result<Turned<R>, StoreError>>;

/// What is asked of a row.
pub(crate) enum Asked {
    Begin(Begin, Answer<Turned<BeginReply>>),
    Release(Release, Answer<Turned<ReleaseReply>>),
    Claim(Box<Claim>, Answer<Turned<ClaimReply>>),
}

pub(crate) struct Item {
    pub(crate) address: Address,
    pub(crate) asked: Asked,
}

/// An operation that this lane carries.
pub(crate) trait Turns: Sized {
    type Reply;
    fn asked(&self, answer: Answer<Turned<Self::Reply>>) -> Asked;
}

macro_rules! turns {
    ($($op:ident, $reply:ident, $wrap:expr;)*) => {$(
        impl Turns for $op {
            type Reply = $reply;
            fn asked(&self, answer: Answer<Turned<$reply>>) -> Asked {
                Asked::$op($wrap(self.clone()), answer)
            }
        }
    )*};
}

turns! {
    Begin, BeginReply, std::convert::identity;
    Release, ReleaseReply, std::convert::identity;
    Claim, ClaimReply, Box::new;
}

impl Item {
    pub(crate) fn new<O: Turns>(address: &Address, op: &O) -> (Self, Waiting<O::Reply>) {
        let (answer, turned) = oneshot::channel();
        (Self { address: address.clone(), asked: op.asked(answer) }, turned)
    }

    fn name(&self) -> &'static str {
        match self.asked {
            Asked::Begin(..) => "begin",
            Asked::Release(..) => "release",
            Asked::Claim(..) => "claim",
        }
    }

    fn grant(&self) -> Option<Grant> {
        match &self.asked {
            Asked::Begin(begin, _) => Some(begin.grant),
            Asked::Release(release, _) => Some(release.grant),
            Asked::Claim(..) => None,
        }
    }

    fn claim(&self) -> Option<&Claim> {
        match &self.asked {
            Asked::Claim(claim, _) => Some(claim),
            _ => None,
        }
    }

    fn claim_id(&self) -> sentinel_core::ClaimId {
        match &self.asked {
            Asked::Begin(begin, _) => begin.grant.claim_id,
            Asked::Release(release, _) => release.grant.claim_id,
            Asked::Claim(claim, _) => claim.claim_id,
        }
    }

    fn flag(&self) -> bool {
        match &self.asked {
            Asked::Begin(..) => false,
            Asked::Release(release, _) => release.vouched,
            Asked::Claim(claim, _) => claim.phase == Phase::Executing,
        }
    }

    fn answer(self, told: Result<Option<&Told>, StoreError>) {
        fn stamped<R>(told: &Told, reply: R) -> Stamped<R> {
            Stamped { reply, stamp: told.stamp }
        }
        // A caller that went away does not hear of it.
        match self.asked {
            Asked::Begin(_, answer) => {
                let done = told.map(|told| told.map(|told| stamped(told, BeginReply::Begun(told.granted))));
                drop(answer.send(done));
            }
            Asked::Release(_, answer) => {
                let done = told.map(|told| told.map(|told| stamped(told, ReleaseReply::Released)));
                drop(answer.send(done));
            }
            Asked::Claim(_, answer) => {
                let done = told.map(|told| told.map(|told| stamped(told, ClaimReply::Granted(told.granted))));
                drop(answer.send(done));
            }
        }
    }
}

pub(crate) struct TurnLane {
    pub(crate) sql: Arc<Sql>,
    pub(crate) offset: Arc<AtomicI64>,
}

impl Freight for TurnLane {
    type Item = Item;

    /// An address stands once in a statement; the second goes into the next.
    fn load(&self, waiting: &mut VecDeque<Item>, cap: usize) -> Vec<Item> {
        let mut addresses = Guests::default();
        let (mut batch, mut later) = (Vec::new(), VecDeque::new());
        while let Some(item) = waiting.pop_front() {
            let address = addresses.name(&item.address);
            if batch.len() < cap && !addresses.has(address) {
                addresses.admit(address);
                batch.push(item);
            } else {
                later.push_back(item);
            }
        }
        *waiting = later;
        batch
    }

    async fn ship(&self, link: &mut Link, mut batch: Vec<Item>) {
        if batch.len() > 1 {
            return self.turn(link, batch).await;
        }
        let Some(Item { address, asked }) = batch.pop() else { return };
        let now = self.offset.load(Ordering::Relaxed);
        match asked {
            Asked::Begin(op, answer) => {
                drop(answer.send(or_alone(transition::run(link, &self.sql, now, &address, &op).await)));
            }
            Asked::Release(op, answer) => {
                drop(answer.send(or_alone(transition::run(link, &self.sql, now, &address, &op).await)));
            }
            Asked::Claim(op, answer) => {
                drop(answer.send(or_alone(transition::run(link, &self.sql, now, &address, &*op).await)));
            }
        }
    }

    fn refuse(&self, item: Item, error: StoreError) {
        item.answer(Err(error));
    }
}

/// What was rolled back goes out once more, on a connection that may wait for a lock.
fn or_alone<R>(done: Result<Option<Stamped<R>>, transition::Unanswered>) -> Result<Turned<R>, StoreError> {
    match done {
        Ok(done) => Ok(done),
        Err(transition::Unanswered::Failed(Failure::RolledBack(_))) => Ok(None),
        Err(unanswered) => Err(unanswered.into()),
    }
}

/// What a statement says of one item that it changed.
struct Told {
    stamp: Stamp,
    granted: Granted,
    last_event: i64,
}

impl TurnLane {
    async fn turn(&self, link: &mut Link, batch: Vec<Item>) {
        let rows = match link.run(self.query(&batch)).await {
            Ok(rows) => rows,
            // One of them, or a lock, is at fault, and nothing came of any: each goes out alone.
            Err(Failure::RolledBack(_)) => Vec::new(),
            Err(failure) => {
                let error = StoreError::from(failure);
                return batch.into_iter().for_each(|item| item.answer(Err(error.clone())));
            }
        };
        let mut told: Vec<Option<Told>> = batch.iter().map(|_| None).collect();
        for row in &rows {
            match read(row) {
                Ok((n, read)) => {
                    if let (Some(slot), Some(item)) = (told.get_mut(n), batch.get(n)) {
                        trim::after(link, &self.sql, &item.address, read.last_event).await;
                        *slot = Some(read);
                    }
                }
                Err(Unreadable(what)) => {
                    tracing::error!(what, "a statement answered what it cannot: its items go out alone")
                }
            }
        }
        for (item, told) in batch.into_iter().zip(&told) {
            item.answer(Ok(told.as_ref()));
        }
    }

    fn query<'q>(&self, batch: &'q [Item]) -> Query<'q> {
        fn column<'q, T>(batch: &'q [Item], value: impl Fn(&'q Item) -> T) -> Vec<T> {
            batch.iter().map(value).collect()
        }
        let of_claim = |item: &'q Item| item.claim();
        sqlx::query(self.sql.get(Statement::Turn))
            .bind(self.offset.load(Ordering::Relaxed))
            .bind(column(batch, Item::name))
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
            .bind(column(batch, Item::flag))
            .bind(column(batch, |item| of_claim(item).map(|claim| micros(claim.terms.late_effects()))))
            .bind(column(batch, |item| of_claim(item).and_then(|claim| transition::accepted(&claim.accepts))))
    }
}

fn read(row: &PgRow) -> Result<(usize, Told), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let n: i64 = cells.take()?;
    let (rev, token, now) = (cells.number()?, cells.token()?, cells.instant()?);
    let state = cells.state()?.ok_or_else(|| Unreadable("no state".into()))?;
    let incarnation = cells.number()?;
    let (lease_until, hard_until) = (cells.instant()?, cells.instant()?);
    let granted = Granted { token, state, incarnation, lease_until, hard_until };
    let last_event = cells.take()?;
    let n = usize::try_from(n - 1).map_err(|_| Unreadable(format!("row {n}")))?;
    Ok((n, Told { stamp: Stamp { now, rev, token, state, changed: true }, granted, last_event }))
}

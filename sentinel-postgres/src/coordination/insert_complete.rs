//! Claims of addresses without a row, and completions: batched into one statement, so that they share a round trip and
//! a commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, Kind, State, StoreError, Token, Verdict};
use sentinel_store_kit::{PendingReply, ReplyTo, SeenKeys, take_fitting};
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use super::row::{Cells, Unreadable, integer, micros, uuid};
use super::statement::{Sql, Statement};
use super::{transition, trim};
use crate::batch::executor::StatementExecutor;
use crate::connection::session::{Connection, Query};
use crate::error::StatementError;

/// The result of the statement for one call.
#[derive(Debug)]
pub(crate) enum ItemResult<T> {
    /// It took effect.
    Done(Stamped<T>),
    /// It changed nothing, and the statement does not report why.
    Unchanged,
    /// Nothing was sent for it, or all was rolled back because of a neighbour or a lock: it goes out alone.
    Alone,
}

pub(crate) enum PendingCall {
    Claim { address: Address, claim: Box<Claim>, reply_to: ReplyTo<ItemResult<ClaimReply>> },
    Complete { address: Address, complete: Complete, reply_to: ReplyTo<ItemResult<CompleteReply>> },
}

type Waiting<T> = PendingReply<ItemResult<T>>;

impl PendingCall {
    pub(crate) fn claim(address: Address, claim: Claim) -> (Self, Waiting<ClaimReply>) {
        let (reply_to, receiver) = oneshot::channel();
        (Self::Claim { address, claim: Box::new(claim), reply_to }, receiver)
    }

    pub(crate) fn complete(address: Address, complete: Complete) -> (Self, Waiting<CompleteReply>) {
        let (reply_to, receiver) = oneshot::channel();
        (Self::Complete { address, complete, reply_to }, receiver)
    }

    fn address(&self) -> &Address {
        match self {
            Self::Claim { address, .. } | Self::Complete { address, .. } => address,
        }
    }

    fn claim_id(&self) -> ClaimId {
        match self {
            Self::Claim { claim, .. } => claim.claim_id,
            Self::Complete { complete, .. } => complete.grant.claim_id,
        }
    }

    /// How many bytes of a result it adds to a statement.
    fn weight(&self) -> usize {
        match self {
            Self::Claim { .. } => 0,
            Self::Complete { complete, .. } => complete.result.payload.bytes.len(),
        }
    }

    fn leave(self, alone: bool) {
        match self {
            Self::Claim { reply_to, .. } => drop(reply_to.send(Ok(left(alone)))),
            Self::Complete { reply_to, .. } => drop(reply_to.send(Ok(left(alone)))),
        }
    }
}

fn left<T>(alone: bool) -> ItemResult<T> {
    if alone { ItemResult::Alone } else { ItemResult::Unchanged }
}

/// The most bytes of results in one statement.
const MAX_RESULT_BYTES: usize = 8 << 20;

pub(crate) struct InsertCompleteExecutor {
    pub(crate) sql: Arc<Sql>,
    pub(crate) offset: Arc<AtomicI64>,
}

impl StatementExecutor for InsertCompleteExecutor {
    type Item = PendingCall;

    /// An address, and a claim id, are in a statement once; the second goes into the next statement.
    fn take_batch(&self, waiting: &mut VecDeque<PendingCall>, max: usize) -> Vec<PendingCall> {
        if waiting.len() == 1 {
            return waiting.drain(..).collect();
        }
        let (mut addresses, mut ids) = (SeenKeys::default(), SeenKeys::default());
        let (mut taken, mut weight) = (0, 0);
        let mut batch = take_fitting(waiting, |item| {
            let heavier = weight + item.weight();
            let has_room = taken < max && (taken == 0 || heavier <= MAX_RESULT_BYTES);
            let (address, id) = (addresses.hash(item.address()), ids.hash(&item.claim_id()));
            let fits = has_room && !addresses.contains(address) && !ids.contains(id);
            if fits {
                addresses.insert(address);
                ids.insert(id);
                (taken, weight) = (taken + 1, heavier);
            }
            fits
        });
        batch.sort_unstable_by(|a, b| a.address().cmp(b.address()));
        batch
    }

    async fn execute(&self, connection: &mut Connection, mut batch: Vec<PendingCall>) {
        if batch.len() > 1 {
            return self.execute_many(connection, batch).await;
        }
        match batch.pop() {
            Some(PendingCall::Claim { address, claim, reply_to }) => {
                let done =
                    transition::claim_absent(connection, &self.sql, self.now(), &address, &claim).await;
                let done = done.map(|granted| granted.map_or(ItemResult::Unchanged, ItemResult::Done));
                let _ = reply_to.send(or_alone(done));
            }
            Some(PendingCall::Complete { address, complete, reply_to }) => {
                let done = self.complete_one(connection, &address, &complete).await;
                let done = done.map(|done| done.map_or(ItemResult::Alone, ItemResult::Done));
                let _ = reply_to.send(or_alone(done));
            }
            None => {}
        }
    }

    fn refuse(&self, item: PendingCall, error: StoreError) {
        match item {
            PendingCall::Claim { reply_to, .. } => drop(reply_to.send(Err(error))),
            PendingCall::Complete { reply_to, .. } => drop(reply_to.send(Err(error))),
        }
    }
}

/// What was rolled back is sent once more, on a connection that may wait for a lock.
fn or_alone<T>(done: Result<ItemResult<T>, transition::CallError>) -> Result<ItemResult<T>, StoreError> {
    match done {
        Ok(done) => Ok(done),
        Err(transition::CallError::Failed(StatementError::RolledBack(_))) => Ok(ItemResult::Alone),
        Err(call_error) => Err(call_error.into()),
    }
}

impl InsertCompleteExecutor {
    fn now(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    async fn complete_one(
        &self,
        connection: &mut Connection,
        address: &Address,
        complete: &Complete,
    ) -> Result<Option<Stamped<CompleteReply>>, transition::CallError> {
        match transition::complete_first_run(connection, &self.sql, self.now(), address, complete).await {
            Ok(None) => transition::run(connection, &self.sql, self.now(), address, complete).await,
            done => done,
        }
    }

    async fn execute_many(&self, connection: &mut Connection, batch: Vec<PendingCall>) {
        let failure = match connection.run(self.query(&batch)).await {
            Ok(rows) => {
                self.trim(connection, &batch, &rows).await;
                return reply_to_all(batch, &rows);
            }
            Err(failure) => failure,
        };
        match failure {
            // One of them, or a lock, is at fault, and nothing came of any: each goes out alone.
            StatementError::RolledBack(_) => batch.into_iter().for_each(|item| item.leave(true)),
            failure => self.refuse_all(batch, &failure.into()),
        }
    }

    /// Keeps the events of what was completed within their limit.
    async fn trim(&self, connection: &mut Connection, batch: &[PendingCall], rows: &[PgRow]) {
        let completed = |row| {
            let (n, last) =
                (Cells::from(row, 0).take::<Option<i64>>(), Cells::from(row, 6).take::<Option<i64>>());
            n.ok().flatten().zip(last.ok().flatten())
        };
        for (n, last) in rows.iter().filter_map(completed) {
            let completions = batch.iter().filter(|item| matches!(item, PendingCall::Complete { .. }));
            let nth = usize::try_from(n - 1).ok().and_then(|n| completions.clone().nth(n));
            if let Some(item) = nth {
                trim::after(connection, &self.sql, item.address(), last).await;
            }
        }
    }

    fn query<'q>(&self, batch: &'q [PendingCall]) -> Query<'q> {
        let mut completions: Vec<(&Address, &Complete)> = Vec::new();
        let mut claims: Vec<(&Address, &Claim)> = Vec::new();
        for item in batch {
            match item {
                PendingCall::Claim { address, claim, .. } => claims.push((address, claim)),
                PendingCall::Complete { address, complete, .. } => completions.push((address, complete)),
            }
        }
        let query = sqlx::query(self.sql.get(Statement::InsertComplete)).bind(self.now());
        bind_claims(bind_completions(query, &completions), &claims)
    }
}

fn bind_completions<'q>(query: Query<'q>, of: &[(&'q Address, &'q Complete)]) -> Query<'q> {
    fn column<'q, T>(
        of: &[(&'q Address, &'q Complete)],
        value: impl Fn(&'q Address, &'q Complete) -> T,
    ) -> Vec<T> {
        of.iter().map(|(address, complete)| value(address, complete)).collect()
    }
    query
        .bind(column(of, |a, _| a.namespace.as_str()))
        .bind(column(of, |a, _| a.key.as_str()))
        .bind(column(of, |_, c| integer(c.grant.token.get())))
        .bind(column(of, |_, c| uuid(c.grant.claim_id.bits())))
        .bind(column(of, |_, c| c.result.verdict == Verdict::Failure))
        .bind(column(of, |_, c| c.result.code))
        .bind(column(of, |_, c| c.result.omitted))
        .bind(column(of, |_, c| c.result.payload.content_type.as_str()))
        .bind(column(of, |_, c| c.result.payload.bytes.as_ref()))
}

fn bind_claims<'q>(query: Query<'q>, of: &[(&'q Address, &'q Claim)]) -> Query<'q> {
    fn column<'q, T>(of: &[(&'q Address, &'q Claim)], value: impl Fn(&'q Address, &'q Claim) -> T) -> Vec<T> {
        of.iter().map(|(address, claim)| value(address, claim)).collect()
    }
    query
        .bind(column(of, |a, _| a.namespace.as_str()))
        .bind(column(of, |a, _| a.kind == Kind::Lease))
        .bind(column(of, |a, _| a.key.as_str()))
        .bind(column(of, |_, c| uuid(c.claim_id.bits())))
        .bind(column(of, |_, c| micros(c.terms.ttl())))
        .bind(column(of, |_, c| micros(c.terms.hard_ttl())))
        .bind(column(of, |_, c| c.retention.map(micros)))
        .bind(column(of, |_, c| c.fingerprint.as_ref().map(|text| text.as_str().as_bytes())))
        .bind(column(of, |_, c| c.worker.as_str()))
        .bind(column(of, |_, c| c.phase == Phase::Executing))
        .bind(column(of, |_, c| micros(c.terms.late_effects())))
        .bind(column(of, |_, c| transition::accepted(&c.accepts)))
        .bind(column(of, |_, c| c.cause.as_ref().map(ToString::to_string)))
        .bind(column(of, |_, c| c.about.as_ref().map(|text| text.as_str())))
}

/// The row that the statement returns for one call that it changed.
struct BatchRow {
    token: Token,
    stamp: (sentinel_core::StoreTime, u64),
    late: bool,
}

fn reply_to_all(batch: Vec<PendingCall>, rows: &[PgRow]) {
    let mut completed: HashMap<usize, BatchRow, foldhash::fast::RandomState> = HashMap::default();
    let mut granted: HashMap<u128, BatchRow, foldhash::fast::RandomState> = HashMap::default();
    for row in rows {
        match read(row) {
            Ok((Some(n), _, read)) => drop(completed.insert(n, read)),
            Ok((None, Some(id), read)) => drop(granted.insert(id, read)),
            Ok((None, None, _)) => {}
            Err(Unreadable(what)) => {
                tracing::error!(
                    what,
                    "a batch returned an impossible result: its records are read one \
                    by one"
                )
            }
        }
    }
    let mut n = 0;
    for item in batch {
        match item {
            PendingCall::Complete { reply_to, .. } => {
                n += 1;
                let _ = reply_to.send(Ok(completed.get(&n).map_or(ItemResult::Alone, done)));
            }
            PendingCall::Claim { claim, reply_to, .. } => {
                let row = granted.get(&claim.claim_id.bits());
                let done = row.map(|row| transition::freshly_granted(&claim, row.token, row.stamp.0));
                let _ = reply_to.send(Ok(done.map_or(ItemResult::Unchanged, ItemResult::Done)));
            }
        }
    }
}

fn read(row: &PgRow) -> Result<(Option<usize>, Option<u128>, BatchRow), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let n: Option<i64> = cells.take()?;
    let id = cells.id()?;
    let (token, now, rev) = (cells.token()?, cells.instant()?, cells.number()?);
    let late: Option<bool> = cells.take()?;
    let read = BatchRow { token, stamp: (now, rev), late: late.unwrap_or(false) };
    Ok((n.and_then(|n| usize::try_from(n).ok()), id, read))
}

fn done(row: &BatchRow) -> ItemResult<CompleteReply> {
    let (now, rev) = row.stamp;
    let stamp = Stamp { now, rev, token: row.token, state: State::Completed, changed: true };
    ItemResult::Done(Stamped { reply: CompleteReply::Recorded { late: row.late }, stamp })
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Grant, Key, Label, Namespace, Payload, RecordedResult, Terms};

    use super::*;
    use crate::parts::Names;

    fn executor() -> InsertCompleteExecutor {
        let names = Names::new("sentinel", "").unwrap();
        InsertCompleteExecutor {
            sql: Arc::new(Sql::new(names, None, sentinel_core::EventLimit::default())),
            offset: Arc::default(),
        }
    }

    fn address(key: &str) -> Address {
        Address::execution(Namespace::new("tests").unwrap(), Key::new(key).unwrap())
    }

    fn claim(key: &str, claim_id: ClaimId) -> PendingCall {
        let terms =
            Terms::new(std::time::Duration::from_secs(30), std::time::Duration::from_secs(60)).unwrap();
        let worker = Label::new("worker").unwrap();
        let claim = Claim {
            claim_id,
            terms,
            retention: None,
            fingerprint: None,
            worker,
            phase: Phase::Executing,
            accepts: sentinel_core::Accepts::any(),
            cause: None,
            about: None,
        };
        PendingCall::claim(address(key), claim).0
    }

    fn complete(key: &str, bytes: usize) -> PendingCall {
        let grant = Grant { token: Token::NONE, claim_id: ClaimId::random() };
        let result = RecordedResult::success(Payload::new("text/plain", vec![b'r'; bytes]));
        PendingCall::complete(address(key), Complete { grant, result }).0
    }

    /// The keys of each batch, until nothing is left.
    fn batches(items: Vec<PendingCall>, cap: usize) -> Vec<Vec<String>> {
        let (executor, mut waiting) = (executor(), VecDeque::from(items));
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let batch = executor.take_batch(&mut waiting, cap);
            batches.push(batch.iter().map(|item| item.address().key.to_string()).collect());
        }
        batches
    }

    #[test]
    fn a_batch_is_in_the_order_of_its_addresses() {
        let items = || ["c", "a", "b"].map(|key| claim(key, ClaimId::random())).into();
        assert_eq!(batches(items(), 9), [["a", "b", "c"]]);
        assert_eq!(batches(items(), 2), [vec!["a", "c"], vec!["b"]]);
    }

    #[test]
    fn an_address_and_a_claim_id_are_in_a_statement_once() {
        let (one, other) = (ClaimId::random(), ClaimId::random());
        let items = vec![claim("a", one), claim("a", other), claim("b", one)];
        assert_eq!(batches(items, 9), [vec!["a"], vec!["a", "b"]]);
    }

    #[test]
    fn the_results_of_a_statement_are_bounded_and_one_result_always_fits() {
        let half = MAX_RESULT_BYTES / 2;
        let full = batches(vec![complete("a", half), complete("b", half), complete("c", 1)], 9);
        assert_eq!(full, [vec!["a", "b"], vec!["c"]]);
        let heavy = batches(vec![complete("a", MAX_RESULT_BYTES + 1), complete("b", 1)], 9);
        assert_eq!(heavy, [["a"], ["b"]]);
        let late =
            batches(vec![complete("a", half), complete("b", half + 1), claim("c", ClaimId::random())], 9);
        assert_eq!(late, [vec!["a", "c"], vec!["b"]]);
    }
}

//! The lane for claims and completions: mixed in one statement, so that they share a round trip and a commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, Kind, State, StoreError, Token, Verdict};
use sqlx::postgres::PgRow;
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::lane::{Answer, Freight, Guests};
use crate::link::{Link, Query};
use crate::row::{Cells, Unreadable, integer, micros, uuid};
use crate::statement::{Sql, Statement};
use crate::transition;
use crate::trim;

/// What a flush made of an item.
#[derive(Debug)]
pub(crate) enum Flushed<T> {
    /// It took effect.
    Done(Stamped<T>),
    /// It changed nothing, and the flush does not say why.
    Unchanged,
    /// Nothing was sent for it, or all was rolled back because of a neighbour or a lock: it goes out alone.
    Alone,
}

pub(crate) enum Item {
    Claim { address: Address, claim: Box<Claim>, answer: Answer<Flushed<ClaimReply>> },
    Complete { address: Address, complete: Complete, answer: Answer<Flushed<CompleteReply>> },
}

type Waiting<T> = oneshot::Receiver<Result<Flushed<T>, StoreError>>;

impl Item {
    pub(crate) fn claim(address: Address, claim: Claim) -> (Self, Waiting<ClaimReply>) {
        let (answer, waiting) = oneshot::channel();
        (Self::Claim { address, claim: Box::new(claim), answer }, waiting)
    }

    pub(crate) fn complete(address: Address, complete: Complete) -> (Self, Waiting<CompleteReply>) {
        let (answer, waiting) = oneshot::channel();
        (Self::Complete { address, complete, answer }, waiting)
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

    /// The bytes of a statement that it is good for.
    fn weight(&self) -> usize {
        match self {
            Self::Claim { .. } => 0,
            Self::Complete { complete, .. } => complete.result.payload.bytes.len(),
        }
    }

    fn leave(self, alone: bool) {
        match self {
            Self::Claim { answer, .. } => drop(answer.send(Ok(left(alone)))),
            Self::Complete { answer, .. } => drop(answer.send(Ok(left(alone)))),
        }
    }
}

fn left<T>(alone: bool) -> Flushed<T> {
    if alone { Flushed::Alone } else { Flushed::Unchanged }
}

/// The most bytes of results in one statement.
const HEAVIEST: usize = 8 << 20;

pub(crate) struct Flushes {
    pub(crate) sql: Arc<Sql>,
    pub(crate) offset: Arc<AtomicI64>,
}

impl Freight for Flushes {
    type Item = Item;

    /// An address, and a claim id, stand once in a statement; the second goes into the next.
    fn load(&self, waiting: &mut VecDeque<Item>, cap: usize) -> Vec<Item> {
        if waiting.len() == 1 {
            return waiting.drain(..).collect();
        }
        let (mut addresses, mut ids) = (Guests::default(), Guests::default());
        let (mut batch, mut later, mut weight) = (Vec::new(), VecDeque::new(), 0);
        while let Some(item) = waiting.pop_front() {
            let heavier = weight + item.weight();
            let fits = batch.len() < cap && (batch.is_empty() || heavier <= HEAVIEST);
            let (address, id) = (addresses.name(item.address()), ids.name(&item.claim_id()));
            if fits && !addresses.has(address) && !ids.has(id) {
                addresses.admit(address);
                ids.admit(id);
                weight = heavier;
                batch.push(item);
            } else {
                later.push_back(item);
            }
        }
        *waiting = later;
        batch.sort_unstable_by(|a, b| a.address().cmp(b.address()));
        batch
    }

    async fn ship(&self, link: &mut Link, mut batch: Vec<Item>) {
        if batch.len() > 1 {
            return self.flush(link, batch).await;
        }
        match batch.pop() {
            Some(Item::Claim { address, claim, answer }) => {
                let done = transition::claim_absent(link, &self.sql, self.now(), &address, &claim).await;
                let done = done.map(|granted| granted.map_or(Flushed::Unchanged, Flushed::Done));
                let _ = answer.send(or_alone(done));
            }
            Some(Item::Complete { address, complete, answer }) => {
                let done = self.complete_one(link, &address, &complete).await;
                let done = done.map(|done| done.map_or(Flushed::Alone, Flushed::Done));
                let _ = answer.send(or_alone(done));
            }
            None => {}
        }
    }

    fn refuse(&self, item: Item, error: StoreError) {
        match item {
            Item::Claim { answer, .. } => drop(answer.send(Err(error))),
            Item::Complete { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// What was rolled back goes out once more, on a connection that may wait for a lock.
fn or_alone<T>(done: Result<Flushed<T>, transition::Unanswered>) -> Result<Flushed<T>, StoreError> {
    match done {
        Ok(flushed) => Ok(flushed),
        Err(transition::Unanswered::Failed(Failure::RolledBack(_))) => Ok(Flushed::Alone),
        Err(unanswered) => Err(unanswered.into()),
    }
}

impl Flushes {
    fn now(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    async fn complete_one(
        &self,
        link: &mut Link,
        address: &Address,
        complete: &Complete,
    ) -> Result<Option<Stamped<CompleteReply>>, transition::Unanswered> {
        match transition::finish(link, &self.sql, self.now(), address, complete).await {
            Ok(None) => transition::run(link, &self.sql, self.now(), address, complete).await,
            done => done,
        }
    }

    async fn flush(&self, link: &mut Link, batch: Vec<Item>) {
        let failure = match link.run(self.query(&batch)).await {
            Ok(rows) => {
                self.trim(link, &batch, &rows).await;
                return answer(batch, &rows);
            }
            Err(failure) => failure,
        };
        match failure {
            // One of them, or a lock, is at fault, and nothing came of any: each goes out alone.
            Failure::RolledBack(_) => batch.into_iter().for_each(|item| item.leave(true)),
            failure => {
                let error = StoreError::from(failure);
                batch.into_iter().for_each(|item| self.refuse(item, error.clone()));
            }
        }
    }

    /// Keeps the events of what was completed within their limit.
    async fn trim(&self, link: &mut Link, batch: &[Item], rows: &[PgRow]) {
        let completed = |row| {
            let (n, last) =
                (Cells::from(row, 0).take::<Option<i64>>(), Cells::from(row, 6).take::<Option<i64>>());
            n.ok().flatten().zip(last.ok().flatten())
        };
        for (n, last) in rows.iter().filter_map(completed) {
            let completions = batch.iter().filter(|item| matches!(item, Item::Complete { .. }));
            let nth = usize::try_from(n - 1).ok().and_then(|n| completions.clone().nth(n));
            if let Some(item) = nth {
                trim::after(link, &self.sql, item.address(), last).await;
            }
        }
    }

    fn query<'q>(&self, batch: &'q [Item]) -> Query<'q> {
        let mut completions: Vec<(&Address, &Complete)> = Vec::new();
        let mut claims: Vec<(&Address, &Claim)> = Vec::new();
        for item in batch {
            match item {
                Item::Claim { address, claim, .. } => claims.push((address, claim)),
                Item::Complete { address, complete, .. } => completions.push((address, complete)),
            }
        }
        let query = sqlx::query(self.sql.get(Statement::Flush)).bind(self.now());
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
}

/// What a flush says of one item.
struct Told {
    token: Token,
    stamp: (sentinel_core::StoreTime, u64),
    late: bool,
}

fn answer(batch: Vec<Item>, rows: &[PgRow]) {
    let mut completed: HashMap<usize, Told, foldhash::fast::RandomState> = HashMap::default();
    let mut granted: HashMap<u128, Told, foldhash::fast::RandomState> = HashMap::default();
    for row in rows {
        match told(row) {
            Ok((Some(n), _, told)) => drop(completed.insert(n, told)),
            Ok((None, Some(id), told)) => drop(granted.insert(id, told)),
            Ok((None, None, _)) => {}
            Err(Unreadable(what)) => {
                tracing::error!(what, "a flush answered what it cannot: its items are looked at")
            }
        }
    }
    let mut n = 0;
    for item in batch {
        match item {
            Item::Complete { answer, .. } => {
                n += 1;
                let _ = answer.send(Ok(completed.get(&n).map_or(Flushed::Alone, done)));
            }
            Item::Claim { claim, answer, .. } => {
                let told = granted.get(&claim.claim_id.bits());
                let done = told.map(|told| transition::freshly_granted(&claim, told.token, told.stamp.0));
                let _ = answer.send(Ok(done.map_or(Flushed::Unchanged, Flushed::Done)));
            }
        }
    }
}

fn told(row: &PgRow) -> Result<(Option<usize>, Option<u128>, Told), Unreadable> {
    let mut cells = Cells::from(row, 0);
    let n: Option<i64> = cells.take()?;
    let id = cells.id()?;
    let (token, now, rev) = (cells.token()?, cells.instant()?, cells.number()?);
    let late: Option<bool> = cells.take()?;
    let told = Told { token, stamp: (now, rev), late: late.unwrap_or(false) };
    Ok((n.and_then(|n| usize::try_from(n).ok()), id, told))
}

fn done(told: &Told) -> Flushed<CompleteReply> {
    let (now, rev) = told.stamp;
    let stamp = Stamp { now, rev, token: told.token, state: State::Completed, changed: true };
    Flushed::Done(Stamped { reply: CompleteReply::Recorded { late: told.late }, stamp })
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Grant, Key, Label, Namespace, Payload, Recorded, Terms};

    use super::*;
    use crate::statement::Names;

    fn flushes() -> Flushes {
        let names = Names::new("sentinel", "").unwrap();
        Flushes {
            sql: Arc::new(Sql::new(names, None, sentinel_core::EventLimit::default())),
            offset: Arc::default(),
        }
    }

    fn address(key: &str) -> Address {
        Address::execution(Namespace::new("tests").unwrap(), Key::new(key).unwrap())
    }

    fn claim(key: &str, claim_id: ClaimId) -> Item {
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
        };
        Item::claim(address(key), claim).0
    }

    fn complete(key: &str, bytes: usize) -> Item {
        let grant = Grant { token: Token::NONE, claim_id: ClaimId::random() };
        let result = Recorded::success(Payload::new("text/plain", vec![b'r'; bytes]));
        Item::complete(address(key), Complete { grant, result }).0
    }

    /// The keys of each batch, until nothing is left.
    fn batches(items: Vec<Item>, cap: usize) -> Vec<Vec<String>> {
        let (flushes, mut waiting) = (flushes(), VecDeque::from(items));
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            let batch = flushes.load(&mut waiting, cap);
            batches.push(batch.iter().map(|item| item.address().key.to_string()).collect());
        }
        batches
    }

    #[test]
    fn what_goes_together_is_in_the_order_of_its_addresses() {
        let items = || ["c", "a", "b"].map(|key| claim(key, ClaimId::random())).into();
        assert_eq!(batches(items(), 9), [["a", "b", "c"]]);
        assert_eq!(batches(items(), 2), [vec!["a", "c"], vec!["b"]]);
    }

    #[test]
    fn an_address_and_a_claim_id_stand_once_in_a_statement() {
        let (one, other) = (ClaimId::random(), ClaimId::random());
        let items = vec![claim("a", one), claim("a", other), claim("b", one)];
        assert_eq!(batches(items, 9), [vec!["a"], vec!["a", "b"]]);
    }

    #[test]
    fn a_statement_has_so_many_bytes_of_results_and_one_result_in_any_case() {
        let half = HEAVIEST / 2;
        let full = batches(vec![complete("a", half), complete("b", half), complete("c", 1)], 9);
        assert_eq!(full, [vec!["a", "b"], vec!["c"]]);
        let heavy = batches(vec![complete("a", HEAVIEST + 1), complete("b", 1)], 9);
        assert_eq!(heavy, [["a"], ["b"]]);
        let late =
            batches(vec![complete("a", half), complete("b", half + 1), claim("c", ClaimId::random())], 9);
        assert_eq!(late, [vec!["a", "c"], vec!["b"]]);
    }
}

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Purge, Purged};
use sentinel_core::{
    Address, CoordinationStore, Event, Kind, Replays, State, StoreError, StoreTime, Token, Trouble,
};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::builder::{Parts, PostgresStoreBuilder};
use crate::heartbeat::{self, Beats};
use crate::lane::hot::{Flushed, Flushes, Item};
use crate::lane::jobs::Jobs;
use crate::lane::look::{Ask, Looks, Seen};
use crate::lane::turn::{self, TurnLane, Turns};
use crate::lane::{Lane, answered};
use crate::link::Patience;
use crate::statement::Statement;
use crate::transition::{self, Sent};
use crate::{probe, purge, read};

/// With so many claims and completions outstanding, two lanes share them, until fewer than the second number are. One
/// statement then runs while the answers of the other are handed out.
const BACKLOG: usize = 64;
const CALM: usize = 24;

/// How long a statement of many records waits for another's insert. What it waits for it sends again, one by one.
const BRIEF: Patience = Patience(Duration::from_millis(200));

/// Connections for statements on one record.
const SINGLES: usize = 4;

/// Connections for heartbeats: one for the many, one for those that wait for a lock.
const PULSES: usize = 2;

/// How often a claim looks again that keeps meeting another state than it saw.
const LOOKS: usize = 100;

/// A store in a PostgreSQL database. Cheap to clone: clones share their connections.
///
/// It owns its connections, eight at most and each opened when it is first needed, apart from any pool of yours: a pool
/// that is exhausted must not starve heartbeats. They live on the runtime of whoever used them first, and are opened again
/// on another if that runtime ends.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Arc<Parts>,
    hot: [Lane<Flushes>; 2],
    /// Whether both lanes are used, and whose turn it is.
    shared: AtomicBool,
    turn: AtomicUsize,
    looks: Lane<Looks>,
    turns: Lane<TurnLane>,
    singles: Jobs,
    pulse: Jobs,
    beats: Arc<Beats>,
    replays: Replays,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("names", self.inner.parts.sql.names()).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Opens the store at a URL (`postgres://user:password@host:port/database`) with the usual settings.
    ///
    /// Fails, with nothing changed, as [`PostgresStoreBuilder::open`] does: also where the schema was never created.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).open().await
    }

    /// Opens the store in the database that a pool of yours connects to, with the pool's options, on connections of its
    /// own: none of the pool's is used.
    pub async fn from_pool(pool: &PgPool) -> Result<Self, StoreError> {
        Self::builder_from_pool(pool).open().await
    }

    /// Starts with the usual settings, to change some of them.
    pub fn builder(url: &str) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_url(url)
    }

    /// Starts with the options of a pool.
    pub fn builder_from_pool(pool: &PgPool) -> PostgresStoreBuilder {
        Self::builder_with(PgConnectOptions::clone(&pool.connect_options()))
    }

    /// Starts with connection options.
    pub fn builder_with(options: PgConnectOptions) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_options(Ok(options))
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let (sql, offset, dialer) = (&parts.sql, &parts.offset, &parts.dialer);
        let patience = Patience(parts.lock_timeout);
        let hot = || Lane::new(Flushes { sql: sql.clone(), offset: offset.clone() }, dialer.clone(), BRIEF);
        let looks = Looks { sql: sql.get(Statement::Look), offset: offset.clone() };
        let inner = Inner {
            hot: [hot(), hot()],
            shared: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
            looks: Lane::new(looks, dialer.clone(), BRIEF),
            turns: Lane::new(TurnLane { sql: sql.clone(), offset: offset.clone() }, dialer.clone(), BRIEF),
            singles: Jobs::new(dialer.clone(), patience, SINGLES),
            pulse: Jobs::new(dialer.clone(), patience, PULSES),
            beats: Arc::new(Beats::new(sql)),
            replays: Replays::default(),
            parts: Arc::new(parts),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// How long a caller waits at most: for the statement that is out, and for its own.
    fn limit(&self) -> Duration {
        self.inner.parts.dialer.deadline * 2
    }

    fn hot(&self) -> &Lane<Flushes> {
        let [first, second] = &self.inner.hot;
        let outstanding = first.outstanding() + second.outstanding();
        let shared = self.inner.shared.load(Ordering::Relaxed);
        if shared != (outstanding >= if shared { CALM } else { BACKLOG }) {
            self.inner.shared.store(!shared, Ordering::Relaxed);
        }
        let turn = shared && self.inner.turn.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if turn { second } else { first }
    }

    /// Carries out an operation alone, on the row that the address has. None: it has none, and the operation makes one.
    async fn single<O: Sent>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Option<Stamped<O::Reply>>, StoreError> {
        let (address, op, parts) = (address.clone(), op.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move { Ok(transition::run(link, &parts.sql, now(&parts.offset), &address, &op).await?) }
                    .boxed()
            })
            .await
    }

    /// An operation that changes nothing on an address without a row.
    async fn transition<O: Sent>(&self, address: &Address, op: &O) -> Result<Stamped<O::Reply>, StoreError> {
        op.admit(address.kind)?;
        self.single(address, op).await?.ok_or_else(|| restless(O::NAME))
    }

    /// Carries out an operation in the company of others, or, where that did not change the row, alone.
    async fn turn<O: Sent + Turns<Reply = <O as Operation>::Reply>>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<<O as Operation>::Reply>, StoreError> {
        op.admit(address.kind)?;
        let (item, turned) = turn::Item::new(address, op);
        self.inner.turns.send(item);
        match answered(turned, self.limit()).await? {
            Some(stamped) => Ok(stamped),
            None => self.transition(address, op).await,
        }
    }

    pub(crate) async fn look(&self, address: &Address, replay: bool) -> Result<Seen, StoreError> {
        let (ask, seen) = Ask::new(address.clone(), replay);
        self.inner.looks.send(ask);
        answered(seen, self.limit()).await
    }

    /// Claims an address that has no row, in the company of others.
    async fn insert(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (item, flushed) = Item::claim(address.clone(), claim.clone());
        self.hot().send(item);
        match answered(flushed, self.limit()).await? {
            Flushed::Done(stamped) => Ok(Some(stamped)),
            Flushed::Unchanged => Ok(None),
            Flushed::Alone => self.insert_alone(address, claim).await,
        }
    }

    async fn insert_alone(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (address, claim, parts) = (address.clone(), claim.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move {
                    let offset = now(&parts.offset);
                    match transition::claim_absent(link, &parts.sql, offset, &address, &claim).await {
                        Err(unanswered) if unanswered.is_lock_timeout() => {
                            Ok(Some(held_by_a_transaction(address.kind)))
                        }
                        done => Ok(done?),
                    }
                }
                .boxed()
            })
            .await
    }

    /// Takes over the row that an address has. None: it has none.
    async fn take_over(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (item, turned) = turn::Item::new(address, claim);
        self.inner.turns.send(item);
        if let Some(stamped) = answered(turned, self.limit()).await? {
            return Ok(Some(stamped));
        }
        let (address, claim, parts) = (address.clone(), claim.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move {
                    match transition::run(link, &parts.sql, now(&parts.offset), &address, &claim).await {
                        Err(unanswered) if unanswered.is_lock_timeout() => {
                            Ok(Some(held_by_a_transaction(address.kind)))
                        }
                        done => Ok(done?),
                    }
                }
                .boxed()
            })
            .await
    }
}

/// The first beat of each address, up to a page, and the rest; both in the order of their addresses.
fn each_once(beats: &[Beat], ordered: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut page, mut later): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for n in ordered {
        let again = page.last().is_some_and(|last| beats[*last].address == beats[*n].address);
        if again || page.len() == heartbeat::PAGE { later.push(*n) } else { page.push(*n) }
    }
    (page, later)
}

/// The next way to go about a claim.
enum Way {
    Insert,
    Look,
    TakeOver,
}

/// What a claim makes of a record that was read without a lock: an answer, or that its row has to be locked.
fn judge(
    address: &Address,
    claim: &Claim,
    seen: Seen,
) -> Result<Result<Stamped<ClaimReply>, Way>, StoreError> {
    let Some(mut record) = seen.record else {
        return Ok(Err(if seen.has_row { Way::TakeOver } else { Way::Insert }));
    };
    let at = Reading { kind: address.kind, now: seen.now, floor: Token::NONE };
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    match stamped.reply {
        // Granted anew, or once more: either is said under the lock, and passes the barrier.
        ClaimReply::Granted(_) => Ok(Err(Way::TakeOver)),
        _ => Ok(Ok(stamped)),
    }
}

/// The answer to a claim of an address that a transaction holds, and has not decided: nothing was changed, and nothing can
/// be seen yet.
fn held_by_a_transaction(kind: Kind) -> Stamped<ClaimReply> {
    let state = match kind {
        Kind::Execution => State::Executing,
        Kind::Lease => State::Claimed,
    };
    let stamp = Stamp::unseen(StoreTime::ZERO);
    Stamped { reply: ClaimReply::InProgress { state, remaining: Duration::ZERO }, stamp }
}

fn now(offset: &AtomicI64) -> i64 {
    offset.load(Ordering::Relaxed)
}

fn restless(name: &str) -> StoreError {
    let detail = format!("{name}: the record came and went each time it was looked at");
    StoreError::not_applied(Trouble::Busy, detail)
}

#[async_trait]
impl CoordinationStore for PostgresStore {
    fn describe(&self) -> Description {
        Description { backend: "postgres", in_process: false }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        op.admit(address.kind)?;
        let mut way = match address.kind {
            _ if self.inner.replays.expects(address) => Way::Look,
            Kind::Execution => Way::Insert,
            // The tombstone of a lease that was held before is the usual case.
            Kind::Lease => Way::TakeOver,
        };
        for _ in 0..LOOKS {
            let answer = match way {
                Way::Insert => self.insert(address, op).await?.ok_or(Way::Look),
                Way::Look => judge(address, op, self.look(address, true).await?)?,
                Way::TakeOver => self.take_over(address, op).await?.ok_or(Way::Insert),
            };
            match answer {
                Ok(stamped) => {
                    if matches!(stamped.reply, ClaimReply::Completed(_)) {
                        self.inner.replays.expect(address);
                    }
                    return Ok(stamped);
                }
                Err(next) => way = next,
            }
        }
        Err(restless(Claim::NAME))
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.turn(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let mut replies: Vec<Option<Stamped<HeartbeatReply>>> = beats.iter().map(|_| None).collect();
        for kind in [Kind::Execution, Kind::Lease] {
            let mut ordered: Vec<usize> =
                (0..beats.len()).filter(|n| beats[*n].address.kind == kind).collect();
            ordered.sort_by(|a, b| beats[*a].address.cmp(&beats[*b].address));
            // An address stands once in a statement: what one beat changed, another would not see.
            while !ordered.is_empty() {
                let (page, later) = each_once(beats, &ordered);
                self.pulse(beats, &page, &mut replies).await?;
                ordered = later;
            }
        }
        let missing = || StoreError::ambiguous(Trouble::BrokenStore, "a heartbeat was left out");
        replies.into_iter().map(|reply| reply.ok_or_else(missing)).collect()
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        op.admit(address.kind)?;
        let (item, flushed) = Item::complete(address.clone(), op.clone());
        self.hot().send(item);
        match answered(flushed, self.limit()).await? {
            Flushed::Done(stamped) => {
                self.inner.replays.expect(address);
                Ok(stamped)
            }
            Flushed::Unchanged | Flushed::Alone => self.transition(address, op).await,
        }
    }

    async fn cancel(&self, address: &Address, op: &Cancel) -> Result<Stamped<CancelReply>, StoreError> {
        op.admit(address.kind)?;
        for _ in 0..LOOKS {
            if let Some(stamped) = self.single(address, op).await? {
                return Ok(stamped);
            }
            let (to, op, parts) = (address.clone(), *op, self.inner.parts.clone());
            if let Some(stamped) = self
                .inner
                .singles
                .run(move |link| {
                    async move {
                        Ok(transition::cancel_absent(link, &parts.sql, now(&parts.offset), &to, &op).await?)
                    }
                    .boxed()
                })
                .await?
            {
                return Ok(stamped);
            }
        }
        Err(restless(Cancel::NAME))
    }

    async fn release(&self, address: &Address, op: &Release) -> Result<Stamped<ReleaseReply>, StoreError> {
        self.turn(address, op).await
    }

    async fn abandon(&self, address: &Address, op: &Abandon) -> Result<Stamped<AbandonReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn reconcile(
        &self,
        address: &Address,
        op: &Reconcile,
    ) -> Result<Stamped<ReconcileReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn force_complete(
        &self,
        address: &Address,
        op: &ForceComplete,
    ) -> Result<Stamped<ForceCompleteReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn reset_to_claimed(
        &self,
        address: &Address,
        op: &ResetToClaimed,
    ) -> Result<Stamped<ResetReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn evict(&self, address: &Address, op: &Evict) -> Result<Stamped<EvictReply>, StoreError> {
        self.transition(address, op).await
    }

    async fn purge(&self, op: &Purge) -> Result<Purged, StoreError> {
        let (op, parts) = (op.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run_long(move |link| {
                async move {
                    let offset = now(&parts.offset);
                    if let Some(kept) = parts.event_retention.filter(|_| !op.dry_run) {
                        while purge::forget_events(link, &parts.sql, offset, crate::row::micros(kept)).await?
                        {
                        }
                    }
                    purge::purge(link, &parts.sql, offset, &op).await
                }
                .boxed()
            })
            .await
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let seen = self.look(address, false).await?;
        Ok(Inspection { record: seen.record, now: seen.now })
    }

    async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let (list, parts) = (list.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move { read::list(link, &parts.sql, now(&parts.offset), &list).await }.boxed()
            })
            .await
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let (address, parts) = (address.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| async move { read::history(link, &parts.sql, &address, limit).await }.boxed())
            .await
    }

    async fn probe(&self) -> Result<Health, StoreError> {
        probe::probe(self.parts()).await
    }
}

impl PostgresStore {
    /// Sends one page of beats, all of one kind and in the order of their addresses; those that were passed over go out
    /// once more, each alone, and are `Unknown` if their rows stay locked.
    async fn pulse(
        &self,
        beats: &[Beat],
        page: &[usize],
        replies: &mut [Option<Stamped<HeartbeatReply>>],
    ) -> Result<(), StoreError> {
        let sent: Vec<Beat> = page.iter().map(|n| beats[*n].clone()).collect();
        let (told, _) = self.beat(sent, false).await?;
        let mut passed_over = Vec::new();
        for (n, told) in page.iter().zip(told) {
            match told {
                Some(told) => replies[*n] = Some(told),
                None => passed_over.push(*n),
            }
        }
        let again = passed_over.into_iter().map(|n| async move { (n, self.beat_alone(&beats[n]).await) });
        for (n, reply) in futures_util::future::join_all(again).await {
            replies[n] = Some(reply?);
        }
        Ok(())
    }

    async fn beat_alone(&self, beat: &Beat) -> Result<Stamped<HeartbeatReply>, StoreError> {
        match self.beat(vec![beat.clone()], true).await {
            Ok((told, now)) => match told.into_iter().next().flatten() {
                Some(told) => Ok(told),
                None => heartbeat::of_absent(beat, now),
            },
            Err(error) if error.trouble() == Trouble::Busy => Ok(heartbeat::unknown(StoreTime::ZERO)),
            Err(error) => Err(error),
        }
    }

    async fn beat(
        &self,
        beats: Vec<Beat>,
        alone: bool,
    ) -> Result<(Vec<Option<Stamped<HeartbeatReply>>>, StoreTime), StoreError> {
        let (made, parts) = (self.inner.beats.clone(), self.inner.parts.clone());
        self.inner
            .pulse
            .run(move |link| async move { made.send(link, now(&parts.offset), &beats, alone).await }.boxed())
            .await
    }
}

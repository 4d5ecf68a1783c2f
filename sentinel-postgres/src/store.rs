use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{
    Address, CompletedHints, CoordinationStore, ErrorKind, Event, GatheredBeats, StoreError,
};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::builder::{Parts, PostgresStoreBuilder};
use crate::heartbeat::{self, Beats};
use crate::lane::hot::{Flushed, Flushes, Item};
use crate::lane::jobs::Jobs;
use crate::lane::look::{Ask, Looks, Seen};
use crate::lane::pair::Pair;
use crate::lane::replay::{self, ReplayLane};
use crate::lane::turn::{self, TurnLane, Turns};
use crate::lane::{Lane, answered};
use crate::link::Patience;
use crate::listen::Listening;
use crate::source::Source;
use crate::statement::Statement;
use crate::transition::{self, Sent};
use crate::{doctor, purge, read};

/// How long a statement of many records waits for another's insert. What it waits for it sends again, one by one.
const BRIEF: Patience = Patience(Duration::from_millis(200));

/// Connections for statements on one record.
const SINGLES: usize = 4;

/// Connections for heartbeats: one for the many, one for those that wait for a lock.
const PULSES: usize = 2;

/// How often a claim looks again that keeps meeting another state than it saw.
pub(crate) const LOOKS: usize = 100;

/// A store in a PostgreSQL database. Cheap to clone: clones share their connections.
///
/// It owns its connections, thirteen at most and each opened when it is first needed, apart from any pool of yours: a pool
/// that is exhausted must not starve heartbeats. They live on the runtime of whoever used them first, and are opened again
/// on another if that runtime ends.
#[derive(Clone)]
pub struct PostgresStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: Arc<Parts>,
    pub(crate) hot: Pair<Flushes>,
    pub(crate) looks: Lane<Looks>,
    pub(crate) results: Pair<ReplayLane>,
    pub(crate) turns: Lane<TurnLane>,
    pub(crate) singles: Jobs,
    pub(crate) pulse: Jobs,
    pub(crate) beats: Arc<Beats>,
    pub(crate) replays: CompletedHints,
    pub(crate) listening: Listening,
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
    ///
    /// Beside the parameters of a connection, `?sslmode=verify-full` and the like, a URL can say where the tables are:
    /// `?sentinel_schema=billing&sentinel_table_prefix=snl_`; and how many events of a record are kept:
    /// `?sentinel_max_events=1000`. Any other parameter is refused, for it would be ignored.
    ///
    /// A password in `~/.pgpass` or `PGPASSFILE`, and the files that the URL names, are read again for each connection.
    pub fn builder(url: &str) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_url(url)
    }

    /// Starts with the options of a pool. They are read again for each connection: what `set_connect_options` says counts
    /// from then on.
    pub fn builder_from_pool(pool: &PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_source(Ok(Source::pool(pool)))
    }

    /// Starts with connection options. They stay as they are, with the password that was found when they were made: where
    /// passwords change, use a URL or a pool.
    pub fn builder_with(options: PgConnectOptions) -> PostgresStoreBuilder {
        PostgresStoreBuilder::from_source(Ok(Source::options(options)))
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        let (sql, offset, dialer) = (&parts.sql, &parts.offset, &parts.dialer);
        let patience = Patience(parts.lock_timeout);
        let hot = || Lane::new(Flushes { sql: sql.clone(), offset: offset.clone() }, dialer.clone(), BRIEF);
        let results = || {
            let results = ReplayLane { sql: sql.get(Statement::Replay), offset: offset.clone() };
            Lane::new(results, dialer.clone(), BRIEF)
        };
        let looks = Looks { sql: sql.get(Statement::Look), offset: offset.clone() };
        let inner = Inner {
            hot: Pair::new(hot),
            looks: Lane::new(looks, dialer.clone(), BRIEF),
            results: Pair::new(results),
            turns: Lane::new(TurnLane { sql: sql.clone(), offset: offset.clone() }, dialer.clone(), BRIEF),
            singles: Jobs::new(dialer.clone(), patience, SINGLES),
            pulse: Jobs::new(dialer.clone(), patience, PULSES),
            beats: Arc::new(Beats::new(sql)),
            replays: CompletedHints::default(),
            listening: Listening::new(dialer.clone(), sql.names()),
            parts: Arc::new(parts),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.inner.listening
    }

    /// How long a caller waits at most: for the statement that is out, and for its own.
    pub(crate) fn limit(&self) -> Duration {
        self.inner.parts.dialer.deadline * 2
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
        let stamped = self.single(address, op).await?.ok_or_else(|| restless(O::NAME))?;
        self.inner.listening.answered(address, O::NAME, stamped.stamp.state).await;
        Ok(stamped)
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
            Some(stamped) => {
                self.inner.listening.answered(address, O::NAME, stamped.stamp.state).await;
                Ok(stamped)
            }
            None => self.transition(address, op).await,
        }
    }

    /// The result of an execution, if it is completed.
    pub(crate) async fn result(&self, address: &Address) -> Result<replay::Completed, StoreError> {
        let (ask, told) = replay::Ask::new(address.namespace.clone(), address.key.clone());
        self.inner.results.send(ask);
        answered(told, self.limit()).await
    }

    pub(crate) async fn look(&self, address: &Address, replay: bool) -> Result<Seen, StoreError> {
        let (ask, seen) = Ask::new(address.clone(), replay);
        self.inner.looks.send(ask);
        answered(seen, self.limit()).await
    }
}

pub(crate) fn now(offset: &AtomicI64) -> i64 {
    offset.load(Ordering::Relaxed)
}

pub(crate) fn restless(name: &str) -> StoreError {
    let detail = format!("{name}: the record came and went each time it was looked at");
    StoreError::not_applied(ErrorKind::Busy, detail)
}

#[async_trait]
impl CoordinationStore for PostgresStore {
    fn describe(&self) -> Description {
        Description { backend: "postgres", in_process: false }
    }

    async fn claim(&self, address: &Address, op: &Claim) -> Result<Stamped<ClaimReply>, StoreError> {
        self.claim_step_by_step(address, op).await
    }

    async fn begin(&self, address: &Address, op: &Begin) -> Result<Stamped<BeginReply>, StoreError> {
        self.turn(address, op).await
    }

    async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let mut gathered = GatheredBeats::new(beats.len());
        for page in heartbeat::pages(beats) {
            self.pulse(beats, &page, &mut gathered).await;
        }
        gathered.finish()
    }

    async fn complete(&self, address: &Address, op: &Complete) -> Result<Stamped<CompleteReply>, StoreError> {
        op.admit(address.kind)?;
        let (item, flushed) = Item::complete(address.clone(), op.clone());
        self.inner.hot.send(item);
        match answered(flushed, self.limit()).await? {
            Flushed::Done(stamped) => {
                self.inner.replays.expect(address);
                self.inner.listening.changed(address).await;
                Ok(stamped)
            }
            Flushed::Unchanged | Flushed::Alone => self.transition(address, op).await,
        }
    }

    async fn cancel(&self, address: &Address, op: &Cancel) -> Result<Stamped<CancelReply>, StoreError> {
        op.admit(address.kind)?;
        for _ in 0..LOOKS {
            if let Some(stamped) = self.single(address, op).await? {
                self.inner.listening.changed(address).await;
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
                    let purged = purge::purge(link, &parts.sql, offset, &op, &parts.resumed).await?;
                    // Once, when all records are done: it reads the whole table.
                    if let Some(kept) = parts.event_retention.filter(|_| !op.dry_run && !purged.more) {
                        purge::forget_events(link, &parts.sql, offset, crate::row::micros(kept)).await?;
                    }
                    Ok(purged)
                }
                .boxed()
            })
            .await
    }

    async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let seen = self.look(address, false).await.map_err(StoreError::of_a_read)?;
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
            .map_err(StoreError::of_a_read)
    }

    async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let (address, parts) = (address.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| async move { read::history(link, &parts.sql, &address, limit).await }.boxed())
            .await
            .map_err(StoreError::of_a_read)
    }

    async fn changed(&self, address: &Address, within: Duration) -> Notice {
        self.inner.listening.wait(address, within).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        doctor::health(self.parts()).await
    }
}

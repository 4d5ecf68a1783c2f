//! Carries out operations: in a batch where that is possible, and alone otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_core::kernel::Operation;
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::survey::CausePage;
use sentinel_core::{Address, CauseQuery, ErrorKind, Event, GatheredBeats, Namespace, StoreError, StoreTime};
use sentinel_store_kit::{CompletedHints, reply};

use super::connections::Connections;
use super::context::Context;
use super::heartbeat::{self, HeartbeatStatements};
use super::insert_complete::{InsertCompleteExecutor, ItemResult, PendingCall};
use super::read::{ReadExecutor, ReadRequest, Snapshot};
use super::replay::{Completed, ReplayExecutor, ReplayRequest};
use super::row::micros;
use super::statement::Statement;
use super::transition::{self, Sent};
use super::update::{self, BatchedUpdate, UpdateExecutor};
use super::{list, purge, survey};
use crate::batch::executor::{ConnectedExecutor, StatementBatcher, StatementBatcherPair, StatementExecutor};
use crate::batch::single::SingleStatements;
use crate::batch::slot::Slot;
use crate::connection::connector::Connector;
use crate::connection::session::LockTimeout;
use crate::notify::Notifications;

/// How long a statement for many records waits for another transaction's insert. After that each record is sent alone.
const BATCH_LOCK_TIMEOUT: LockTimeout = LockTimeout(Duration::from_millis(200));

/// How often a claim reads again when each attempt meets another state than it read.
pub(crate) const MAX_ATTEMPTS: usize = 100;

/// The operations of one store, with the connections that carry them out.
pub(crate) struct Coordination {
    pub(crate) context: Arc<Context>,
    pub(super) insert_complete: StatementBatcherPair<InsertCompleteExecutor>,
    reads: StatementBatcher<ReadExecutor>,
    results: StatementBatcherPair<ReplayExecutor>,
    pub(super) updates: StatementBatcher<UpdateExecutor>,
    pub(super) single_statements: SingleStatements,
    heartbeats: SingleStatements,
    heartbeat_statements: Arc<HeartbeatStatements>,
    pub(super) completed_hints: CompletedHints,
    pub(crate) notifications: Notifications,
}

impl fmt::Debug for Coordination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordination").field("names", self.context.sql.names()).finish_non_exhaustive()
    }
}

impl Coordination {
    pub(crate) fn new(context: Context) -> Self {
        let (sql, offset, connector) = (&context.sql, &context.offset, &context.connector);
        let lock_timeout = LockTimeout(context.lock_timeout);
        let connections = Connections::distribute(context.connections);
        let Connections {
            insert_complete,
            results,
            reads: read_slot,
            updates: update_slot,
            single_statements,
            heartbeats,
        } = connections;
        let insert_complete = insert_complete.map(|slot| {
            batched(InsertCompleteExecutor { sql: sql.clone(), offset: offset.clone() }, slot, connector)
        });
        let results = results.map(|slot| {
            let replays = ReplayExecutor { sql: sql.get(Statement::Replay), offset: offset.clone() };
            batched(replays, slot, connector)
        });
        let reads = ReadExecutor { sql: sql.get(Statement::Read), offset: offset.clone() };
        let updates = UpdateExecutor { sql: sql.clone(), offset: offset.clone() };
        Self {
            insert_complete: StatementBatcherPair::new(insert_complete),
            reads: StatementBatcher::new(batched(reads, read_slot, connector)),
            results: StatementBatcherPair::new(results),
            updates: StatementBatcher::new(batched(updates, update_slot, connector)),
            single_statements: SingleStatements::new(connector.clone(), lock_timeout, single_statements),
            heartbeats: SingleStatements::new(connector.clone(), lock_timeout, heartbeats),
            heartbeat_statements: Arc::new(HeartbeatStatements::new(sql)),
            completed_hints: CompletedHints::default(),
            notifications: Notifications::new(connector.clone(), sql.names()),
            context: Arc::new(context),
        }
    }

    /// How long a caller waits at most: for the statement that is in progress, and for its own.
    pub(super) fn limit(&self) -> Duration {
        self.context.connector.deadline * 2
    }

    /// Carries out an operation alone, on the row that the address has. None: it has none, and the operation makes one.
    async fn single<O: Sent>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Option<Stamped<O::Reply>>, StoreError> {
        let (address, op, context) = (address.clone(), op.clone(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move {
                    let (sql, offset) = (&context.sql, context.offset());
                    Ok(transition::run(connection, sql, offset, &address, &op).await?)
                }
                .boxed()
            })
            .await
    }

    /// An operation that changes nothing on an address without a row.
    pub(crate) async fn transition<O: Sent>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<O::Reply>, StoreError> {
        op.admit(address.kind)?;
        let stamped = self.single(address, op).await?.ok_or_else(|| contended(O::NAME))?;
        self.notifications.operation_replied(address, O::NAME, stamped.stamp.state).await;
        Ok(stamped)
    }

    /// Carries out an operation in a batch, or, where that did not change the row, alone.
    pub(crate) async fn update<O: Sent + BatchedUpdate<Reply = <O as Operation>::Reply>>(
        &self,
        address: &Address,
        op: &O,
    ) -> Result<Stamped<<O as Operation>::Reply>, StoreError> {
        op.admit(address.kind)?;
        let (call, receiver) = update::PendingCall::new(address, op);
        self.updates.send(call);
        match reply(receiver, self.limit()).await? {
            Some(stamped) => {
                self.notifications.operation_replied(address, O::NAME, stamped.stamp.state).await;
                Ok(stamped)
            }
            None => self.transition(address, op).await,
        }
    }

    pub(crate) async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let mut gathered = GatheredBeats::new(beats.len());
        for page in heartbeat::pages(beats) {
            self.heartbeat_page(beats, &page, &mut gathered).await;
        }
        gathered.finish()
    }

    /// Sends one page of beats, all of one kind and in the order of their addresses; those that were passed over are
    /// sent once more, each alone, and are `Unknown` if their rows stay locked.
    async fn heartbeat_page(&self, beats: &[Beat], page: &[usize], gathered: &mut GatheredBeats) {
        let sent: Vec<Beat> = page.iter().map(|n| beats[*n].clone()).collect();
        let replies = match self.send_heartbeats(sent, false).await {
            Ok((replies, _)) => replies,
            Err(error) => return gathered.failed(page.iter().copied(), error),
        };
        let mut passed_over = Vec::new();
        for (n, reply) in page.iter().zip(replies) {
            match reply {
                Some(reply) => gathered.answered(*n, reply),
                None => passed_over.push(*n),
            }
        }
        let again =
            passed_over.into_iter().map(|n| async move { (n, self.heartbeat_alone(&beats[n]).await) });
        for (n, reply) in futures_util::future::join_all(again).await {
            match reply {
                Ok(reply) => gathered.answered(n, reply),
                Err(error) => gathered.failed([n], error),
            }
        }
    }

    async fn heartbeat_alone(&self, beat: &Beat) -> Result<Stamped<HeartbeatReply>, StoreError> {
        match self.send_heartbeats(vec![beat.clone()], true).await {
            Ok((replies, now)) => match replies.into_iter().next().flatten() {
                Some(reply) => Ok(reply),
                None => heartbeat::of_absent(beat, now),
            },
            Err(error) if error.kind() == ErrorKind::Busy => Ok(heartbeat::unknown(StoreTime::ZERO)),
            Err(error) => Err(error),
        }
    }

    async fn send_heartbeats(
        &self,
        beats: Vec<Beat>,
        alone: bool,
    ) -> Result<(Vec<Option<Stamped<HeartbeatReply>>>, StoreTime), StoreError> {
        let (statements, context) = (self.heartbeat_statements.clone(), self.context.clone());
        self.heartbeats
            .run(move |connection| {
                async move { statements.send(connection, context.offset(), &beats, alone).await }.boxed()
            })
            .await
    }

    pub(crate) async fn complete(
        &self,
        address: &Address,
        op: &Complete,
    ) -> Result<Stamped<CompleteReply>, StoreError> {
        op.admit(address.kind)?;
        let (call, receiver) = PendingCall::complete(address.clone(), op.clone());
        self.insert_complete.send(call);
        match reply(receiver, self.limit()).await? {
            ItemResult::Done(stamped) => {
                self.completed_hints.expect(address);
                self.notifications.changed(address).await;
                Ok(stamped)
            }
            ItemResult::Unchanged | ItemResult::Alone => self.transition(address, op).await,
        }
    }

    pub(crate) async fn cancel(
        &self,
        address: &Address,
        op: &Cancel,
    ) -> Result<Stamped<CancelReply>, StoreError> {
        op.admit(address.kind)?;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(stamped) = self.single(address, op).await? {
                self.notifications.changed(address).await;
                return Ok(stamped);
            }
            if let Some(stamped) = self.cancel_absent(address, op).await? {
                return Ok(stamped);
            }
        }
        Err(contended(Cancel::NAME))
    }

    async fn cancel_absent(
        &self,
        address: &Address,
        op: &Cancel,
    ) -> Result<Option<Stamped<CancelReply>>, StoreError> {
        let (address, op, context) = (address.clone(), *op, self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move {
                    let (sql, offset) = (&context.sql, context.offset());
                    Ok(transition::cancel_absent(connection, sql, offset, &address, &op).await?)
                }
                .boxed()
            })
            .await
    }

    pub(crate) async fn purge(&self, op: &Purge) -> Result<Purged, StoreError> {
        let (op, context) = (op.clone(), self.context.clone());
        self.single_statements
            .run_long(move |connection| {
                async move {
                    let (sql, offset) = (&context.sql, context.offset());
                    let purged = purge::purge(connection, sql, offset, &op, &context.resumed).await?;
                    // Once, when all records are done: it reads the whole table.
                    if let Some(kept) = context.event_retention.filter(|_| !op.dry_run && !purged.more) {
                        purge::forget_events(connection, sql, offset, micros(kept)).await?;
                    }
                    Ok(purged)
                }
                .boxed()
            })
            .await
    }

    /// The result of an execution, if it is completed.
    pub(super) async fn result(&self, address: &Address) -> Result<Completed, StoreError> {
        let (request, receiver) = ReplayRequest::new(address.namespace.clone(), address.key.clone());
        self.results.send(request);
        reply(receiver, self.limit()).await
    }

    /// The record of an address; `replay`: its result is reported, and has to be durable.
    pub(crate) async fn read(&self, address: &Address, replay: bool) -> Result<Snapshot, StoreError> {
        let (request, receiver) = ReadRequest::new(address.clone(), replay);
        self.reads.send(request);
        reply(receiver, self.limit()).await
    }

    pub(crate) async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let snapshot = self.read(address, false).await.map_err(StoreError::of_a_read)?;
        Ok(Inspection { record: snapshot.record, now: snapshot.now })
    }

    pub(crate) async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let (list, context) = (list.clone(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move { list::list(connection, &context.sql, context.offset(), &list).await }.boxed()
            })
            .await
            .map_err(StoreError::of_a_read)
    }

    pub(crate) async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let (address, context) = (address.clone(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move { list::history(connection, &context.sql, &address, limit).await }.boxed()
            })
            .await
            .map_err(StoreError::of_a_read)
    }

    pub(crate) async fn namespaces(
        &self,
        after: Option<&Namespace>,
        limit: u32,
    ) -> Result<Vec<Namespace>, StoreError> {
        let after = after.map_or_else(String::new, ToString::to_string);
        let context = self.context.clone();
        self.single_statements
            .run(move |connection| {
                async move { survey::namespaces(connection, &context.sql, &after, limit).await }.boxed()
            })
            .await
    }

    pub(crate) async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        let (query, after, context) = (query.clone(), after.cloned(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move {
                    let (sql, offset) = (&context.sql, context.offset());
                    survey::by_cause(connection, sql, offset, &query, after.as_ref(), limit).await
                }
                .boxed()
            })
            .await
            .map_err(StoreError::of_a_read)
    }

    pub(crate) async fn changed(&self, address: &Address, within: Duration) -> Notice {
        self.notifications.wait(address, within).await
    }
}

/// An executor of batches, with a connection of its own.
fn batched<S: StatementExecutor>(
    statements: S,
    slot: Slot,
    connector: &Arc<Connector>,
) -> ConnectedExecutor<S> {
    ConnectedExecutor { statements, slot, connector: connector.clone(), lock_timeout: BATCH_LOCK_TIMEOUT }
}

pub(crate) fn contended(name: &str) -> StoreError {
    let detail = format!("{name}: the record was created or deleted between all reads");
    StoreError::not_applied(ErrorKind::Busy, detail)
}

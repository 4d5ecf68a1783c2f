//! Executes batches as statements: each batcher has one connection, and one statement in progress.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use sentinel_core::StoreError;
use sentinel_store_kit::{BatchExecutor, Batcher, BatcherPair};

use super::slot::{SharedConnection, Slot};
use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};

/// Executes batches of one kind, each as one statement on a connection that is there.
pub(crate) trait StatementExecutor: Send + Sync + 'static {
    type Item: Send + 'static;

    /// Takes the items of the next statement, `max` at most. It takes one at least.
    fn take_batch(&self, waiting: &mut VecDeque<Self::Item>, max: usize) -> Vec<Self::Item>;

    /// Sends a batch, and replies to each item.
    fn execute(&self, connection: &mut Connection, batch: Vec<Self::Item>)
    -> impl Future<Output = ()> + Send;

    /// Replies to an item that has no other reply than this error.
    fn refuse(&self, item: Self::Item, error: StoreError);

    /// The same for a whole batch.
    fn refuse_all(&self, batch: Vec<Self::Item>, error: &StoreError) {
        batch.into_iter().for_each(|item| self.refuse(item, error.clone()));
    }
}

/// The same, with the connection.
pub(crate) struct ConnectedExecutor<S> {
    pub(crate) statements: S,
    pub(crate) slot: Slot,
    pub(crate) connector: Arc<Connector>,
    pub(crate) lock_timeout: LockTimeout,
}

pub(crate) type StatementBatcher<S> = Batcher<ConnectedExecutor<S>>;
pub(crate) type StatementBatcherPair<S> = BatcherPair<ConnectedExecutor<S>>;

impl<S: StatementExecutor> BatchExecutor for ConnectedExecutor<S> {
    type Item = S::Item;
    type Session = Option<Arc<SharedConnection>>;

    const MAX_BATCH: usize = 256;
    const MAX_OUTSTANDING: usize = 1 << 16;

    fn take_batch(&self, waiting: &mut VecDeque<S::Item>, max: usize) -> Vec<S::Item> {
        self.statements.take_batch(waiting, max)
    }

    async fn execute(&self, session: &mut Self::Session, batch: Vec<S::Item>) {
        let shared = session.get_or_insert_with(|| self.slot.join());
        let mut turn = shared.turn().await;
        match turn.connected(&self.connector, self.lock_timeout).await {
            Ok(connection) => self.statements.execute(connection, batch).await,
            Err(error) => self.statements.refuse_all(batch, &error),
        }
    }

    fn refuse(&self, item: S::Item, error: StoreError) {
        self.statements.refuse(item, error);
    }
}

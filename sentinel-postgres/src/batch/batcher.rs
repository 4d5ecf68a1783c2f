//! The batcher: one connection, driven by one task. An operation is a message to the batcher, and all that wait when it
//! is idle go out as one statement.
//!
//! A caller that goes away drops a receiver, never a query, and a batcher never releases or cancels for it. There is no
//! timer: while one statement is in progress, the next batch gathers. A batcher lives on the runtime that used it
//! first, and starts again on another runtime if that one ends.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::connected::connected;
use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};

/// The most items of one statement.
const MAX_BATCH: usize = 256;

/// The most items of one batcher that wait for their replies.
pub(super) const MAX_OUTSTANDING: usize = 1 << 16;

/// Executes batches of one kind.
pub(crate) trait BatchExecutor: Send + Sync + 'static {
    type Item: Send + 'static;

    /// Takes from the front what may go out in one statement.
    fn take_batch(&self, waiting: &mut VecDeque<Self::Item>, cap: usize) -> Vec<Self::Item>;

    /// Sends a batch, and replies to each item.
    fn execute(&self, connection: &mut Connection, batch: Vec<Self::Item>)
    -> impl Future<Output = ()> + Send;

    /// Replies to an item that was never sent.
    fn refuse(&self, item: Self::Item, error: StoreError);
}

/// Sends operations to a task that owns a connection.
pub(crate) struct Batcher<F: BatchExecutor> {
    pub(super) executor: Arc<F>,
    connector: Arc<Connector>,
    lock_timeout: LockTimeout,
    sender: Mutex<Option<mpsc::UnboundedSender<F::Item>>>,
    pub(super) outstanding: Arc<AtomicUsize>,
}

impl<F: BatchExecutor> fmt::Debug for Batcher<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

impl<F: BatchExecutor> Batcher<F> {
    pub(crate) fn new(executor: F, connector: Arc<Connector>, lock_timeout: LockTimeout) -> Self {
        Self {
            executor: Arc::new(executor),
            connector,
            lock_timeout,
            sender: Mutex::default(),
            outstanding: Arc::default(),
        }
    }

    /// How many items wait for their replies.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Hands an item over; its reply comes through the item's own channel.
    pub(crate) fn send(&self, item: F::Item) {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) >= MAX_OUTSTANDING {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            let detail = format!("{MAX_OUTSTANDING} requests wait already");
            return self.executor.refuse(item, StoreError::not_applied(ErrorKind::Busy, detail));
        }
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let mut item = item;
        if let Some(open) = sender.as_ref() {
            match open.send(item) {
                Ok(()) => return,
                // The task ended with its runtime: the replies to what was in it were dropped.
                Err(mpsc::error::SendError(back)) => item = back,
            }
            self.outstanding.store(1, Ordering::Relaxed);
        }
        let (opened, receiver) = mpsc::unbounded_channel();
        if opened.send(item).is_ok() {
            self.start(receiver);
            *sender = Some(opened);
        }
    }

    fn start(&self, receiver: mpsc::UnboundedReceiver<F::Item>) {
        let driver = Driver {
            executor: self.executor.clone(),
            connector: self.connector.clone(),
            lock_timeout: self.lock_timeout,
            outstanding: self.outstanding.clone(),
            receiver,
            gathered: VecDeque::new(),
            connection: None,
        };
        tokio::spawn(driver.run());
    }
}

struct Driver<F: BatchExecutor> {
    executor: Arc<F>,
    connector: Arc<Connector>,
    lock_timeout: LockTimeout,
    outstanding: Arc<AtomicUsize>,
    receiver: mpsc::UnboundedReceiver<F::Item>,
    gathered: VecDeque<F::Item>,
    connection: Option<Connection>,
}

impl<F: BatchExecutor> Driver<F> {
    async fn run(mut self) {
        let mut batching = false;
        loop {
            if self.gathered.is_empty() {
                match self.receiver.recv().await {
                    Some(item) => self.gathered.push_back(item),
                    None => return,
                }
            }
            self.gather(batching).await;
            let batch = self.executor.take_batch(&mut self.gathered, MAX_BATCH);
            batching = batch.len() > 1;
            let replied = batch.len();
            self.execute(batch).await;
            self.outstanding.fetch_sub(replied, Ordering::Relaxed);
        }
    }

    /// Takes what is there, and yields so that callers that just got a reply can send again, until two yields bring
    /// nothing. After a batch of one there is nothing to wait for.
    async fn gather(&mut self, batching: bool) {
        let mut idle = if batching { 0 } else { 1 };
        while idle < 2 && self.gathered.len() < MAX_BATCH {
            let before = self.gathered.len();
            while let Ok(item) = self.receiver.try_recv() {
                self.gathered.push_back(item);
            }
            idle = if self.gathered.len() == before { idle + 1 } else { 0 };
            if idle < 2 {
                yield_now().await;
            }
        }
    }

    async fn execute(&mut self, batch: Vec<F::Item>) {
        match connected(&mut self.connection, &self.connector, self.lock_timeout).await {
            Ok(connection) => self.executor.execute(connection, batch).await,
            Err(error) => batch.into_iter().for_each(|item| self.executor.refuse(item, error.clone())),
        }
    }
}

//! Work that goes out on its own: one statement for one record, or maintenance. A few tasks take it from one queue,
//! each with a connection, opened when it is first needed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sentinel_core::StoreError;
use sentinel_store_kit::{OnDemandTask, PendingReply, reply};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::slot::{SharedConnection, Slot};
use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};

type Task = Box<dyn for<'l> FnOnce(Result<&'l mut Connection, StoreError>) -> BoxFuture<'l, ()> + Send>;
type Queue = Arc<Mutex<mpsc::UnboundedReceiver<Task>>>;

/// Workers that share a queue.
pub(crate) struct SingleStatements {
    connector: Arc<Connector>,
    lock_timeout: LockTimeout,
    /// One for each worker.
    slots: Vec<Slot>,
    tasks: OnDemandTask<mpsc::UnboundedSender<Task>>,
}

impl fmt::Debug for SingleStatements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleStatements").field("workers", &self.slots.len()).finish_non_exhaustive()
    }
}

impl SingleStatements {
    /// With a worker for each slot.
    pub(crate) fn new(connector: Arc<Connector>, lock_timeout: LockTimeout, slots: Vec<Slot>) -> Self {
        Self { connector, lock_timeout, slots, tasks: OnDemandTask::new(mpsc::unbounded_channel) }
    }

    /// Does work on a connection, also if the caller goes away meanwhile.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Connection) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        let limit = self.connector.deadline * 2;
        reply(self.begin(work), limit).await
    }

    /// The same for work of many statements: each has its deadline, all together have none.
    pub(crate) async fn run_long<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Connection) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        reply(self.begin(work), Duration::MAX).await
    }

    fn begin<T, W>(&self, work: W) -> PendingReply<T>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Connection) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        let (reply_to, receiver) = oneshot::channel();
        let task: Task = Box::new(move |connection| {
            Box::pin(async move {
                let done = match connection {
                    Ok(connection) => work(connection).await,
                    Err(error) => Err(error),
                };
                // A caller that went away gets no reply.
                let _ = reply_to.send(done);
            })
        });
        self.send(task);
        receiver
    }

    fn send(&self, task: Task) {
        let start = |receiver| {
            let queue = Arc::new(Mutex::new(receiver));
            for slot in &self.slots {
                tokio::spawn(work(queue.clone(), slot.join(), self.connector.clone(), self.lock_timeout));
            }
        };
        // An unbounded queue is never full.
        let _ = self.tasks.send(task, start);
    }
}

async fn work(
    queue: Queue,
    shared: Arc<SharedConnection>,
    connector: Arc<Connector>,
    lock_timeout: LockTimeout,
) {
    loop {
        let next = queue.lock().await.recv().await;
        let Some(task) = next else { return };
        let mut turn = shared.turn().await;
        task(turn.connected(&connector, lock_timeout).await).await;
    }
}

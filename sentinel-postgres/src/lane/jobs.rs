//! Work that goes out on its own: one statement for one record, or maintenance. A few tasks take it from one queue, each
//! with a connection, opened when it is first needed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sentinel_core::StoreError;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::lane::{answered, connected};
use crate::link::{Dialer, Link, Patience};

type Job = Box<dyn for<'l> FnOnce(Result<&'l mut Link, StoreError>) -> BoxFuture<'l, ()> + Send>;
type Queue = Arc<AsyncMutex<mpsc::UnboundedReceiver<Job>>>;

/// Workers that share a queue.
pub(crate) struct Jobs {
    dialer: Arc<Dialer>,
    patience: Patience,
    workers: usize,
    way: Mutex<Option<mpsc::UnboundedSender<Job>>>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Jobs {
    pub(crate) fn new(dialer: Arc<Dialer>, patience: Patience, workers: usize) -> Self {
        Self { dialer, patience, workers, way: Mutex::default() }
    }

    /// Does work on a connection, also if the caller goes away meanwhile.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        let limit = self.dialer.deadline * 2;
        answered(self.begin(work), limit).await
    }

    /// The same for work of many statements: each has its deadline, all together have none.
    pub(crate) async fn run_long<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        answered(self.begin(work), Duration::MAX).await
    }

    fn begin<T, W>(&self, work: W) -> oneshot::Receiver<Result<T, StoreError>>
    where
        T: Send + 'static,
        W: for<'l> FnOnce(&'l mut Link) -> BoxFuture<'l, Result<T, StoreError>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |link| {
            Box::pin(async move {
                let done = match link {
                    Ok(link) => work(link).await,
                    Err(error) => Err(error),
                };
                // A caller that went away does not hear of it.
                let _ = reply.send(done);
            })
        });
        self.send(job);
        answer
    }

    fn send(&self, mut job: Job) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = way.as_ref() {
            match open.send(job) {
                Ok(()) => return,
                // The workers ended with their runtime.
                Err(mpsc::error::SendError(back)) => job = back,
            }
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        if sender.send(job).is_ok() {
            let queue = Arc::new(AsyncMutex::new(receiver));
            for _ in 0..self.workers {
                tokio::spawn(work(queue.clone(), self.dialer.clone(), self.patience));
            }
            *way = Some(sender);
        }
    }
}

async fn work(queue: Queue, dialer: Arc<Dialer>, patience: Patience) {
    let mut link = None;
    loop {
        let next = queue.lock().await.recv().await;
        let Some(job) = next else { return };
        job(connected(&mut link, &dialer, patience).await).await;
    }
}

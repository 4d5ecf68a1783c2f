//! A thread and its connection. The writer's thread puts whatever waits when it is free into one transaction, so
//! callers that come together share one fsync. A caller that stops waiting drops a receiver, never a transaction.

use std::sync::Arc;
use std::thread;

use sentinel_core::{Applied, Clock, ErrorKind, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::batch::executor::{BatchExecutor, execute_read};
use crate::batch::shutdown;
use crate::batch::task::{Message, Pending};
use crate::connection::context::TransactionContext;
use crate::connection::options::OpenOptions;
use crate::connection::writer::Writer;
use crate::error::{Fault, no_thread};

/// The most operations that wait; a later caller waits for room, with nothing sent.
const MAX_WAITING: usize = 4096;

/// Sends operations to a thread. The thread ends when the last sender is dropped, after it has carried out what waits.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionThread {
    queue: mpsc::Sender<Message>,
}

impl ConnectionThread {
    /// Starts the thread that writes, and returns once it has opened the file, or could not.
    pub(crate) async fn start_writer(
        options: Arc<OpenOptions>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let (opened, received) = oneshot::channel();
        let thread = Self::start("sentinel-sqlite-writer", move |queue| {
            let writer = if options.reads_only { Ok(None) } else { Writer::open(&options).map(Some) };
            match writer {
                Ok(writer) => {
                    let _ = opened.send(Ok(()));
                    BatchExecutor::new(options, clock, writer).run(queue)
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    None
                }
            }
        })?;
        received.await.unwrap_or_else(|_| Err(closed(Applied::No)))?;
        Ok(thread)
    }

    /// Starts a thread that reads: each operation for itself, in no transaction.
    pub(crate) fn start_reader(options: Arc<OpenOptions>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::start("sentinel-sqlite-reader", move |mut queue| {
            let mut reader = None;
            while let Some(Message::Task(task)) = queue.blocking_recv() {
                execute_read(&options, &*clock, &mut reader, task);
            }
            reader
        })
    }

    /// `run` returns the connection that it leaves open.
    fn start<T>(
        name: &str,
        run: impl FnOnce(mpsc::Receiver<Message>) -> T + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let registration = shutdown::register(queue.downgrade());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let open = run(waiting);
            shutdown::close(open);
            drop(registration);
        });
        thread.map_err(no_thread)?;
        Ok(Self { queue })
    }

    /// Sends an operation and waits for its reply. If the future is dropped, the operation is still carried out.
    pub(crate) async fn send<T: Send + 'static>(
        &self,
        run: impl FnMut(TransactionContext<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply_to, received) = oneshot::channel();
        let task = Box::new(Pending::new(run, reply_to));
        self.queue.send(Message::Task(task)).await.map_err(|_| closed(Applied::No))?;
        received.await.unwrap_or_else(|_| Err(closed(Applied::Ambiguous)))
    }
}

fn closed(applied: Applied) -> StoreError {
    match applied {
        Applied::No => StoreError::not_applied(ErrorKind::Closed, "the store's thread has ended"),
        Applied::Ambiguous => {
            StoreError::ambiguous(ErrorKind::Closed, "the store's thread ended without a reply")
        }
    }
}

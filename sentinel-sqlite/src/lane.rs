//! The lane: one thread drives the store's one writer connection. Whatever waits when it is free goes into one
//! transaction, so callers that come together share one fsync, and a caller that goes away drops a receiver and never a
//! transaction.

use std::sync::Arc;
use std::thread;

use sentinel_core::{Applied, Clock, ErrorKind, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::connection::{Spec, Writer};
use crate::driver::{Driver, carry_out_read};
use crate::error::Fault;
use crate::exit::{self, Connected};
use crate::ledger::Ledger;

/// The most operations that wait; whoever comes later waits for room, with nothing sent.
const QUEUE: usize = 4096;

/// What is sent to a thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// An operation to carry out.
    Work(Box<dyn Work>),
    /// The process ends: close the connection, after what was sent before.
    Close,
}

/// One operation: what it does, and where its answer goes.
pub(crate) trait Work: Send {
    /// Carries it out. `Err`: the transaction is harmed; it will be rolled back and this called again.
    fn run(&mut self, ledger: Ledger<'_>, spec: &Spec) -> Result<(), Fault>;
    /// Answers: with what `run` found, once that is durable, or with the error that befell all of the transaction.
    fn settle(self: Box<Self>, fate: Result<(), StoreError>);
}

/// An operation made of a function.
struct Job<T, F> {
    run: F,
    answer: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(Ledger<'_>) -> Result<T, Fault> + Send> Work for Job<T, F> {
    fn run(&mut self, ledger: Ledger<'_>, spec: &Spec) -> Result<(), Fault> {
        self.answer = match (self.run)(ledger) {
            Err(fault) if fault.harms_transaction() => return Err(fault),
            answer => Some(answer.map_err(|fault| fault.into_error(&spec.path, Applied::No))),
        };
        Ok(())
    }

    fn settle(self: Box<Self>, fate: Result<(), StoreError>) {
        let answer = match (fate, self.answer) {
            // What was refused before it wrote anything was not applied, whatever befell the others.
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(Ok(answer))) => Ok(answer),
            (Ok(()), None) => {
                Err(StoreError::not_applied(ErrorKind::BrokenStore, "the operation was not run"))
            }
        };
        // A caller that has gone does not want it.
        let _ = self.reply.send(answer);
    }
}

/// The sending half of a lane. The thread ends when the last one is dropped, after it has answered what waits.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    queue: mpsc::Sender<Message>,
}

impl std::fmt::Debug for dyn Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl Lane {
    /// Opens the writer connection and starts its thread; tells whether the file could be opened.
    pub(crate) async fn open(spec: Arc<Spec>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (opened, answer) = oneshot::channel();
        let lane = Self::start("sentinel-sqlite-lane", move |queue| {
            let writer = if spec.reads_only { Ok(None) } else { Writer::open(&spec).map(Some) };
            match writer {
                Ok(writer) => {
                    let _ = opened.send(Ok(()));
                    Driver::new(spec, clock, writer).drive(queue)
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                    None
                }
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(closed(Applied::No)))?;
        Ok(lane)
    }

    /// Starts a thread that reads: each operation for itself, in no transaction.
    pub(crate) fn for_reads(spec: Arc<Spec>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::start("sentinel-sqlite-reads", move |mut queue| {
            let mut reader = None;
            while let Some(Message::Work(work)) = queue.blocking_recv() {
                carry_out_read(&spec, &*clock, &mut reader, work);
            }
            reader
        })
    }

    /// `drive` returns the connection that it leaves open.
    fn start<T>(
        name: &str,
        drive: impl FnOnce(mpsc::Receiver<Message>) -> T + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let connected: Connected = exit::connected(queue.downgrade());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let open = drive(waiting);
            exit::close(open);
            drop(connected);
        });
        thread.map_err(|error| {
            StoreError::not_applied(ErrorKind::Unreachable, "a thread could not be started").caused_by(error)
        })?;
        Ok(Self { queue })
    }

    /// Sends an operation and waits for its answer. Dropping the future leaves the operation to the lane.
    pub(crate) async fn send<T: Send + 'static>(
        &self,
        run: impl FnMut(Ledger<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Job { run, answer: None, reply });
        self.queue.send(Message::Work(job)).await.map_err(|_| closed(Applied::No))?;
        answer.await.unwrap_or_else(|_| Err(closed(Applied::Ambiguous)))
    }
}

fn closed(applied: Applied) -> StoreError {
    match applied {
        Applied::No => StoreError::not_applied(ErrorKind::Closed, "its thread has ended"),
        Applied::Ambiguous => {
            StoreError::ambiguous(ErrorKind::Closed, "its thread has ended without an answer")
        }
    }
}

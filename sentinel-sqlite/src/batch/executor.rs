//! What the two threads of a store do with the operations that are sent to them.
//!
//! The writer gathers its batches itself, and not with the `Batcher` of sentinel-store-kit: it is a thread that blocks,
//! polls before it sleeps, and learns from a bounded queue that the process ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sentinel_core::{Applied, Clock, ErrorKind, StoreError};
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::batch::task::{Message, Task};
use crate::connection::context::TransactionContext;
use crate::connection::options::OpenOptions;
use crate::connection::reader::Reader;
use crate::connection::seal;
use crate::connection::time::{now, pause_for};
use crate::connection::turns::Turn;
use crate::connection::writer::{Committed, Writer};
use crate::error::{explain, not_applied};

/// The most operations of one transaction.
const MAX_BATCH: usize = 256;
/// How often the writer's thread yields to callers that just got their replies, before it commits without them.
const MAX_YIELDS: u32 = 2;
/// How often the writer's thread polls for the next operation before it sleeps: some tens of microseconds, far less
/// than a commit.
const MAX_ATTEMPTS: u32 = 200;

type Queue = mpsc::Receiver<Message>;

/// What the writer's thread owns. The connection is opened again after an error that may have left it unusable.
pub(crate) struct BatchExecutor {
    options: Arc<OpenOptions>,
    clock: Arc<dyn Clock>,
    writer: Option<Writer>,
}

/// Why a transaction was not committed.
enum BatchError {
    /// It failed before or after its operations: all of them failed alike.
    Batch(StoreError),
    /// One operation failed; nothing was committed, and the others can be tried without it.
    Task(StoreError),
}

impl BatchExecutor {
    pub(crate) fn new(options: Arc<OpenOptions>, clock: Arc<dyn Clock>, writer: Option<Writer>) -> Self {
        Self { options, clock, writer }
    }

    /// Carries out operations until the last sender is dropped and the queue is empty.
    pub(crate) fn run(mut self, mut queue: Queue) -> Option<Writer> {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut batching = false;
        while let Some(first) = next(&mut queue) {
            batch.push(first);
            take_batch(&mut queue, &mut batch, batching);
            batching = batch.len() > 1;
            self.execute(&mut batch);
            self.empty_long_log();
        }
        self.writer
    }

    /// Empties a log that has become long.
    fn empty_long_log(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|writer| writer.has_long_log()) else { return };
        // Without a turn it is tried again after the next transaction.
        if let Ok(_turn) = writer.take_turn(&self.options) {
            writer.shorten_log(&self.options);
        }
    }

    fn execute(&mut self, batch: &mut Vec<Box<dyn Task>>) {
        match self.run_in_turn(batch) {
            Ok(()) => batch.drain(..).for_each(|task| task.reply(Ok(()))),
            Err(BatchError::Task(_)) if batch.len() > 1 => self.execute_one_by_one(batch),
            Err(BatchError::Task(error) | BatchError::Batch(error)) => {
                batch.drain(..).for_each(|task| task.reply(Err(error.clone())));
            }
        }
    }

    /// Each operation in a transaction of its own: one that made the batch fail fails alone.
    fn execute_one_by_one(&mut self, batch: &mut Vec<Box<dyn Task>>) {
        let mut stopped: Option<StoreError> = None;
        for mut task in batch.drain(..) {
            if let Some(error) = &stopped {
                task.reply(Err(error.clone()));
                continue;
            }
            let result = self.run_in_turn(std::slice::from_mut(&mut task));
            if let Err(BatchError::Batch(error)) = &result {
                // The rest is not tried: it would wait out the busy timeout once for each operation.
                let why = format!("not tried, because the operation before it failed: {error}");
                stopped = Some(StoreError::not_applied(error.kind(), why));
            }
            task.reply(result.map_err(|(BatchError::Task(error) | BatchError::Batch(error))| error));
        }
    }

    /// In this process' turn: `BEGIN IMMEDIATE`, the operations, `COMMIT`. Something was committed only if it returns
    /// `Ok`, or an ambiguous error.
    fn run_in_turn(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<(), BatchError> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::open(&self.options).map_err(BatchError::Batch)?,
        };
        let turn = match self.sealed_turn(&mut writer) {
            Ok(turn) => turn,
            Err(error) => {
                self.keep_if_rolled_back(writer);
                return Err(BatchError::Batch(error));
            }
        };
        let done = self.run_transaction(writer, tasks);
        drop(turn);
        done
    }

    /// Waits for this process' turn to write, and for the file to be sealed. A reader can keep it from being sealed, so
    /// other processes, which may have sealed it before, have their turns in between.
    fn sealed_turn(&self, writer: &mut Writer) -> Result<Option<Turn>, StoreError> {
        const PAUSE: Duration = Duration::from_millis(10);
        let began = now();
        loop {
            let turn = writer.take_turn(&self.options)?;
            if writer.seal_first(&self.options)? {
                return Ok(turn);
            }
            drop(turn);
            writer.is_there(&self.options)?;
            if began.elapsed() >= self.options.busy_timeout {
                return Err(seal::blocked_by_reader(&self.options));
            }
            pause_for(PAUSE);
        }
    }

    fn run_transaction(&mut self, mut writer: Writer, tasks: &mut [Box<dyn Task>]) -> Result<(), BatchError> {
        if let Err(error) = writer.begin(&self.options) {
            self.keep_if_rolled_back(writer);
            return Err(BatchError::Batch(error));
        }
        let max_events = self.options.max_events;
        let context = TransactionContext { connection: writer.connection(), clock: &*self.clock, max_events };
        for task in tasks {
            if let Err(error) = run(&mut **task, context, &self.options) {
                self.keep_if_rolled_back(writer);
                return Err(BatchError::Task(error));
            }
        }
        match writer.commit() {
            Committed::Yes => {
                writer.seal_again(&self.options);
                self.writer = Some(writer);
                Ok(())
            }
            Committed::No(error) => {
                self.keep_if_rolled_back(writer);
                Err(BatchError::Batch(not_applied(&self.options.path, error)))
            }
            // The connection is dropped: its view of the file may be wrong too.
            Committed::Maybe(error) => {
                Err(BatchError::Batch(explain(&self.options.path, Applied::Ambiguous, error)))
            }
        }
    }

    /// A connection that cannot roll back is closed, which does it; the next operation opens another.
    fn keep_if_rolled_back(&mut self, mut writer: Writer) {
        if writer.roll_back() {
            self.writer = Some(writer);
        }
    }
}

/// The next operation. A caller that just got its reply often sends the next one in less time than this thread takes to
/// fall asleep and wake up: the queue is polled for a little while, then the thread sleeps.
fn next(queue: &mut Queue) -> Option<Box<dyn Task>> {
    for _ in 0..MAX_ATTEMPTS {
        match queue.try_recv() {
            Ok(Message::Task(task)) => return Some(task),
            Ok(Message::Close) => queue.close(),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
    loop {
        match queue.blocking_recv() {
            Some(Message::Task(task)) => return Some(task),
            // What was sent before is still carried out.
            Some(Message::Close) => queue.close(),
            None => return None,
        }
    }
}

/// Takes what waits. After a batch of several, their callers are likely to send again: they get the chance to, so that
/// the first of them is not committed alone. After a batch of one, nothing waits.
fn take_batch(queue: &mut Queue, batch: &mut Vec<Box<dyn Task>>, batching: bool) {
    let mut idle = if batching { 0 } else { MAX_YIELDS };
    while batch.len() < MAX_BATCH {
        match queue.try_recv() {
            Ok(Message::Close) => queue.close(),
            Ok(Message::Task(task)) => {
                batch.push(task);
                idle = idle.min(if batching { 0 } else { MAX_YIELDS });
            }
            Err(_) if idle < MAX_YIELDS => {
                idle += 1;
                thread::yield_now();
            }
            Err(_) => break,
        }
    }
}

/// Runs one operation; a panic (for example of a clock) fails only this operation and does not end the thread.
fn run(
    task: &mut dyn Task,
    context: TransactionContext<'_>,
    options: &OpenOptions,
) -> Result<(), StoreError> {
    match catch_unwind(AssertUnwindSafe(|| task.run(context, options))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(fault.into_error(&options.path, Applied::No)),
        Err(_) => Err(StoreError::not_applied(ErrorKind::BrokenStore, "the operation panicked")),
    }
}

/// Carries out one read on the readers' connection, which is opened when it is first needed and after each failure.
pub(crate) fn execute_read(
    options: &OpenOptions,
    clock: &dyn Clock,
    reader: &mut Option<Reader>,
    mut task: Box<dyn Task>,
) {
    let open = match reader.take() {
        Some(open) => Ok(open),
        None => Reader::open(options),
    };
    let result = open.and_then(|open| {
        let context =
            TransactionContext { connection: &open.connection, clock, max_events: options.max_events };
        run(&mut *task, context, options)?;
        *reader = Some(open).filter(|open| open.can_stay);
        Ok(())
    });
    task.reply(result);
}

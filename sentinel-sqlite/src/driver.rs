//! What the two threads of a store do with the operations that reach them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sentinel_core::{Applied, Clock, ErrorKind, StoreError};
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::connection::{Committed, Reader, Spec, Writer, now, pause_for};
use crate::error::not_applied;
use crate::lane::{Message, Work};
use crate::ledger::Ledger;
use crate::line::Turn;
use crate::seal;

/// The most operations of one transaction.
const BATCH: usize = 256;
/// How often the lane yields to callers that were just answered, before it goes without them.
const YIELDS: u32 = 2;
/// How often the lane looks for the next operation before it sleeps: some tens of microseconds, far less than a commit.
const LOOKS: u32 = 200;

type Queue = mpsc::Receiver<Message>;

/// What the lane's thread owns. The connection is opened anew after anything that left it in doubt.
pub(crate) struct Driver {
    spec: Arc<Spec>,
    clock: Arc<dyn Clock>,
    writer: Option<Writer>,
}

/// Why a transaction was not committed.
enum Failure {
    /// Before or after its operations: it befell all of them alike.
    Whole(StoreError),
    /// One operation did it; nothing was committed, and the others can be tried without it.
    Part(StoreError),
}

impl Driver {
    pub(crate) fn new(spec: Arc<Spec>, clock: Arc<dyn Clock>, writer: Option<Writer>) -> Self {
        Self { spec, clock, writer }
    }

    /// Carries out what comes, until the last sender is gone and nothing waits any more.
    pub(crate) fn drive(mut self, mut queue: Queue) -> Option<Writer> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut company = false;
        while let Some(first) = next(&mut queue) {
            batch.push(first);
            gather(&mut queue, &mut batch, company);
            company = batch.len() > 1;
            self.carry_out(&mut batch);
            self.tidy_up();
        }
        self.writer
    }

    /// Empties a log that has become long.
    fn tidy_up(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|writer| writer.has_long_log()) else { return };
        // Who gets no turn tries again after the next transaction.
        if let Ok(_turn) = writer.take_turn(&self.spec) {
            writer.shorten_log(&self.spec);
        }
    }

    fn carry_out(&mut self, batch: &mut Vec<Box<dyn Work>>) {
        match self.attempt(batch) {
            Ok(()) => batch.drain(..).for_each(|work| work.settle(Ok(()))),
            Err(Failure::Part(_)) if batch.len() > 1 => self.take_apart(batch),
            Err(Failure::Part(error) | Failure::Whole(error)) => {
                batch.drain(..).for_each(|work| work.settle(Err(error.clone())));
            }
        }
    }

    /// Each operation in a transaction of its own: what harmed the common one harms only itself.
    fn take_apart(&mut self, batch: &mut Vec<Box<dyn Work>>) {
        let mut stopped: Option<StoreError> = None;
        for mut work in batch.drain(..) {
            if let Some(error) = &stopped {
                work.settle(Err(error.clone()));
                continue;
            }
            let fate = self.attempt(std::slice::from_mut(&mut work));
            if let Err(Failure::Whole(error)) = &fate {
                // The rest is not tried: it would wait out the busy timeout once for each operation.
                let why = format!("not tried, because just before: {error}");
                stopped = Some(StoreError::not_applied(error.kind(), why));
            }
            work.settle(fate.map_err(|(Failure::Part(error) | Failure::Whole(error))| error));
        }
    }

    /// In this process' turn: `BEGIN IMMEDIATE`, the operations, `COMMIT`. Nothing was committed unless it says Ok, or an ambiguous error.
    fn attempt(&mut self, works: &mut [Box<dyn Work>]) -> Result<(), Failure> {
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::open(&self.spec).map_err(Failure::Whole)?,
        };
        let turn = match self.sealed_turn(&mut writer) {
            Ok(turn) => turn,
            Err(error) => {
                self.keep_if_rolled_back(writer);
                return Err(Failure::Whole(error));
            }
        };
        let done = self.attempt_now(writer, works);
        drop(turn);
        done
    }

    /// Waits for this process' turn to write, and for the file to be sealed. A reader can keep it from being sealed, so
    /// other processes, which may have sealed it before, have their turns in between.
    fn sealed_turn(&self, writer: &mut Writer) -> Result<Option<Turn>, StoreError> {
        const PAUSE: Duration = Duration::from_millis(10);
        let began = now();
        loop {
            let turn = writer.take_turn(&self.spec)?;
            if writer.seal_first(&self.spec)? {
                return Ok(turn);
            }
            drop(turn);
            writer.is_there(&self.spec)?;
            if began.elapsed() >= self.spec.busy_timeout {
                return Err(seal::kept_by_a_reader(&self.spec));
            }
            pause_for(PAUSE);
        }
    }

    fn attempt_now(&mut self, mut writer: Writer, works: &mut [Box<dyn Work>]) -> Result<(), Failure> {
        if let Err(error) = writer.begin(&self.spec) {
            self.keep_if_rolled_back(writer);
            return Err(Failure::Whole(error));
        }
        let max_events = self.spec.max_events;
        let ledger = Ledger { connection: writer.connection(), clock: &*self.clock, max_events };
        for work in works {
            if let Err(error) = run(&mut **work, ledger, &self.spec) {
                self.keep_if_rolled_back(writer);
                return Err(Failure::Part(error));
            }
        }
        match writer.commit() {
            Committed::Yes => {
                writer.seal_again(&self.spec);
                self.writer = Some(writer);
                Ok(())
            }
            Committed::No(error) => {
                self.keep_if_rolled_back(writer);
                Err(Failure::Whole(not_applied(&self.spec.path, error)))
            }
            // The connection is dropped: what it believes of the file is in doubt too.
            Committed::Maybe(error) => {
                Err(Failure::Whole(crate::error::explain(&self.spec.path, Applied::Ambiguous, error)))
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

/// The next operation. A caller that was just answered often has its next one ready in less time than this thread takes to
/// be put to sleep and woken up: it is looked for a little while, then slept for.
fn next(queue: &mut Queue) -> Option<Box<dyn Work>> {
    for _ in 0..LOOKS {
        match queue.try_recv() {
            Ok(Message::Work(work)) => return Some(work),
            Ok(Message::Close) => queue.close(),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
    loop {
        match queue.blocking_recv() {
            Some(Message::Work(work)) => return Some(work),
            // What was sent before is still carried out.
            Some(Message::Close) => queue.close(),
            None => return None,
        }
    }
}

/// Takes what waits. Where callers come in company, those just answered are about to come again: they get the chance to,
/// so that the first of them is not sent alone. A lone caller never waits.
fn gather(queue: &mut Queue, batch: &mut Vec<Box<dyn Work>>, company: bool) {
    let mut quiet = if company { 0 } else { YIELDS };
    while batch.len() < BATCH {
        match queue.try_recv() {
            Ok(Message::Close) => queue.close(),
            Ok(Message::Work(work)) => {
                batch.push(work);
                quiet = quiet.min(if company { 0 } else { YIELDS });
            }
            Err(_) if quiet < YIELDS => {
                quiet += 1;
                thread::yield_now();
            }
            Err(_) => break,
        }
    }
}

/// Runs one operation; a panic (of a clock, say) is its own failure and does not end the thread.
fn run(work: &mut dyn Work, ledger: Ledger<'_>, spec: &Spec) -> Result<(), StoreError> {
    match catch_unwind(AssertUnwindSafe(|| work.run(ledger, spec))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(fault.into_error(&spec.path, Applied::No)),
        Err(_) => Err(StoreError::not_applied(ErrorKind::BrokenStore, "the operation panicked")),
    }
}

/// Carries out one read on the readers' connection, which is opened when it is first needed and after each failure.
pub(crate) fn carry_out_read(
    spec: &Spec,
    clock: &dyn Clock,
    reader: &mut Option<Reader>,
    mut work: Box<dyn Work>,
) {
    let open = match reader.take() {
        Some(open) => Ok(open),
        None => spec.open_for_reads(),
    };
    let fate = open.and_then(|open| {
        let ledger = Ledger { connection: &open.connection, clock, max_events: spec.max_events };
        run(&mut *work, ledger, spec)?;
        *reader = Some(open).filter(|open| open.can_stay);
        Ok(())
    });
    work.settle(fate);
}

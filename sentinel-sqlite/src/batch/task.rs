//! An operation on its way to a thread: what it does, and where its reply goes.

use sentinel_core::{Applied, ErrorKind, StoreError};
use sentinel_store_kit::ReplyTo;

use crate::connection::context::TransactionContext;
use crate::connection::options::OpenOptions;
use crate::error::Fault;

/// What is sent to a thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// An operation to carry out.
    Task(Box<dyn Task>),
    /// The process ends: close the connection, after what was sent before.
    Close,
}

/// One operation: what it does, and where its reply goes.
pub(crate) trait Task: Send {
    /// Carries it out. `Err`: the transaction may be harmed; it is rolled back, and this may be called again.
    fn run(&mut self, context: TransactionContext<'_>, options: &OpenOptions) -> Result<(), Fault>;
    /// Replies with what `run` found, once that is durable, or with the error of the whole transaction.
    fn reply(self: Box<Self>, result: Result<(), StoreError>);
}

/// An operation made of a function.
pub(crate) struct Pending<T, F> {
    run: F,
    found: Option<Result<T, StoreError>>,
    reply_to: ReplyTo<T>,
}

impl<T, F> Pending<T, F> {
    pub(crate) fn new(run: F, reply_to: ReplyTo<T>) -> Self {
        Self { run, found: None, reply_to }
    }
}

impl<T: Send, F: FnMut(TransactionContext<'_>) -> Result<T, Fault> + Send> Task for Pending<T, F> {
    fn run(&mut self, context: TransactionContext<'_>, options: &OpenOptions) -> Result<(), Fault> {
        self.found = match (self.run)(context) {
            Err(fault) if fault.harms_transaction() => return Err(fault),
            found => Some(found.map_err(|fault| fault.into_error(&options.path, Applied::No))),
        };
        Ok(())
    }

    fn reply(self: Box<Self>, result: Result<(), StoreError>) {
        let reply = match (result, self.found) {
            // What was refused before it wrote anything was not applied, whatever became of the transaction.
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(Ok(found))) => Ok(found),
            (Ok(()), None) => {
                Err(StoreError::not_applied(ErrorKind::BrokenStore, "the operation was not run"))
            }
        };
        // The caller may have stopped waiting.
        let _ = self.reply_to.send(reply);
    }
}

impl std::fmt::Debug for dyn Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

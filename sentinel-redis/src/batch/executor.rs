//! Requests that arrive while earlier ones are in flight are sent together.

use std::collections::VecDeque;
use std::sync::Arc;

use sentinel_core::StoreError;
use sentinel_store_kit::{BatchExecutor, Batcher, reply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::call::Caller;
use super::execute::execute;
use super::reply::ScriptReply;
use super::request::{Pending, ScriptRequest};

/// How many batches are in flight at once: the server works on one while another is being sent.
const MAX_IN_FLIGHT: usize = 2;

/// Gathers requests into batches, on a task of its own.
pub(crate) struct ScriptBatcher {
    caller: Arc<Caller>,
    batcher: Batcher<ScriptExecutor>,
}

impl ScriptBatcher {
    pub(crate) fn new(caller: Arc<Caller>) -> Self {
        Self { batcher: Batcher::new(ScriptExecutor(caller.clone())), caller }
    }

    /// Calls a script on a record, and waits for its reply within the limit.
    pub(crate) async fn call(&self, request: ScriptRequest) -> Result<ScriptReply, StoreError> {
        let (reply_to, pending) = oneshot::channel();
        self.batcher.send(Pending { request, reply_to });
        reply(pending, self.caller.limit()).await
    }
}

/// Executes batches, each on a task of its own.
struct ScriptExecutor(Arc<Caller>);

/// The batches in flight: each has a permit, and the next one waits for its own.
struct InFlight {
    permits: Arc<Semaphore>,
    next: Option<OwnedSemaphorePermit>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_IN_FLIGHT)), next: None }
    }
}

impl BatchExecutor for ScriptExecutor {
    type Item = Pending;
    type Session = InFlight;

    const MAX_BATCH: usize = 512;
    /// No limit: a caller waits for its reply, so that there are as many requests as callers.
    const MAX_OUTSTANDING: usize = usize::MAX;

    async fn ready(&self, in_flight: &mut InFlight) {
        // The semaphore is never closed.
        in_flight.next = in_flight.permits.clone().acquire_owned().await.ok();
    }

    /// Takes all of them: they are split by bucket later.
    fn take_batch(&self, waiting: &mut VecDeque<Pending>, _: usize) -> Vec<Pending> {
        waiting.drain(..).collect()
    }

    async fn execute(&self, in_flight: &mut InFlight, batch: Vec<Pending>) {
        let (caller, permit) = (self.0.clone(), in_flight.next.take());
        tokio::spawn(async move {
            execute(&caller, batch).await;
            drop(permit);
        });
    }

    fn refuse(&self, item: Pending, error: StoreError) {
        // A caller that has gone does not wait for it.
        let _ = item.reply_to.send(Err(error));
    }
}

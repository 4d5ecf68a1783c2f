//! Requests that arrive while earlier ones are in flight are sent together.
//!
//! A caller that goes away drops a receiver, never a request, and a batcher never releases or cancels for it. There
//! is no timer. A batcher's task lives on the runtime of its first caller, and starts again on another runtime if
//! that one ends.

use std::sync::{Arc, Mutex, PoisonError};

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::call::Caller;
use super::execute::execute;
use super::reply::ScriptReply;
use super::request::{Pending, ScriptRequest};

/// The most requests of one batch.
const MAX_BATCH: usize = 512;

/// How many batches are in flight at once: the server works on one while another is being sent.
const MAX_IN_FLIGHT: usize = 2;

/// Gathers requests into batches, on a task of its own.
pub(crate) struct Batcher {
    caller: Arc<Caller>,
    task: Mutex<Option<mpsc::UnboundedSender<Pending>>>,
}

impl Batcher {
    pub(crate) fn new(caller: Arc<Caller>) -> Self {
        Self { caller, task: Mutex::default() }
    }

    /// Calls a script on a record, and waits for its reply within the limit. If the task ended without a reply, it
    /// may have sent the request.
    pub(crate) async fn call(&self, request: ScriptRequest) -> Result<ScriptReply, StoreError> {
        let (reply_to, reply) = oneshot::channel();
        self.send(Pending { request, reply_to });
        let (limit, lost) = (self.caller.limit(), |why| StoreError::ambiguous(ErrorKind::LostReply, why));
        match timeout(limit, reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => {
                Err(lost("the runtime of the store's connection ended before the reply came".to_owned()))
            }
            Err(_) => Err(lost(format!("no reply came within {limit:?}"))),
        }
    }

    fn send(&self, item: Pending) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let item = match task.as_ref() {
            Some(open) => match open.send(item) {
                Ok(()) => return,
                Err(mpsc::error::SendError(back)) => back,
            },
            None => item,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        if sender.send(item).is_ok() {
            tokio::spawn(drive(self.caller.clone(), receiver));
            *task = Some(sender);
        }
    }
}

async fn drive(caller: Arc<Caller>, mut receiver: mpsc::UnboundedReceiver<Pending>) {
    let out = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut batching = false;
    while let Some(first) = receiver.recv().await {
        let Ok(permit) = out.clone().acquire_owned().await else { return };
        let mut items = vec![first];
        take_batch(&mut receiver, &mut items, batching).await;
        batching = items.len() > 1;
        let caller = caller.clone();
        tokio::spawn(async move {
            execute(&caller, items).await;
            drop(permit);
        });
    }
}

/// Takes the requests that are queued, and yields so that callers with fresh replies can send again: until two yields
/// bring nothing. A lone caller waits for no others.
async fn take_batch<T>(receiver: &mut mpsc::UnboundedReceiver<T>, items: &mut Vec<T>, batching: bool) {
    let mut idle = if batching { 0 } else { 1 };
    while idle < 2 && items.len() < MAX_BATCH {
        let before = items.len();
        while let Ok(item) = receiver.try_recv() {
            items.push(item);
        }
        idle = if items.len() == before { idle + 1 } else { 0 };
        if idle < 2 {
            yield_now().await;
        }
    }
}

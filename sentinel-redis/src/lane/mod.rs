//! Lanes: whatever waits while earlier requests are out goes out together.
//!
//! A caller that goes away drops a receiver, never a request, and a lane never releases or cancels for it. There is no
//! timer. A lane lives on the runtime of whoever used it first, and starts again on another's if that runtime ends.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sentinel_core::{Address, ErrorKind, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::call::Caller;
use crate::script::Script;
use crate::transition::Told;

mod ship;

/// The most items that are taken at once.
const FLUSH: usize = 512;

/// How many flushes are out at once: the server works on one while another is on its way.
const OUT: usize = 2;

/// A request on one record.
struct Item {
    ask: Ask,
    reply: oneshot::Sender<Result<Told, StoreError>>,
}

/// What is asked of one record.
pub(crate) struct Ask {
    pub(crate) script: Script,
    /// It stands behind the others of its call.
    pub(crate) behind: bool,
    pub(crate) address: Address,
    pub(crate) arg: Bytes,
    pub(crate) barrier: bool,
}

/// A way to the task that drives the lane.
pub(crate) struct Lane {
    caller: Arc<Caller>,
    way: Mutex<Option<mpsc::UnboundedSender<Item>>>,
}

impl Lane {
    pub(crate) fn new(caller: Arc<Caller>) -> Self {
        Self { caller, way: Mutex::default() }
    }

    /// Has a script called on a record, and waits for its answer, not for ever. A lane that ended without one may have sent
    /// the request.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Told, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Item { ask, reply });
        let (limit, lost) = (self.caller.limit(), |why| StoreError::ambiguous(ErrorKind::LostReply, why));
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                Err(lost("the runtime of the store's connection ended before the reply came".to_owned()))
            }
            Err(_) => Err(lost(format!("no reply came within {limit:?}"))),
        }
    }

    fn send(&self, item: Item) {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let item = match way.as_ref() {
            Some(open) => match open.send(item) {
                Ok(()) => return,
                Err(mpsc::error::SendError(back)) => back,
            },
            None => item,
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        if sender.send(item).is_ok() {
            tokio::spawn(drive(self.caller.clone(), receiver));
            *way = Some(sender);
        }
    }
}

async fn drive(caller: Arc<Caller>, mut receiver: mpsc::UnboundedReceiver<Item>) {
    let out = Arc::new(Semaphore::new(OUT));
    let mut company = false;
    while let Some(first) = receiver.recv().await {
        let Ok(place) = out.clone().acquire_owned().await else { return };
        let mut items = vec![first];
        gather(&mut receiver, &mut items, company).await;
        company = items.len() > 1;
        let caller = caller.clone();
        tokio::spawn(async move {
            ship::ship(&caller, items).await;
            drop(place);
        });
    }
}

/// Takes what is there, and gives those who were just answered a turn to come back: until two turns bring nothing. A lone
/// caller has no company to wait for.
async fn gather<T>(receiver: &mut mpsc::UnboundedReceiver<T>, items: &mut Vec<T>, company: bool) {
    let mut quiet = if company { 0 } else { 1 };
    while quiet < 2 && items.len() < FLUSH {
        let before = items.len();
        while let Ok(item) = receiver.try_recv() {
            items.push(item);
        }
        quiet = if items.len() == before { quiet + 1 } else { 0 };
        if quiet < 2 {
            yield_now().await;
        }
    }
}

//! The lane: whatever waits while earlier requests are out goes out together, as one script call for each bucket and kind of
//! request, all of them in one pipeline.
//!
//! A caller that goes away drops a receiver, never a request, and the lane never releases or cancels for it. There is no
//! timer. It lives on the runtime of whoever used it first, and starts again on another's if that runtime ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::{Address, StoreError, Trouble};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::call::{Caller, Group};
use crate::script::Script;

/// The most items of one script call: the server does nothing else while it runs.
const CAP: usize = 64;

/// The most items that are taken at once.
const FLUSH: usize = 512;

/// How many flushes are out at once: the server works on one while another is on its way.
const OUT: usize = 2;

/// What a lane is asked.
pub(crate) struct Item {
    pub(crate) script: Script,
    pub(crate) address: Address,
    pub(crate) arg: Bytes,
    pub(crate) barrier: bool,
    pub(crate) answer: oneshot::Sender<Result<Bytes, StoreError>>,
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

    /// Asks, and waits for the answer. A lane that ended without one may have sent the request.
    pub(crate) async fn ask(
        &self,
        script: Script,
        address: &Address,
        arg: Bytes,
        barrier: bool,
    ) -> Result<Bytes, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Item { script, address: address.clone(), arg, barrier, answer });
        let limit = self.caller.limit();
        let lost = |why: String| StoreError::ambiguous(Trouble::LostReply, why);
        match timeout(limit, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                Err(lost("the runtime of the store's connection ended before the reply came".into()))
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
            ship(&caller, items).await;
            drop(place);
        });
    }
}

/// Takes what is there, and gives those who were just answered a turn to come back. A lone caller has no company to wait for.
async fn gather(receiver: &mut mpsc::UnboundedReceiver<Item>, items: &mut Vec<Item>, company: bool) {
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

/// Sends a flush, and answers each item.
async fn ship(caller: &Caller, items: Vec<Item>) {
    let mut groups: HashMap<_, Vec<Item>> = HashMap::new();
    for item in items {
        let place =
            (item.script, item.address.namespace.clone(), caller.number_of(&item.address), item.address.kind);
        groups.entry(place).or_default().push(item);
    }
    let calls = groups.into_values().flat_map(pages).map(|items| one_call(caller, items));
    futures_util::future::join_all(calls).await;
}

/// In calls of so many items.
fn pages(mut items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut pages = Vec::new();
    while items.len() > CAP {
        let rest = items.split_off(CAP);
        pages.push(std::mem::replace(&mut items, rest));
    }
    pages.push(items);
    pages
}

async fn one_call(caller: &Caller, items: Vec<Item>) {
    let Some(first) = items.first() else { return };
    let group = Group {
        script: first.script,
        namespace: first.address.namespace.clone(),
        number: caller.number_of(&first.address),
        kind: first.address.kind,
        keys: items.iter().map(|item| item.address.key.clone()).collect(),
        args: items.iter().map(|item| item.arg.clone()).collect(),
        barrier: items.iter().any(|item| item.barrier),
    };
    match caller.call(&group).await {
        Ok(answers) => {
            let mut answers = answers.into_iter();
            for item in items {
                let none = || StoreError::ambiguous(Trouble::BrokenStore, "a script answered too little");
                // A caller that has gone does not wait for it.
                let _ = item.answer.send(answers.next().ok_or_else(none));
            }
        }
        Err(error) => {
            for item in items {
                let _ = item.answer.send(Err(error.clone()));
            }
        }
    }
}

/// How long a caller waits at most: for what is out, and for its own.
pub(crate) fn limit(deadline: Duration) -> Duration {
    deadline * 2
}

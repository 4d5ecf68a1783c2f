//! Lanes: a few connections, each driven by one task. An operation is a message to a lane, and whatever waits when the
//! lane is free goes out as one statement.
//!
//! A caller that goes away drops a receiver, never a query, and a lane never releases or cancels for it. There is no
//! timer: while one statement is out, the next batch gathers. A lane lives on the runtime of whoever used it first, and
//! starts again on another's if that runtime ends.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::link::{Dialer, Link, Patience};

pub(crate) mod hot;
pub(crate) mod jobs;
pub(crate) mod look;
pub(crate) mod pair;
pub(crate) mod replay;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

/// The most items of one statement.
const CAP: usize = 256;

/// The most items that one lane owes an answer.
const WAITING: usize = 1 << 16;

/// What a lane does with what waits for it.
pub(crate) trait Freight: Send + Sync + 'static {
    type Item: Send + 'static;

    /// Takes from the front what may go out together.
    fn load(&self, waiting: &mut VecDeque<Self::Item>, cap: usize) -> Vec<Self::Item>;

    /// Sends it, and answers each item.
    fn ship(&self, link: &mut Link, batch: Vec<Self::Item>) -> impl Future<Output = ()> + Send;

    /// Answers an item that was never sent.
    fn refuse(&self, item: Self::Item, error: StoreError);
}

/// Who is in a statement already, by the hash of what must stand in it once. Two that are told apart by nothing but their
/// names may share a hash: the second goes out with the next statement, which costs a turn and nothing else.
#[derive(Default)]
struct Guests {
    hasher: foldhash::fast::RandomState,
    admitted: HashSet<u64, foldhash::fast::RandomState>,
}

impl Guests {
    fn name(&self, of: &impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    fn has(&self, name: u64) -> bool {
        self.admitted.contains(&name)
    }

    fn admit(&mut self, name: u64) {
        self.admitted.insert(name);
    }
}

/// A way to a task that owns a connection.
pub(crate) struct Lane<F: Freight> {
    freight: Arc<F>,
    dialer: Arc<Dialer>,
    patience: Patience,
    way: Mutex<Option<mpsc::UnboundedSender<F::Item>>>,
    outstanding: Arc<AtomicUsize>,
}

impl<F: Freight> fmt::Debug for Lane<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

impl<F: Freight> Lane<F> {
    pub(crate) fn new(freight: F, dialer: Arc<Dialer>, patience: Patience) -> Self {
        Self {
            freight: Arc::new(freight),
            dialer,
            patience,
            way: Mutex::default(),
            outstanding: Arc::default(),
        }
    }

    /// How many items wait for their answers.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Hands an item over; its answer comes by the item's own way.
    pub(crate) fn send(&self, item: F::Item) {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            let detail = format!("{WAITING} requests wait already");
            return self.freight.refuse(item, StoreError::not_applied(ErrorKind::Busy, detail));
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let mut item = item;
        if let Some(open) = way.as_ref() {
            match open.send(item) {
                Ok(()) => return,
                // The lane ended with its runtime: what was in it was answered by being dropped.
                Err(mpsc::error::SendError(back)) => item = back,
            }
            self.outstanding.store(1, Ordering::Relaxed);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        if sender.send(item).is_ok() {
            self.start(receiver);
            *way = Some(sender);
        }
    }

    fn start(&self, receiver: mpsc::UnboundedReceiver<F::Item>) {
        let drive = Drive {
            freight: self.freight.clone(),
            dialer: self.dialer.clone(),
            patience: self.patience,
            outstanding: self.outstanding.clone(),
            receiver,
            gathered: VecDeque::new(),
            link: None,
        };
        tokio::spawn(drive.on());
    }
}

struct Drive<F: Freight> {
    freight: Arc<F>,
    dialer: Arc<Dialer>,
    patience: Patience,
    outstanding: Arc<AtomicUsize>,
    receiver: mpsc::UnboundedReceiver<F::Item>,
    gathered: VecDeque<F::Item>,
    link: Option<Link>,
}

impl<F: Freight> Drive<F> {
    async fn on(mut self) {
        let mut company = false;
        loop {
            if self.gathered.is_empty() {
                match self.receiver.recv().await {
                    Some(item) => self.gathered.push_back(item),
                    None => return,
                }
            }
            self.gather(company).await;
            let batch = self.freight.load(&mut self.gathered, CAP);
            company = batch.len() > 1;
            let answered = batch.len();
            self.ship(batch).await;
            self.outstanding.fetch_sub(answered, Ordering::Relaxed);
        }
    }

    /// Takes what is there, and gives those who were just answered a turn to come back: until two turns bring nothing. A
    /// lone caller has no company to wait for.
    async fn gather(&mut self, company: bool) {
        let mut quiet = if company { 0 } else { 1 };
        while quiet < 2 && self.gathered.len() < CAP {
            let before = self.gathered.len();
            while let Ok(item) = self.receiver.try_recv() {
                self.gathered.push_back(item);
            }
            quiet = if self.gathered.len() == before { quiet + 1 } else { 0 };
            if quiet < 2 {
                yield_now().await;
            }
        }
    }

    async fn ship(&mut self, batch: Vec<F::Item>) {
        match connected(&mut self.link, &self.dialer, self.patience).await {
            Ok(link) => self.freight.ship(link, batch).await,
            Err(error) => batch.into_iter().for_each(|item| self.freight.refuse(item, error.clone())),
        }
    }
}

/// The link that is there, if it still is, or a new one.
pub(crate) async fn connected<'l>(
    place: &'l mut Option<Link>,
    dialer: &Dialer,
    patience: Patience,
) -> Result<&'l mut Link, StoreError> {
    let alive = match place {
        Some(link) => link.is_alive().await,
        None => false,
    };
    if !alive {
        *place = None;
        return Ok(place.insert(dialer.dial(patience).await?));
    }
    place.as_mut().ok_or_else(closed)
}

/// Where an answer is sent to.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Waits for an answer, for so long at most. A lane that ended without one may have sent the request; one that did not
/// answer in time may yet.
pub(crate) async fn answered<T>(
    answer: oneshot::Receiver<Result<T, StoreError>>,
    limit: Duration,
) -> Result<T, StoreError> {
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            let detail = "the runtime of the store's connection ended before the reply came";
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
        Err(_) => {
            let detail = format!("no reply came within {limit:?}");
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
    }
}

fn closed() -> StoreError {
    StoreError::not_applied(ErrorKind::Closed, "the store has no connection")
}

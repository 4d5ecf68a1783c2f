//! A network that loses, delays and repeats.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Listing, Purge, Purged};
use sentinel_core::{Address, CoordinationStore, ErrorKind, Event, StoreError};
use tokio::task::JoinHandle;

use crate::rng::Rng;
use sentinel_core::Layer;

/// What happens to one request. A batch of heartbeats is one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives, and nobody can know: an ambiguous error.
    LoseRequest,
    /// It is carried out, and its reply is lost: an ambiguous error.
    LoseReply,
    /// An ambiguous error at once; the request arrives later, when the caller may long have gone on.
    ArriveAfter(Wait),
    /// It arrives twice, one after the other; the caller gets the second reply.
    Repeat,
    /// It is carried out and answered, and arrives once more later.
    RepeatAfter(Wait),
    /// It arrives late; the caller waits.
    Delay(Wait),
    /// It is refused before anything was sent: proven not applied, worth sending again.
    NotApplied,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// So many turns of the other tasks.
    Turns(u32),
    /// So long by tokio's clock, which a test may pause.
    Time(Duration),
}

impl Wait {
    async fn pass(self) {
        match self {
            Self::Turns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Self::Time(time) => tokio::time::sleep(time).await,
        }
    }
}

/// Which requests meet which faults.
#[derive(Debug, Clone)]
pub struct Plan {
    rng: Rng,
    chances: Vec<(Fault, u64)>,
    script: Vec<(&'static str, Option<u32>, Fault)>,
}

impl Plan {
    /// Nothing happens but what is added.
    pub fn quiet() -> Self {
        Self { rng: Rng::new(0), chances: Vec::new(), script: Vec::new() }
    }

    /// Every kind of fault, about every third request, drawn from a seed.
    pub fn seeded(seed: u64) -> Self {
        let quiet = Self { rng: Rng::new(seed), ..Self::quiet() };
        quiet
            .chance(Fault::LoseRequest, 6)
            .chance(Fault::LoseReply, 8)
            .chance(Fault::ArriveAfter(Wait::Turns(20)), 5)
            .chance(Fault::Repeat, 5)
            .chance(Fault::RepeatAfter(Wait::Turns(30)), 5)
            .chance(Fault::Delay(Wait::Turns(5)), 5)
            .chance(Fault::NotApplied, 4)
    }

    /// So many of a hundred requests meet this fault, drawn from the plan's seed.
    #[must_use]
    pub fn chance(mut self, fault: Fault, percent: u8) -> Self {
        self.chances.push((fault, u64::from(percent)));
        self
    }

    /// The nth request of an operation, counted from 1, meets this fault. The operation is named as the store's method:
    /// `claim`, `begin`, `heartbeat`, ..., `inspect`. Panics at another name.
    #[must_use]
    pub fn nth(mut self, op: &str, nth: u32, fault: Fault) -> Self {
        self.script.push((known(op), Some(nth), fault));
        self
    }

    /// Every request of an operation meets this fault, unless [`nth`](Self::nth) says otherwise.
    #[must_use]
    pub fn every(mut self, op: &str, fault: Fault) -> Self {
        self.script.push((known(op), None, fault));
        self
    }

    fn draw(&mut self, op: &str, nth: u32) -> Option<Fault> {
        let scripted = |which: Option<u32>| {
            let mut script = self.script.iter();
            script.find(|(o, n, _)| *o == op && *n == which).map(|(_, _, fault)| *fault)
        };
        if let Some(fault) = scripted(Some(nth)).or_else(|| scripted(None)) {
            return Some(fault);
        }
        if self.chances.is_empty() {
            return None;
        }
        let mut thrown = self.rng.below(100);
        for (fault, percent) in &self.chances {
            match thrown.checked_sub(*percent) {
                Some(rest) => thrown = rest,
                None => return Some(*fault),
            }
        }
        None
    }
}

const METHODS: [&str; 15] = [
    "claim",
    "begin",
    "heartbeat",
    "complete",
    "cancel",
    "release",
    "abandon",
    "reconcile",
    "force_complete",
    "reset_to_claimed",
    "evict",
    "purge",
    "inspect",
    "list",
    "history",
];

fn known(op: &str) -> &'static str {
    let found = METHODS.into_iter().find(|method| *method == op);
    found.unwrap_or_else(|| panic!("{op:?} is no operation of a store; there are {METHODS:?}"))
}

/// A store behind a network that loses, delays and repeats, as its [`Plan`] says.
///
/// ```
/// # use std::sync::Arc;
/// # use sentinel_conformance::{Fault, Faulty, Plan};
/// # use sentinel_core::CoordinationStore;
/// # fn example(store: Arc<dyn CoordinationStore>) {
/// // The reply to the second begin is lost, and no complete ever arrives.
/// let plan = Plan::quiet().nth("begin", 2, Fault::LoseReply).every("complete", Fault::LoseRequest);
/// let store = Arc::new(Faulty::new(store, plan));
/// # }
/// ```
pub struct Faulty {
    inner: Arc<dyn CoordinationStore>,
    fate: Mutex<Fate>,
    late: Mutex<Vec<JoinHandle<()>>>,
}

struct Fate {
    plan: Plan,
    counts: HashMap<&'static str, u32>,
    met: Vec<Met>,
}

/// A request that met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// The operation.
    pub op: &'static str,
    /// Which of its requests, counted from 1.
    pub nth: u32,
    /// What happened to it.
    pub fault: Fault,
}

impl Faulty {
    /// Puts a network before a store.
    pub fn new(inner: Arc<dyn CoordinationStore>, plan: Plan) -> Self {
        let fate = Fate { plan, counts: HashMap::new(), met: Vec::new() };
        Self { inner, fate: Mutex::new(fate), late: Mutex::default() }
    }

    /// A network that works until [`then`](Self::then) says otherwise.
    pub fn script(inner: Arc<dyn CoordinationStore>) -> Self {
        Self::new(inner, Plan::quiet())
    }

    /// From now on the plan is this one; requests are still counted from the first.
    pub fn then(&self, change: impl FnOnce(Plan) -> Plan) {
        let mut fate = lock(&self.fate);
        fate.plan = change(fate.plan.clone());
    }

    /// The requests that met a fault so far.
    pub fn met(&self) -> Vec<Met> {
        lock(&self.fate).met.clone()
    }

    /// How many requests of an operation were made so far.
    pub fn count(&self, op: &str) -> u32 {
        lock(&self.fate).counts.get(known(op)).copied().unwrap_or_default()
    }

    /// Waits until everything that was to arrive later has arrived.
    pub async fn settle(&self) {
        loop {
            let Some(arriving) = lock(&self.late).pop() else { return };
            // A request that panicked in the store has arrived, too.
            drop(arriving.await);
        }
    }

    fn draw(&self, op: &str) -> Option<Fault> {
        let op = known(op);
        let mut fate = lock(&self.fate);
        let count = fate.counts.entry(op).or_default();
        *count += 1;
        let nth = *count;
        let fault = fate.plan.draw(op, nth)?;
        fate.met.push(Met { op, nth, fault });
        Some(fault)
    }

    async fn through<T, F>(&self, op: &str, call: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        match self.draw(op) {
            None => call().await,
            Some(Fault::LoseRequest) => Err(lost("the request was lost")),
            Some(Fault::LoseReply) => {
                drop(call().await);
                Err(lost("the reply was lost"))
            }
            Some(Fault::ArriveAfter(wait)) => {
                self.later(wait, call());
                Err(lost("the request is late"))
            }
            Some(Fault::Repeat) => {
                drop(call().await);
                call().await
            }
            Some(Fault::RepeatAfter(wait)) => {
                let answer = call().await;
                self.later(wait, call());
                answer
            }
            Some(Fault::Delay(wait)) => {
                wait.pass().await;
                call().await
            }
            Some(Fault::NotApplied) => {
                Err(StoreError::not_applied(ErrorKind::Busy, "the network took nothing"))
            }
        }
    }

    fn later<T: Send + 'static>(
        &self,
        wait: Wait,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let arriving = tokio::spawn(async move {
            wait.pass().await;
            drop(call.await);
        });
        lock(&self.late).push(arriving);
    }
}

fn lost(what: &str) -> StoreError {
    StoreError::ambiguous(ErrorKind::LostReply, what)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Calls of `inner` that own what they need, so that they can be made again after the caller has gone.
macro_rules! owned {
    ($self:ident, $method:ident, $($part:ident),+) => {{
        let (inner, $($part),+) = ($self.inner.clone(), $($part.to_owned()),+);
        move || {
            let (inner, $($part),+) = (inner.clone(), $($part.clone()),+);
            async move { owned!(@call inner, $method, $($part),+) }
        }
    }};
    (@call $inner:ident, history, $address:ident, $limit:ident) => { $inner.history(&$address, $limit).await };
    (@call $inner:ident, $method:ident, $part:ident) => { $inner.$method(&$part).await };
}

#[async_trait]
impl Layer for Faulty {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let (inner, address, name) = (self.inner.clone(), address.clone(), op.name());
        let call = move || {
            let (inner, address, op) = (inner.clone(), address.clone(), op.clone());
            async move { op.send(&*inner, &address).await }
        };
        self.through(name, call).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.through("heartbeat", owned!(self, heartbeat, beats)).await
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.through("purge", owned!(self, purge, purge)).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.through("inspect", owned!(self, inspect, address)).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        self.through("list", owned!(self, list, list)).await
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.through("history", owned!(self, history, address, limit)).await
    }
}

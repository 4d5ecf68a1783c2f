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
    /// It never arrives, and the caller cannot know that: an ambiguous error.
    LoseRequest,
    /// It is carried out, and its reply is lost: an ambiguous error.
    LoseReply,
    /// An ambiguous error at once; the request arrives later, when the caller may have continued.
    ArriveAfter(Latency),
    /// It arrives twice, one after the other; the caller gets the second reply.
    Repeat,
    /// It is carried out and answered, and arrives once more later.
    RepeatAfter(Latency),
    /// It arrives late; the caller waits.
    Delay(Latency),
    /// It is refused before anything was sent: proven not applied, worth sending again.
    NotApplied,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// This number of turns of the other tasks.
    Yields(u32),
    /// This duration by tokio's clock, which a test may pause.
    Time(Duration),
}

impl Latency {
    async fn pass(self) {
        match self {
            Self::Yields(turns) => {
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
pub struct FaultPlan {
    rng: Rng,
    chances: Vec<(Fault, u64)>,
    script: Vec<(&'static str, Option<u32>, Fault)>,
}

impl FaultPlan {
    /// Nothing happens but what is added.
    pub fn none() -> Self {
        Self { rng: Rng::new(0), chances: Vec::new(), script: Vec::new() }
    }

    /// Every kind of fault, about every third request, drawn from a seed.
    pub fn seeded(seed: u64) -> Self {
        let none = Self { rng: Rng::new(seed), ..Self::none() };
        none.chance(Fault::LoseRequest, 6)
            .chance(Fault::LoseReply, 8)
            .chance(Fault::ArriveAfter(Latency::Yields(20)), 5)
            .chance(Fault::Repeat, 5)
            .chance(Fault::RepeatAfter(Latency::Yields(30)), 5)
            .chance(Fault::Delay(Latency::Yields(5)), 5)
            .chance(Fault::NotApplied, 4)
    }

    /// This percentage of the requests meets this fault, drawn from the plan's seed.
    #[must_use]
    pub fn chance(mut self, fault: Fault, percent: u8) -> Self {
        self.chances.push((fault, u64::from(percent)));
        self
    }

    /// The nth request of an operation, counted from 1, meets this fault. The operation is named as the store's method:
    /// `claim`, `begin`, `heartbeat`, ..., `inspect`. Panics at another name.
    #[must_use]
    pub fn nth(mut self, op: &str, nth: u32, fault: Fault) -> Self {
        self.script.push((operation_name(op), Some(nth), fault));
        self
    }

    /// Every request of an operation meets this fault, unless [`nth`](Self::nth) sets another one.
    #[must_use]
    pub fn every(mut self, op: &str, fault: Fault) -> Self {
        self.script.push((operation_name(op), None, fault));
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
        let mut draw = self.rng.below(100);
        for (fault, percent) in &self.chances {
            match draw.checked_sub(*percent) {
                Some(rest) => draw = rest,
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

fn operation_name(op: &str) -> &'static str {
    let found = METHODS.into_iter().find(|method| *method == op);
    found.unwrap_or_else(|| panic!("{op:?} is no operation of a store; there are {METHODS:?}"))
}

/// A store behind a network that loses, delays and repeats requests and replies, as its [`FaultPlan`] determines.
///
/// ```
/// # use std::sync::Arc;
/// # use sentinel_conformance::{Fault, Faulty, FaultPlan};
/// # use sentinel_core::CoordinationStore;
/// # fn example(store: Arc<dyn CoordinationStore>) {
/// // The reply to the second begin is lost, and no complete ever arrives.
/// let plan = FaultPlan::none().nth("begin", 2, Fault::LoseReply).every("complete", Fault::LoseRequest);
/// let store = Arc::new(Faulty::new(store, plan));
/// # }
/// ```
pub struct Faulty {
    inner: Arc<dyn CoordinationStore>,
    progress: Mutex<Progress>,
    late: Mutex<Vec<JoinHandle<()>>>,
}

struct Progress {
    plan: FaultPlan,
    counts: HashMap<&'static str, u32>,
    injected: Vec<InjectedFault>,
}

/// A request that met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedFault {
    /// The operation.
    pub op: &'static str,
    /// Which of its requests, counted from 1.
    pub nth: u32,
    /// What happened to it.
    pub fault: Fault,
}

impl Faulty {
    /// Puts a network before a store.
    pub fn new(inner: Arc<dyn CoordinationStore>, plan: FaultPlan) -> Self {
        let progress = Progress { plan, counts: HashMap::new(), injected: Vec::new() };
        Self { inner, progress: Mutex::new(progress), late: Mutex::default() }
    }

    /// A network without faults until [`then`](Self::then) changes the plan.
    pub fn script(inner: Arc<dyn CoordinationStore>) -> Self {
        Self::new(inner, FaultPlan::none())
    }

    /// From now on the plan is this one; requests are still counted from the first.
    pub fn then(&self, change: impl FnOnce(FaultPlan) -> FaultPlan) {
        let mut progress = lock(&self.progress);
        progress.plan = change(progress.plan.clone());
    }

    /// The requests that met a fault so far.
    pub fn injected(&self) -> Vec<InjectedFault> {
        lock(&self.progress).injected.clone()
    }

    /// How many requests of an operation were made so far.
    pub fn count(&self, op: &str) -> u32 {
        lock(&self.progress).counts.get(operation_name(op)).copied().unwrap_or_default()
    }

    /// Waits until everything that was to arrive later has arrived.
    pub async fn wait_for_late_requests(&self) {
        loop {
            let Some(arriving) = lock(&self.late).pop() else { return };
            // A request that panicked in the store has arrived, too.
            drop(arriving.await);
        }
    }

    fn draw(&self, op: &str) -> Option<Fault> {
        let op = operation_name(op);
        let mut progress = lock(&self.progress);
        let count = progress.counts.entry(op).or_default();
        *count += 1;
        let nth = *count;
        let fault = progress.plan.draw(op, nth)?;
        progress.injected.push(InjectedFault { op, nth, fault });
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
                let reply = call().await;
                self.later(wait, call());
                reply
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
        wait: Latency,
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

/// Calls of `inner` that own what they need, so that they can be made again after the caller was dropped.
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

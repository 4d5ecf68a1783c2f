//! The keeper: sends the heartbeats of all that is held, one batch for each tick, and fires the signal of whoever has
//! lost its authority.
//!
//! Over a store on a server or disk it has a thread and runtime of its own, so that blocking code or an exhausted pool in
//! a function cannot starve it. Over a store in the caller's process it runs on the caller's runtime, so that a paused
//! test and a simulation stay whole.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::clock::LocalClock;
use super::retry::jittered;
use crate::store::CoordinationStore;

mod slots;
mod tick;

use slots::Id;
pub(crate) use tick::{Authority, Entry};
use tick::{Table, Tick};

/// A batch waits this long for its replies at most.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    in_process: bool,
    driver: Mutex<Option<Driver>>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn CoordinationStore>,
    table: Mutex<Table>,
    changed: Notify,
    closed: AtomicBool,
    clock: LocalClock,
}

/// What runs the loop.
#[derive(Debug)]
enum Driver {
    /// A task on the caller's runtime; it ends with that runtime, and is started anew on the next one.
    Task(JoinHandle<()>),
    /// A thread with a runtime of its own.
    Thread(Handle),
}

/// Keeps one grant alive until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeping {
    shared: Arc<Shared>,
    id: Id,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.shared.table().remove(self.id);
    }
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn CoordinationStore>) -> Self {
        let in_process = store.describe().in_process;
        let shared = Shared {
            store,
            table: Mutex::default(),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            clock: LocalClock::new(in_process),
        };
        Self { shared: Arc::new(shared), in_process, driver: Mutex::new(None) }
    }

    pub(crate) fn clock(&self) -> LocalClock {
        self.shared.clock
    }

    /// Keeps a grant alive until the guard is dropped.
    pub(crate) fn keep(&self, entry: Entry) -> Keeping {
        let (id, sooner) = self.shared.table().insert(entry, || self.shared.clock.now(), jittered);
        if sooner {
            self.shared.changed.notify_one();
        }
        drop(self.ensure_driver());
        Keeping { shared: self.shared.clone(), id }
    }

    /// Runs something that outlives its caller, as well as can be: on the keeper's runtime, or the caller's. A store in
    /// this process answers at the first poll, which comes at once: the caller's runtime may be shutting down, or gone.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if !self.in_process
            && let Some(Driver::Thread(handle)) = self.ensure_driver().as_ref()
        {
            handle.spawn(work);
            return;
        }
        let mut work = Box::pin(work);
        if (&mut work).now_or_never().is_none()
            && let Ok(handle) = Handle::try_current()
        {
            handle.spawn(work);
        }
    }

    fn ensure_driver(&self) -> MutexGuard<'_, Option<Driver>> {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = match driver.as_ref() {
            Some(Driver::Task(task)) => !task.is_finished(),
            Some(Driver::Thread(_)) => true,
            None => false,
        };
        if !runs {
            *driver = self.start();
        }
        driver
    }

    fn start(&self) -> Option<Driver> {
        if !self.in_process {
            match start_thread(self.shared.clone()) {
                Ok(handle) => return Some(Driver::Thread(handle)),
                Err(error) => {
                    tracing::error!(%error, "no thread for heartbeats: they share the caller's runtime")
                }
            }
        }
        let handle = Handle::try_current().ok()?;
        Some(Driver::Task(handle.spawn(supervise(self.shared.clone()))))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_thread(shared: Arc<Shared>) -> std::io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let body = move || runtime.block_on(supervise(shared));
    std::thread::Builder::new().name("sentinel-keeper".into()).spawn(body)?;
    Ok(handle)
}

/// Starts the loop again if it panics: without it no signal would fire.
async fn supervise(shared: Arc<Shared>) {
    while AssertUnwindSafe(drive(&shared)).catch_unwind().await.is_err() {
        tracing::error!("the keeper panicked and starts again");
        tokio::task::yield_now().await;
    }
}

async fn drive(shared: &Arc<Shared>) {
    loop {
        // Whatever is kept alive keeps its client, and the client its keeper: nothing is left.
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let tick = shared.table().tick(shared.clock.now(), jittered);
        let wake = tick.wake;
        if !tick.beats.is_empty() {
            // In a task of its own: a store that hangs must not hold up the deadlines.
            tokio::spawn(beat(shared.clone(), tick));
        }
        match wake {
            Some(at) => {
                let pause = at.since(shared.clock.now());
                let _ = tokio::time::timeout(pause, shared.changed.notified()).await;
            }
            None => shared.changed.notified().await,
        }
    }
}

async fn beat(shared: Arc<Shared>, tick: Tick) {
    let sent = shared.clock.now();
    let answer = tokio::time::timeout(REPLY_WITHIN, shared.store.heartbeat(&tick.beats)).await;
    let now = shared.clock.now();
    match answer {
        Ok(Ok(replies)) if replies.len() == tick.ids.len() => {
            shared.table().answered(sent, &tick.ids, &replies);
        }
        Ok(Ok(replies)) => {
            let (beats, replies) = (tick.ids.len(), replies.len());
            tracing::error!(beats, replies, "the store broke its contract: a heartbeat got too few replies");
            shared.table().failed(now, &tick.ids);
        }
        Ok(Err(error)) => {
            tracing::warn!(beats = tick.ids.len(), %error, "heartbeats were not answered");
            shared.table().failed(now, &tick.ids);
        }
        Err(_) => {
            tracing::warn!(beats = tick.ids.len(), "heartbeats got no reply in time");
            shared.table().failed(now, &tick.ids);
        }
    }
    shared.changed.notify_one();
}

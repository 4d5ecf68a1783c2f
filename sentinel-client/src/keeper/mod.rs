//! The keeper sends the heartbeats of all grants that this client holds, one batch for each tick. It fires the signal
//! of each run or lease that has lost its authority.
//!
//! For a store on a server or disk, the keeper has a thread and runtime of its own, so that blocking code or an
//! exhausted thread pool cannot delay heartbeats. For a store in the caller's process it runs on the caller's runtime,
//! so that its time is the same clock that a test pauses or a simulation moves.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_core::Kind;
use sentinel_core::store::CoordinationStore;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::authority::Lost;
use super::clock::{LocalClock, LocalTime};
use super::jitter::jittered;
use super::run::Inner;
use super::signals::events::{self, Origin};
use super::signals::meters::Meters;

mod tick;

use super::slots::Id;
pub(crate) use tick::Entry;
use tick::{News, Table, Tick};

/// The longest wait for the replies to a batch.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    driver: Driver,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn CoordinationStore>,
    table: Mutex<Table>,
    changed: Notify,
    closed: AtomicBool,
    clock: LocalClock,
    meters: Arc<Meters>,
    show_keys: bool,
}

/// Where the loop runs.
#[derive(Debug)]
enum Driver {
    /// A task on the caller's runtime. It ends with that runtime, and is started again on the next one.
    Task(Mutex<Option<JoinHandle<()>>>),
    /// A thread with a runtime of its own, started before the first claim is sent.
    Thread { runtime: OnceLock<Handle>, starting: Mutex<()> },
}

/// Sends heartbeats for one grant until it is dropped.
#[derive(Debug)]
pub(crate) struct KeepAliveGuard {
    shared: Arc<Shared>,
    id: Id,
}

impl Drop for KeepAliveGuard {
    fn drop(&mut self) {
        self.shared.table().remove(self.id);
    }
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn CoordinationStore>, meters: Arc<Meters>, show_keys: bool) -> Self {
        let in_process = store.describe().in_process;
        let driver = match in_process {
            true => Driver::Task(Mutex::default()),
            false => Driver::Thread { runtime: OnceLock::new(), starting: Mutex::default() },
        };
        let shared = Shared {
            store,
            table: Mutex::default(),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            clock: LocalClock::new(in_process),
            meters,
            show_keys,
        };
        Self { shared: Arc::new(shared), driver }
    }

    pub(crate) fn clock(&self) -> LocalClock {
        self.shared.clock
    }

    /// Sends heartbeats for a grant until the guard is dropped.
    pub(crate) fn keep(&self, entry: Entry) -> KeepAliveGuard {
        let (id, sooner) = self.shared.table().insert(entry, || self.shared.clock.now(), jittered);
        if sooner {
            self.shared.changed.notify_one();
        }
        self.ensure_task();
        KeepAliveGuard { shared: self.shared.clone(), id }
    }

    /// Starts the thread for heartbeats if the store needs one and it does not run yet. No claim may be sent before.
    pub(crate) fn ready(&self) -> io::Result<()> {
        let Driver::Thread { runtime, starting } = &self.driver else { return Ok(()) };
        if runtime.get().is_some() {
            return Ok(());
        }
        let _one_at_a_time = starting.lock().unwrap_or_else(PoisonError::into_inner);
        if runtime.get().is_none() {
            let handle = start_thread(self.shared.clone())?;
            runtime.get_or_init(|| handle);
        }
        Ok(())
    }

    /// Runs work that must outlive its caller, on the keeper's runtime if there is one, else on the caller's. The work
    /// is polled once at once, because the caller's runtime may be shutting down or gone. A store in this process
    /// answers at that first poll.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Driver::Thread { runtime, .. } = &self.driver
            && let Some(handle) = runtime.get()
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

    fn ensure_task(&self) {
        let Driver::Task(task) = &self.driver else { return };
        let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(handle) = Handle::try_current()
        {
            *task = Some(handle.spawn(supervise(self.shared.clone())));
        }
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

    /// Changes the table, and reports the news when it is no longer locked: a subscriber of `tracing` may be slow.
    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = self.table();
        let result = change(&mut table);
        let news = table.take_news();
        drop(table);
        news.into_iter().for_each(|news| self.report(news));
        result
    }

    fn report(&self, news: News) {
        let origin = |run: &Arc<Inner>, report: &dyn Fn(&Origin<'_>)| {
            let Inner { address, grant, span, .. } = &**run;
            report(&Origin { address, token: grant.token, show_keys: self.show_keys, span });
        };
        match news {
            News::ContactLost(run) => {
                self.meters.contact_lost(run.address.kind);
                origin(&run, &|origin| origin.contact_lost());
            }
            News::Lost(run, why) => {
                self.meters.lapsed(why);
                if why == Lost::HeartbeatTimeout {
                    self.meters.contact_lost(run.address.kind);
                }
                match run.address.kind {
                    Kind::Lease => origin(&run, &|origin| origin.lease_lost(why)),
                    // The outcome of the call reports what became of it.
                    Kind::Execution => origin(&run, &|origin| origin.step("lapsed")),
                }
            }
        }
    }
}

/// The runtime is created and dropped on its own thread: a runtime that is dropped inside another one panics.
fn start_thread(shared: Arc<Shared>) -> io::Result<Handle> {
    let (report, started) = mpsc::sync_channel(1);
    let body = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let _ = report.send(Ok(runtime.handle().clone()));
            runtime.block_on(supervise(shared));
        }
        Err(error) => drop(report.send(Err(error))),
    };
    std::thread::Builder::new().name("sentinel-keeper".into()).spawn(body)?;
    let ended = |_| Err(io::Error::other("the thread for heartbeats ended before it had started"));
    started.recv().unwrap_or_else(ended)
}

/// Restarts the loop if it panics: without the loop no signal would fire.
async fn supervise(shared: Arc<Shared>) {
    while AssertUnwindSafe(drive(&shared)).catch_unwind().await.is_err() {
        events::heartbeats_restarted();
        tokio::task::yield_now().await;
    }
}

async fn drive(shared: &Arc<Shared>) {
    loop {
        // Every grant that is kept alive owns its client, and the client owns its keeper. So no grant is left here.
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let tick = shared.change(|table| table.tick(shared.clock.now(), jittered));
        let wake = tick.wake;
        if !tick.beats.is_empty() {
            // In a task of its own: a store that does not answer must not delay the deadlines.
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
            let unknown = shared.change(|table| table.answered(sent, &tick.ids, &replies));
            shared.meters.heartbeats_failed(unknown as u64);
        }
        Ok(Ok(replies)) => {
            events::heartbeats_broken(tick.ids.len(), replies.len());
            failed(&shared, now, &tick);
        }
        Ok(Err(error)) => {
            tracing::debug!(target: "sentinel", beats = tick.ids.len(), %error, "heartbeats were not answered");
            failed(&shared, now, &tick);
        }
        Err(_) => {
            tracing::debug!(target: "sentinel", beats = tick.ids.len(), "heartbeats got no reply in time");
            failed(&shared, now, &tick);
        }
    }
    shared.changed.notify_one();
}

fn failed(shared: &Shared, now: LocalTime, tick: &Tick) {
    shared.meters.heartbeats_failed(tick.ids.len() as u64);
    shared.change(|table| table.failed(now, &tick.ids));
}

//! The end of the process: connections are closed before it.
//!
//! The last connection that closes moves all of the log into the main file. A process that ends while its threads hold
//! connections would leave the log behind, however it ends: by returning from `main`, by `process::exit`, or with a
//! runtime that was dropped or not. So a hook at exit asks each thread to close its connection, and waits a little.

use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;

use crate::batch::task::Message;
use crate::connection::time::now;

/// A thread that is in the middle of something gets this long, all of them together.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A thread with a connection.
#[derive(Debug)]
struct RegisteredThread {
    queue: WeakSender<Message>,
    closed: Arc<Closed>,
}

static THREADS: Mutex<Vec<RegisteredThread>> = Mutex::new(Vec::new());

/// Whether a thread has closed its connection. Dropped by the thread when it has.
#[derive(Debug, Default)]
struct Closed {
    is_closed: Mutex<bool>,
    changed: Condvar,
}

/// What a thread keeps while it has a connection.
#[derive(Debug)]
pub(crate) struct Registration(Arc<Closed>);

impl Drop for Registration {
    fn drop(&mut self) {
        *locked(&self.0.is_closed) = true;
        self.0.changed.notify_all();
    }
}

/// Registers a thread that is about to open a connection.
pub(crate) fn register(queue: WeakSender<Message>) -> Registration {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        MAIN.get_or_init(std::process::id);
        shutdown_hooks::add_shutdown_hook(close_all);
    });
    let closed = Arc::<Closed>::default();
    let mut open = locked(&THREADS);
    open.retain(|open| !*locked(&open.closed.is_closed));
    open.push(RegisteredThread { queue, closed: closed.clone() });
    Registration(closed)
}

/// Closes a connection. Two that close at once each find the other one open, and neither would move the log into the
/// main file, so the connections of a process close one after the other.
pub(crate) fn close<T>(connection: T) {
    static CLOSING: Mutex<()> = Mutex::new(());
    let _alone = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(connection);
}

/// The process that has the threads: a child that was forked off has none of them.
static MAIN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

extern "C" fn close_all() {
    if MAIN.get() == Some(&std::process::id()) {
        // A panic must not cross into C, and nothing can be done about it here.
        let _ = catch_unwind(wait_for_all);
    }
}

fn wait_for_all() {
    let open = std::mem::take(&mut *locked(&THREADS));
    for thread in &open {
        // None: the last handle is gone, and the thread is closing. An error: the queue is full, and there is no time.
        drop(thread.queue.upgrade().map(|queue| queue.try_send(Message::Close)));
    }
    let mut left = CLOSE_TIMEOUT;
    for thread in &open {
        let is_closed = locked(&thread.closed.is_closed);
        let changed = &thread.closed.changed;
        let began = now();
        drop(changed.wait_timeout_while(is_closed, left, |is_closed| !*is_closed));
        left = left.saturating_sub(began.elapsed());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Waking those who wait, by `LISTEN` and `NOTIFY` on one connection.
//!
//! Who waits for a record says so: *wanted*. Who changes a record that is wanted says so: *changed*, after the change has
//! been committed and answered for, in a transaction of the listening connection that carries no record. While nobody
//! waits nothing is sent. All of it is a courtesy: any message may be lost, late, forged or sent for nothing, and whoever
//! waits looks for itself, now and then. Behind a pooler there is no listening connection, and only that.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::Abandon;
use sentinel_core::store::Notice;
use sentinel_core::{Address, State};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::link::Dialer;
use crate::statement::Names;
use crate::store::PostgresStore;
use ears::Ears;
use message::Mark;

mod ears;
mod message;
mod task;

/// How often who waits says so again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a change waits until those who wait for it were told: its process may end right afterwards.
const GRACE: Duration = Duration::from_millis(100);

/// The most that waits to be said.
const UNSAID: usize = 1 << 12;

/// What the listening connection is to say.
#[derive(Debug)]
enum Say {
    Wanted(Mark),
    Changed(Mark, oneshot::Sender<()>),
}

/// What the store and the task of its listening connection share.
#[derive(Debug)]
struct Shared {
    dialer: Arc<Dialer>,
    channel: String,
    ears: Ears,
    /// Whether a task was started.
    started: AtomicBool,
    /// Which of the task's connections is listening.
    connected: watch::Sender<Option<u64>>,
}

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct Listening {
    shared: Arc<Shared>,
    way: Mutex<Option<mpsc::Sender<Say>>>,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("channel", &self.shared.channel).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The channel on which processes tell each other of changes. For tests.
    #[doc(hidden)]
    pub fn channel(&self) -> &str {
        &self.listening().shared.channel
    }

    /// Whether this store would hear of a change. For tests.
    #[doc(hidden)]
    pub fn is_listening(&self) -> bool {
        self.listening().shared.connected.borrow().is_some()
    }

    /// How many records other processes want to hear of, as far as this one knows. For tests.
    #[doc(hidden)]
    pub fn wanted(&self) -> usize {
        self.listening().shared.ears.wanted()
    }
}

impl Listening {
    pub(crate) fn new(dialer: Arc<Dialer>, names: &Names) -> Self {
        let shared = Shared {
            dialer,
            channel: message::channel(names),
            ears: Ears::default(),
            started: AtomicBool::new(false),
            connected: watch::channel(None).0,
        };
        Self { shared: Arc::new(shared), way: Mutex::default() }
    }

    /// Something was granted: somebody may come to wait for it. Soon, and outside of the grant's way, this process listens.
    pub(crate) fn work_began(&self) {
        if !self.shared.started.load(Ordering::Relaxed) && !self.shared.dialer.is_pooled() {
            self.way();
        }
    }

    /// An operation was answered. If the record is not in progress after it, that is worth telling, also if the answer is a
    /// repeated one: the first may not have come to telling it.
    pub(crate) async fn answered(&self, address: &Address, operation: &str, state: State) {
        // An abandoned run is executing, and not live.
        if !matches!(state, State::Claimed | State::Executing) || operation == Abandon::NAME {
            self.changed(address).await;
        }
    }

    /// A record has changed, and that is committed. Tells whoever waits for it; returns soon in any case.
    pub(crate) async fn changed(&self, address: &Address) {
        if !self.shared.started.load(Ordering::Relaxed) {
            return;
        }
        let mark = Mark::of(address);
        // Without a runtime there is no time to wait by.
        if self.shared.ears.changed(mark) && Handle::try_current().is_ok() {
            let (done, told) = oneshot::channel();
            if self.way().try_send(Say::Changed(mark, done)).is_ok() {
                // Whatever comes of it: who waits will look.
                let _ = tokio::time::timeout(GRACE, told).await;
            }
        }
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, address: &Address, within: Duration) -> Notice {
        if self.shared.dialer.is_pooled() {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        }
        let mark = Mark::of(address);
        let place = self.shared.ears.wait(mark);
        let mut told = std::pin::pin!(place.told.notified());
        told.as_mut().enable();
        let mut connected = self.shared.connected.subscribe();
        let mut listening = connected.borrow_and_update().is_some();
        let mut over = std::pin::pin!(tokio::time::sleep(within));
        let mut again = tokio::time::interval(AGAIN);
        loop {
            tokio::select! {
                biased;
                () = &mut told => return Notice::Changed,
                Ok(()) = connected.changed() => match *connected.borrow_and_update() {
                    // What changed before that was not told: it is time to look.
                    Some(_) => return Notice::Listening,
                    None => listening = false,
                },
                _ = again.tick() => drop(self.way().try_send(Say::Wanted(mark))),
                () = &mut over => return if listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }

    /// The way to the task, which is started if there is none, or if it ended with its runtime.
    fn way(&self) -> mpsc::Sender<Say> {
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        match way.as_ref().filter(|open| !open.is_closed()) {
            Some(open) => open.clone(),
            None => {
                let (sender, receiver) = mpsc::channel(UNSAID);
                tokio::spawn(task::run(self.shared.clone(), receiver));
                self.shared.started.store(true, Ordering::Relaxed);
                way.insert(sender).clone()
            }
        }
    }
}

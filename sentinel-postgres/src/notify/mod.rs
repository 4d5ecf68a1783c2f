//! Notifies waiters, by `LISTEN` and `NOTIFY` on one connection.
//!
//! A process that waits for a record sends *wanted*. A process that changes a wanted record sends *changed*, after the
//! change was committed and its reply was sent, in a transaction of the listening connection that carries no record.
//! While no process waits nothing is sent. Waiters are notified on a best-effort basis: any message may be lost, late,
//! forged or sent without a change, so a waiter also reads the record from time to time. Behind a pooler there is no
//! listening connection, and waiters only poll.

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

use crate::connection::connector::Connector;
use crate::parts::Names;

mod message;
mod shared;
mod task;
mod waiters;

use message::AddressHash;
use shared::{Outgoing, Shared};
use waiters::Waiters;

/// How often a process that waits repeats its message.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a change waits until its waiters were notified: the process may end right afterwards.
const NOTIFY_TIMEOUT: Duration = Duration::from_millis(100);

/// The most messages that wait to be sent.
const MAX_QUEUED: usize = 1 << 12;

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct Notifications {
    shared: Arc<Shared>,
    sender: Mutex<Option<mpsc::Sender<Outgoing>>>,
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("channel", &self.shared.channel).finish_non_exhaustive()
    }
}

impl Notifications {
    pub(crate) fn new(connector: Arc<Connector>, names: &Names) -> Self {
        let shared = Shared {
            connector,
            channel: message::channel(names),
            waiters: Waiters::default(),
            started: AtomicBool::new(false),
            connected: watch::channel(None).0,
        };
        Self { shared: Arc::new(shared), sender: Mutex::default() }
    }

    /// The channel on which processes notify each other.
    pub(crate) fn channel(&self) -> &str {
        &self.shared.channel
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.shared.connected.borrow().is_some()
    }

    /// How many records other processes wait for, as far as this one knows.
    pub(crate) fn wanted(&self) -> usize {
        self.shared.waiters.wanted()
    }

    /// A claim was granted, so others may wait for it. This process starts to listen soon, without delaying the grant.
    pub(crate) fn work_began(&self) {
        if !self.shared.started.load(Ordering::Relaxed) && !self.shared.connector.is_pooled() {
            self.sender();
        }
    }

    /// The reply of an operation was received. If the record is not in progress after it, waiters are notified, also if
    /// the reply is a repeated one: the first one may not have got as far as notifying.
    pub(crate) async fn operation_replied(&self, address: &Address, operation: &str, state: State) {
        // An abandoned run is executing, and not live.
        if !matches!(state, State::Claimed | State::Executing) || operation == Abandon::NAME {
            self.changed(address).await;
        }
    }

    /// A record has changed, and that is committed. Notifies its waiters; returns soon in any case.
    pub(crate) async fn changed(&self, address: &Address) {
        if !self.shared.started.load(Ordering::Relaxed) {
            return;
        }
        let hash = AddressHash::of(address);
        // Without a runtime there is no time to wait by.
        if self.shared.waiters.changed(hash) && Handle::try_current().is_ok() {
            let (done, sent) = oneshot::channel();
            if self.sender().try_send(Outgoing::Changed(hash, done)).is_ok() {
                // If it fails, waiters read the record anyway.
                let _ = tokio::time::timeout(NOTIFY_TIMEOUT, sent).await;
            }
        }
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, address: &Address, within: Duration) -> Notice {
        if self.shared.connector.is_pooled() {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        }
        let hash = AddressHash::of(address);
        let waiter = self.shared.waiters.wait(hash);
        let mut notified = std::pin::pin!(waiter.notify.notified());
        notified.as_mut().enable();
        let mut connected = self.shared.connected.subscribe();
        let mut listening = connected.borrow_and_update().is_some();
        let mut over = std::pin::pin!(tokio::time::sleep(within));
        let mut again = tokio::time::interval(REPEAT_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = &mut notified => return Notice::Changed,
                Ok(()) = connected.changed() => match *connected.borrow_and_update() {
                    // What changed before was not notified: it is time to read the record.
                    Some(_) => return Notice::Listening,
                    None => listening = false,
                },
                _ = again.tick() => drop(self.sender().try_send(Outgoing::Wanted(hash))),
                () = &mut over => return if listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }

    /// The sender to the task, which is started if there is none, or if it ended with its runtime.
    fn sender(&self) -> mpsc::Sender<Outgoing> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        match sender.as_ref().filter(|open| !open.is_closed()) {
            Some(open) => open.clone(),
            None => {
                let (opened, receiver) = mpsc::channel(MAX_QUEUED);
                tokio::spawn(task::run(self.shared.clone(), receiver));
                self.shared.started.store(true, Ordering::Relaxed);
                sender.insert(opened).clone()
            }
        }
    }
}

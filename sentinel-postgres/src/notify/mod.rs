//! Notifies waiters, by `LISTEN` and `NOTIFY` on one connection.
//!
//! A process that waits for a record sends *wanted*. A process that changes a wanted record sends *changed*, after the
//! change was committed and its reply was sent, in a transaction of the listening connection that carries no record.
//! While no process waits nothing is sent. Waiters are notified on a best-effort basis: any message may be lost, late,
//! forged or sent without a change, so a waiter also reads the record from time to time. Behind a pooler there is no
//! listening connection, and waiters only poll.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::Abandon;
use sentinel_core::store::Notice;
use sentinel_core::{Address, State};
use sentinel_store_kit::{OnDemandTask, Waiters};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::connection::connector::Connector;
use crate::parts::Names;

mod message;
mod shared;
mod task;
mod wanted;

use message::AddressHash;
use shared::{Outgoing, Shared};
use wanted::Wanted;

/// How often a process that waits repeats its message.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long a change waits until its waiters were notified: the process may end right afterwards.
const NOTIFY_TIMEOUT: Duration = Duration::from_millis(100);

/// The most messages that wait to be sent.
const MAX_QUEUED: usize = 1 << 12;

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct Notifications {
    shared: Arc<Shared>,
    task: OnDemandTask<mpsc::Sender<Outgoing>>,
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
            waiters: Waiters::new(usize::MAX, Duration::ZERO),
            wanted: Wanted::default(),
            started: AtomicBool::new(false),
            listening: watch::channel(false).0,
        };
        Self { shared: Arc::new(shared), task: OnDemandTask::new(|| mpsc::channel(MAX_QUEUED)) }
    }

    /// The channel on which processes notify each other.
    pub(crate) fn channel(&self) -> &str {
        &self.shared.channel
    }

    pub(crate) fn is_listening(&self) -> bool {
        *self.shared.listening.borrow()
    }

    /// How many records other processes wait for, as far as this one knows.
    pub(crate) fn wanted(&self) -> usize {
        self.shared.wanted.len()
    }

    /// A claim was granted, so others may wait for it. This process starts to listen soon, without delaying the grant.
    pub(crate) fn work_began(&self) {
        if !self.shared.started.load(Ordering::Relaxed) && !self.shared.connector.is_pooled() {
            self.task.ensure_started(|queue| self.start(queue));
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
        if self.shared.changed(hash) && Handle::try_current().is_ok() {
            let (done, sent) = oneshot::channel();
            if self.send(Outgoing::Changed(hash, done)).is_ok() {
                // If it fails, waiters read the record anyway.
                let _ = tokio::time::timeout(NOTIFY_TIMEOUT, sent).await;
            }
        }
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, address: &Address, within: Duration) -> Notice {
        let (shared, hash) = (&self.shared, AddressHash::of(address));
        let waiter = if shared.connector.is_pooled() { None } else { shared.waiters.wait(hash) };
        let Some(waiter) = waiter else {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        };
        waiter.changed(shared.listening.subscribe(), within, self.announce(hash)).await
    }

    /// Sends that this process waits, at once and again from time to time.
    async fn announce(&self, hash: AddressHash) -> Infallible {
        let mut again = tokio::time::interval(REPEAT_INTERVAL);
        loop {
            again.tick().await;
            // Without room in the queue, it is sent the next time.
            drop(self.send(Outgoing::Wanted(hash)));
        }
    }

    /// Passes a message on to the task. The error returns it: too many wait to be sent.
    fn send(&self, outgoing: Outgoing) -> Result<(), Outgoing> {
        self.task.send(outgoing, |queue| self.start(queue))
    }

    fn start(&self, queue: mpsc::Receiver<Outgoing>) {
        tokio::spawn(task::run(self.shared.clone(), queue));
        self.shared.started.store(true, Ordering::Relaxed);
    }
}

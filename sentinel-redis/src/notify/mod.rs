//! Notifications of changes, by pub/sub on one connection.
//!
//! A script that ends a run publishes on a channel that has the record's name, and the server passes the message on
//! to its subscribers. Correctness does not depend on messages: any may be lost, late, forged or without a cause, and
//! waiters also poll now and then. Where a subscription is refused, or there is no connection, they only poll.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::store::Notice;
use tokio::sync::mpsc;

use crate::connection::Connector;
use shared::Shared;
use waiters::Waiters;

mod shared;
mod task;
mod waiters;

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct ChangeNotifier {
    shared: Arc<Shared>,
    /// Wakes the task, which then subscribes to new channels.
    task: Mutex<Option<mpsc::Sender<()>>>,
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNotifier").field("own", &self.shared.own).finish_non_exhaustive()
    }
}

impl ChangeNotifier {
    pub(crate) fn new(connector: Arc<Connector>, prefix: &str) -> Self {
        let shared = Shared { connector, own: format!("{prefix}:listening:"), waiters: Waiters::default() };
        Self { shared: Arc::new(shared), task: Mutex::default() }
    }

    /// Whether a change on this channel is received.
    pub(crate) fn is_subscribed(&self, channel: &Bytes) -> bool {
        self.shared.waiters.is_confirmed(channel)
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, channel: Bytes, within: Duration) -> Notice {
        let Some(mut waiter) = self.shared.waiters.wait(channel) else {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        };
        let mut changed = std::pin::pin!(waiter.changed.notified());
        changed.as_mut().enable();
        let mut listening = *waiter.confirmed.borrow_and_update();
        self.wake_task();
        let mut over = std::pin::pin!(tokio::time::sleep(within));
        loop {
            tokio::select! {
                biased;
                () = &mut changed => return Notice::Changed,
                Ok(()) = waiter.confirmed.changed() => match *waiter.confirmed.borrow_and_update() {
                    // A change before that was not received: the caller has to read the record.
                    true => return Notice::Listening,
                    false => listening = false,
                },
                () = &mut over => return if listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }

    /// Wakes the task. It is started if there is none, or if it ended with its runtime.
    fn wake_task(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match task.as_ref().filter(|open| !open.is_closed()) {
            // If there is no room, a wakeup is pending already.
            Some(open) => drop(open.try_send(())),
            None => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(task::run(self.shared.clone(), receiver));
                *task = Some(sender);
            }
        }
    }
}

//! Being told of changes, by pub/sub on one connection.
//!
//! Whatever ends a run says so on a channel named as the record is, from within its script, and the server passes it on to
//! those who subscribed. Nothing rests on a message: any may be lost, late, forged or sent for nothing, and whoever waits looks
//! for itself, now and then. Where a subscription is refused, or there is no connection, there is only that.

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
    /// Tells the task to look at what is waited for.
    task: Mutex<Option<mpsc::Sender<()>>>,
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("own", &self.shared.own).finish_non_exhaustive()
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
                    // What changed before that was not told: it is time to look.
                    true => return Notice::Listening,
                    false => listening = false,
                },
                () = &mut over => return if listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }

    /// Has the task look, which is started if there is none, or if it ended with its runtime.
    fn wake_task(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match task.as_ref().filter(|open| !open.is_closed()) {
            // If there is no room, it will look anyway.
            Some(open) => drop(open.try_send(())),
            None => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(task::run(self.shared.clone(), receiver));
                *task = Some(sender);
            }
        }
    }
}

//! Notifications of changes, by pub/sub on one connection.
//!
//! A script that ends a run publishes on a channel that has the record's name, and the server passes the message on
//! to its subscribers. Correctness does not depend on messages: any may be lost, late, forged or without a cause, and
//! waiters also poll now and then. Where a subscription is refused, or there is no connection, they only poll.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::store::Notice;
use sentinel_store_kit::OnDemandTask;
use tokio::sync::mpsc;

use crate::connection::Connector;
use shared::Shared;
use subscriptions::Subscriptions;

mod shared;
mod subscriptions;
mod task;

/// The listening connection of a store, opened when it is first needed.
pub(crate) struct ChangeNotifier {
    shared: Arc<Shared>,
    /// Wakes the task, which then subscribes to new channels.
    task: OnDemandTask<mpsc::Sender<()>>,
}

impl fmt::Debug for ChangeNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNotifier").field("own", &self.shared.own).finish_non_exhaustive()
    }
}

impl ChangeNotifier {
    pub(crate) fn new(connector: Arc<Connector>, prefix: &str) -> Self {
        let own = format!("{prefix}:listening:");
        let shared = Shared { connector, own, subscriptions: Subscriptions::default() };
        Self { shared: Arc::new(shared), task: OnDemandTask::new(|| mpsc::channel(1)) }
    }

    /// Whether a change on this channel is received.
    pub(crate) fn is_subscribed(&self, channel: &Bytes) -> bool {
        self.shared.subscriptions.is_confirmed(channel)
    }

    /// Waits until a record may have changed.
    pub(crate) async fn wait(&self, channel: Bytes, within: Duration) -> Notice {
        let Some(waiter) = self.shared.subscriptions.wait(channel) else {
            tokio::time::sleep(within).await;
            return Notice::Polling;
        };
        waiter.changed(waiter.state().subscribe(), within, self.announce()).await
    }

    /// Wakes the task, which subscribes to the channel if it is new.
    async fn announce(&self) -> Infallible {
        // If there is no room, a wakeup is pending already.
        let _ = self.task.send((), |wakeups| drop(tokio::spawn(task::run(self.shared.clone(), wakeups))));
        std::future::pending().await
    }
}

//! The task that owns the listening connection.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::StoreError;
use sentinel_store_kit::discard_for;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::shared::Shared;
use super::subscriptions::{LINGER, Subscriptions};
use crate::connection::subscriber::{Received, Subscriber};
use crate::error::CommandError;

/// How long the connection may be silent before it is checked.
const SILENCE: Duration = Duration::from_secs(30);

/// The pauses before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a connection is given up.
enum End {
    /// The store is gone.
    Store,
    Lost(String),
}

impl From<CommandError> for End {
    fn from(failure: CommandError) -> Self {
        Self::Lost(StoreError::from(failure).to_string())
    }
}

/// Listens, and connects again when the connection is lost, until the store is gone.
pub(super) async fn run(shared: Arc<Shared>, mut wakeups: mpsc::Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match Subscriber::connect(&shared.connector, &shared.own).await {
            Ok(subscriber) => {
                let mut task = ListeningTask { shared: &shared, subscriber, last_reply: Instant::now() };
                match task.serve(&mut wakeups, &mut pause).await {
                    End::Store => return,
                    End::Lost(why) => why,
                }
            }
            Err(error) => error.to_string(),
        };
        tracing::debug!(error = lost, "not notified of changes: callers that wait for a run poll more often");
        if !rest(&shared.subscriptions, &mut wakeups, pause).await {
            return;
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Waits for the pause, and further while there are no waiters. Returns whether the store still exists.
async fn rest(subscriptions: &Subscriptions, wakeups: &mut mpsc::Receiver<()>, pause: Duration) -> bool {
    if !discard_for(wakeups, pause).await {
        return false;
    }
    subscriptions.expire(Instant::now());
    !subscriptions.is_empty() || wakeups.recv().await.is_some()
}

/// A connection that listens.
struct ListeningTask<'s> {
    shared: &'s Shared,
    subscriber: Subscriber,
    /// When the server last replied.
    last_reply: Instant,
}

impl ListeningTask<'_> {
    async fn serve(&mut self, wakeups: &mut mpsc::Receiver<()>, pause: &mut Duration) -> End {
        let _guard = DisconnectOnDrop(self.shared);
        loop {
            match self.step(wakeups).await {
                Ok(true) => *pause = FIRST_PAUSE,
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    /// Subscribes to new channels and unsubscribes from idle ones, or waits until something happens. Returns whether
    /// the server has accepted a subscription.
    async fn step(&mut self, wakeups: &mut mpsc::Receiver<()>) -> Result<bool, End> {
        let subscriptions = &self.shared.subscriptions;
        let idle = subscriptions.expire(Instant::now());
        if !idle.is_empty() {
            self.subscriber.unsubscribe(&idle).await?;
        }
        let new = subscriptions.unconfirmed();
        if !new.is_empty() || self.last_reply.elapsed() >= SILENCE {
            self.subscriber.subscribe(&new).await?;
            self.last_reply = Instant::now();
            subscriptions.confirm(&new);
            return Ok(true);
        }
        tokio::select! {
            wakeup = wakeups.recv() => wakeup.ok_or(End::Store)?,
            received = self.subscriber.receive() => match received {
                Received::On(channel) => subscriptions.notify(&channel),
                Received::Missed => subscriptions.notify_all(),
                Received::Ended(why) => return Err(End::Lost(why)),
            },
            () = sleep(LINGER) => {}
        }
        Ok(false)
    }
}

/// However the connection ends, also with its runtime: all channels become unconfirmed.
struct DisconnectOnDrop<'s>(&'s Shared);

impl Drop for DisconnectOnDrop<'_> {
    fn drop(&mut self) {
        self.0.subscriptions.mark_disconnected();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reconnecting_waits_for_a_pause() {
        let (sender, mut wakeups) = mpsc::channel(1);
        let subscriptions = Subscriptions::default();
        let waiter = subscriptions.wait("waited for".into());
        sender.try_send(()).unwrap();
        let before = Instant::now();
        assert!(rest(&subscriptions, &mut wakeups, FIRST_PAUSE).await, "a caller waits");
        assert_eq!(before.elapsed(), FIRST_PAUSE);
        drop((waiter, sender));
        assert!(!rest(&subscriptions, &mut wakeups, FIRST_PAUSE).await, "the store is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn without_waiters_the_task_does_not_reconnect() {
        let (sender, mut wakeups) = mpsc::channel(1);
        let subscriptions = Subscriptions::default();
        let resting = async { rest(&subscriptions, &mut wakeups, FIRST_PAUSE).await };
        let coming = async {
            sleep(FIRST_PAUSE * 50).await;
            sender.send(()).await.unwrap();
        };
        let before = Instant::now();
        assert!(tokio::join!(resting, coming).0);
        assert_eq!(before.elapsed(), FIRST_PAUSE * 50);
        drop(sender);
        assert!(!rest(&subscriptions, &mut wakeups, FIRST_PAUSE).await);
    }
}

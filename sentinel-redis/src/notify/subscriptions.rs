//! The channels that are waited for, and which of them are subscribed to.

use std::time::Duration;

use bytes::Bytes;
use sentinel_store_kit::{Waiter, Waiters};
use tokio::sync::watch;
use tokio::time::Instant;

/// The most channels that are subscribed to. A waiter beyond that only polls.
const MAX_CHANNELS: usize = 4_096;

/// How long a channel stays subscribed after its last waiter: most waiters soon wait again.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The waiters of each channel, and whether the server has confirmed its subscription.
#[derive(Debug)]
pub(super) struct Subscriptions(Waiters<Bytes, watch::Sender<bool>>);

impl Default for Subscriptions {
    fn default() -> Self {
        Self(Waiters::new(MAX_CHANNELS, LINGER))
    }
}

impl Subscriptions {
    /// Adds a waiter. None: there is no room.
    pub(super) fn wait(&self, channel: Bytes) -> Option<Waiter<'_, Bytes, watch::Sender<bool>>> {
        self.0.wait(channel)
    }

    /// A message was received on a channel.
    pub(super) fn notify(&self, channel: &Bytes) {
        self.0.notify(channel);
    }

    /// A message may have been missed on any channel.
    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }

    /// The channels that are not subscribed to yet.
    pub(super) fn unconfirmed(&self) -> Vec<Bytes> {
        self.0.keys(|confirmed| !*confirmed.borrow())
    }

    /// These are subscribed to from now on.
    pub(super) fn confirm(&self, channels: &[Bytes]) {
        for confirmed in channels.iter().filter_map(|channel| self.0.state(channel)) {
            confirmed.send_replace(true);
        }
    }

    /// The connection has ended: no channel is subscribed to any more.
    pub(super) fn mark_disconnected(&self) {
        self.0.for_each(|confirmed| {
            confirmed.send_if_modified(std::mem::take);
        });
    }

    /// Removes and returns the channels that had no waiters for long enough.
    pub(super) fn expire(&self, now: Instant) -> Vec<Bytes> {
        self.0.expire(now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_confirmed(&self, channel: &Bytes) -> bool {
        self.0.state(channel).is_some_and(|confirmed| *confirmed.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_channel_is_confirmed_until_the_connection_ends() {
        let subscriptions = Subscriptions::default();
        let [one, two] = ["1", "2"].map(Bytes::from);
        let waiter = subscriptions.wait(one.clone()).unwrap();
        let mut confirmed = waiter.state().subscribe();
        assert_eq!(
            (subscriptions.unconfirmed(), subscriptions.is_confirmed(&one)),
            (vec![one.clone()], false)
        );
        subscriptions.mark_disconnected();
        assert!(!confirmed.has_changed().unwrap(), "it was not confirmed before");
        subscriptions.confirm(&[one.clone(), two]);
        assert!(*confirmed.borrow_and_update() && subscriptions.unconfirmed().is_empty());
        subscriptions.mark_disconnected();
        assert!(confirmed.has_changed().unwrap() && !subscriptions.is_confirmed(&one));
    }
}

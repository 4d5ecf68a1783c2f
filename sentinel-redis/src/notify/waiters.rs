//! The waiters of each channel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The most channels that are subscribed to. A waiter beyond that only polls.
pub(super) const MAX_CHANNELS: usize = 4_096;

/// How long a channel stays subscribed after its last waiter: most waiters soon wait again.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The channels and their waiters.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    channels: Mutex<HashMap<Bytes, Channel>>,
}

#[derive(Debug)]
struct Channel {
    waiting: usize,
    changed: Arc<Notify>,
    confirmed: watch::Sender<bool>,
    /// Since when there are no waiters, if there are none.
    idle_since: Instant,
}

impl Channel {
    fn new() -> Self {
        let (waiting, changed) = Default::default();
        Self { waiting, changed, confirmed: watch::channel(false).0, idle_since: Instant::now() }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting == 0 && now.saturating_duration_since(self.idle_since) >= LINGER
    }
}

impl Waiters {
    fn channels(&self) -> MutexGuard<'_, HashMap<Bytes, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a waiter. None: there is no room.
    pub(super) fn wait(&self, name: Bytes) -> Option<Waiter<'_>> {
        let mut channels = self.channels();
        if channels.len() >= MAX_CHANNELS && !channels.contains_key(&name) {
            return None;
        }
        let channel = channels.entry(name.clone()).or_insert_with(Channel::new);
        channel.waiting += 1;
        let (changed, confirmed) = (channel.changed.clone(), channel.confirmed.subscribe());
        Some(Waiter { waiters: self, name, changed, confirmed })
    }

    /// A message was received on a channel.
    pub(super) fn notify(&self, name: &Bytes) {
        if let Some(channel) = self.channels().get(name) {
            channel.changed.notify_waiters();
        }
    }

    /// A message may have been missed on any channel.
    pub(super) fn notify_all(&self) {
        self.channels().values().for_each(|channel| channel.changed.notify_waiters());
    }

    /// The channels that are not subscribed to yet.
    pub(super) fn unconfirmed(&self) -> Vec<Bytes> {
        let channels = self.channels();
        channels.iter().filter(|(_, one)| !*one.confirmed.borrow()).map(|(name, _)| name.clone()).collect()
    }

    /// These are subscribed to from now on.
    pub(super) fn confirm(&self, names: &[Bytes]) {
        let channels = self.channels();
        for channel in names.iter().filter_map(|name| channels.get(name)) {
            channel.confirmed.send_replace(true);
        }
    }

    /// The connection has ended: no channel is subscribed to any more.
    pub(super) fn mark_disconnected(&self) {
        self.channels().values().for_each(|channel| {
            channel.confirmed.send_if_modified(std::mem::take);
        });
    }

    /// Removes and returns the channels that had no waiters for long enough.
    pub(super) fn expire(&self, now: Instant) -> Vec<Bytes> {
        let mut channels = self.channels();
        let idle: Vec<_> =
            channels.iter().filter(|(_, one)| one.is_idle(now)).map(|(name, _)| name.clone()).collect();
        idle.iter().for_each(|name| drop(channels.remove(name)));
        idle
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels().is_empty()
    }

    pub(super) fn is_confirmed(&self, name: &Bytes) -> bool {
        self.channels().get(name).is_some_and(|channel| *channel.confirmed.borrow())
    }
}

/// A caller that waits on a channel.
#[derive(Debug)]
pub(super) struct Waiter<'e> {
    waiters: &'e Waiters,
    name: Bytes,
    pub(super) changed: Arc<Notify>,
    pub(super) confirmed: watch::Receiver<bool>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.waiters.channels().get_mut(&self.name) {
            channel.waiting -= 1;
            channel.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Bytes {
        n.to_string().into()
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_channels_is_bounded_and_idle_ones_expire() {
        let waiters = Waiters::default();
        let waiters_of_channels: Vec<_> = (0..MAX_CHANNELS).map(|n| waiters.wait(name(n)).unwrap()).collect();
        assert!(waiters.wait(name(MAX_CHANNELS)).is_none(), "there is no room");
        let second = waiters.wait(name(7)).unwrap();
        drop(waiters_of_channels);
        assert!(waiters.expire(Instant::now()).is_empty(), "who waits comes back soon");
        tokio::time::advance(LINGER).await;
        assert_eq!(waiters.expire(Instant::now()).len(), MAX_CHANNELS - 1);
        assert!(!waiters.is_empty(), "one is still waited for");
        drop(second);
        assert!(waiters.wait(name(MAX_CHANNELS)).is_some());
        tokio::time::advance(LINGER).await;
        assert_eq!(waiters.expire(Instant::now()).len(), 2);
        assert!(waiters.is_empty());
    }

    #[tokio::test]
    async fn waiters_on_a_channel_are_notified() {
        let waiters = Waiters::default();
        let waiters_of_channels = [1, 1, 2].map(|n| waiters.wait(name(n)).unwrap());
        let mut waits: Vec<_> =
            waiters_of_channels.iter().map(|waiter| Box::pin(waiter.changed.notified())).collect();
        for wait in &mut waits {
            assert!(!wait.as_mut().enable(), "not changed yet");
        }
        waiters.notify(&name(1));
        waiters.notify(&name(3));
        let changed: Vec<_> = waits.iter_mut().map(|wait| wait.as_mut().enable()).collect();
        assert_eq!(changed, [true, true, false]);
        waiters.notify_all();
        assert!(waits[2].as_mut().enable());
    }

    #[tokio::test]
    async fn a_channel_is_confirmed_until_the_connection_ends() {
        let waiters = Waiters::default();
        let mut waiter = waiters.wait(name(1)).unwrap();
        assert_eq!((waiters.unconfirmed(), waiters.is_confirmed(&name(1))), (vec![name(1)], false));
        waiters.mark_disconnected();
        assert!(!waiter.confirmed.has_changed().unwrap(), "it was not confirmed before");
        waiters.confirm(&[name(1), name(2)]);
        assert!(*waiter.confirmed.borrow_and_update() && waiters.unconfirmed().is_empty());
        waiters.mark_disconnected();
        assert!(waiter.confirmed.has_changed().unwrap() && !waiters.is_confirmed(&name(1)));
    }
}

//! Who waits for what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The most channels that are listened on. Who does not find room is not told, and polls.
pub(super) const MOST: usize = 4_096;

/// How long a channel is listened on after the last one who waited for it: who waits comes back for its next turn.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The channels, and who waits on them.
#[derive(Debug, Default)]
pub(super) struct Ears {
    channels: Mutex<HashMap<Bytes, Channel>>,
}

#[derive(Debug)]
struct Channel {
    waiting: usize,
    told: Arc<Notify>,
    confirmed: watch::Sender<bool>,
    /// Since when nobody waits, if nobody does.
    left: Instant,
}

impl Channel {
    fn new() -> Self {
        let (waiting, told) = Default::default();
        Self { waiting, told, confirmed: watch::channel(false).0, left: Instant::now() }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting == 0 && now.saturating_duration_since(self.left) >= LINGER
    }
}

impl Ears {
    fn channels(&self) -> MutexGuard<'_, HashMap<Bytes, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes to wait. None: there is no room.
    pub(super) fn wait(&self, name: Bytes) -> Option<Place<'_>> {
        let mut channels = self.channels();
        if channels.len() >= MOST && !channels.contains_key(&name) {
            return None;
        }
        let channel = channels.entry(name.clone()).or_insert_with(Channel::new);
        channel.waiting += 1;
        let (told, confirmed) = (channel.told.clone(), channel.confirmed.subscribe());
        Some(Place { ears: self, name, told, confirmed })
    }

    /// Something was said on a channel.
    pub(super) fn tell(&self, name: &Bytes) {
        if let Some(channel) = self.channels().get(name) {
            channel.told.notify_waiters();
        }
    }

    /// Something may have been said on any channel.
    pub(super) fn tell_all(&self) {
        self.channels().values().for_each(|channel| channel.told.notify_waiters());
    }

    /// The channels that are to be listened on, and are not.
    pub(super) fn unconfirmed(&self) -> Vec<Bytes> {
        let channels = self.channels();
        channels.iter().filter(|(_, one)| !*one.confirmed.borrow()).map(|(name, _)| name.clone()).collect()
    }

    /// These are listened on from now on.
    pub(super) fn confirm(&self, names: &[Bytes]) {
        let channels = self.channels();
        for channel in names.iter().filter_map(|name| channels.get(name)) {
            channel.confirmed.send_replace(true);
        }
    }

    /// None is listened on any more.
    pub(super) fn deafen(&self) {
        self.channels().values().for_each(|channel| {
            channel.confirmed.send_if_modified(std::mem::take);
        });
    }

    /// Forgets the channels on which nobody has waited for long enough.
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

    pub(super) fn is_told(&self, name: &Bytes) -> bool {
        self.channels().get(name).is_some_and(|channel| *channel.confirmed.borrow())
    }
}

/// A place among those who wait.
#[derive(Debug)]
pub(super) struct Place<'e> {
    ears: &'e Ears,
    name: Bytes,
    pub(super) told: Arc<Notify>,
    pub(super) confirmed: watch::Receiver<bool>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(channel) = self.ears.channels().get_mut(&self.name) {
            channel.waiting -= 1;
            channel.left = Instant::now();
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
    async fn what_is_listened_on_is_bounded_and_expires() {
        let ears = Ears::default();
        let places: Vec<_> = (0..MOST).map(|n| ears.wait(name(n)).unwrap()).collect();
        assert!(ears.wait(name(MOST)).is_none(), "there is no room");
        let second = ears.wait(name(7)).unwrap();
        drop(places);
        assert!(ears.expire(Instant::now()).is_empty(), "who waits comes back soon");
        tokio::time::advance(LINGER).await;
        assert_eq!(ears.expire(Instant::now()).len(), MOST - 1);
        assert!(!ears.is_empty(), "one is still waited for");
        drop(second);
        assert!(ears.wait(name(MOST)).is_some());
        tokio::time::advance(LINGER).await;
        assert_eq!(ears.expire(Instant::now()).len(), 2);
        assert!(ears.is_empty());
    }

    #[tokio::test]
    async fn those_who_wait_on_a_channel_are_told() {
        let ears = Ears::default();
        let places = [1, 1, 2].map(|n| ears.wait(name(n)).unwrap());
        let mut waits: Vec<_> = places.iter().map(|place| Box::pin(place.told.notified())).collect();
        for wait in &mut waits {
            assert!(!wait.as_mut().enable(), "not told yet");
        }
        ears.tell(&name(1));
        ears.tell(&name(3));
        let told: Vec<_> = waits.iter_mut().map(|wait| wait.as_mut().enable()).collect();
        assert_eq!(told, [true, true, false]);
        ears.tell_all();
        assert!(waits[2].as_mut().enable());
    }

    #[tokio::test]
    async fn a_channel_is_confirmed_until_the_connection_ends() {
        let ears = Ears::default();
        let mut place = ears.wait(name(1)).unwrap();
        assert_eq!((ears.unconfirmed(), ears.is_told(&name(1))), (vec![name(1)], false));
        ears.deafen();
        assert!(!place.confirmed.has_changed().unwrap(), "it was not confirmed before");
        ears.confirm(&[name(1), name(2)]);
        assert!(*place.confirmed.borrow_and_update() && ears.unconfirmed().is_empty());
        ears.deafen();
        assert!(place.confirmed.has_changed().unwrap() && !ears.is_told(&name(1)));
    }
}

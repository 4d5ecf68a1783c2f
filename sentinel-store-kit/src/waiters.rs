//! The waiters of each key, and how one waits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_core::store::Notice;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Keys, and the callers that wait until something happens to one of them. `S` is what the store knows of a key that
/// is waited for.
#[derive(Debug)]
pub struct Waiters<K: Eq + Hash, S = ()> {
    entries: Mutex<HashMap<K, Entry<S>>>,
    /// How many entries there are, to be read without the lock.
    count: AtomicUsize,
    max_keys: usize,
    linger: Duration,
}

#[derive(Debug)]
struct Entry<S> {
    waiting: usize,
    changed: Arc<Notify>,
    state: S,
    /// Since when there are no waiters, if there are none.
    idle_since: Instant,
}

impl<S: Default> Entry<S> {
    fn new() -> Self {
        let (waiting, changed, state) = Default::default();
        Self { waiting, changed, state, idle_since: Instant::now() }
    }
}

impl<K: Eq + Hash + Clone, S: Default + Clone> Waiters<K, S> {
    /// No waiters yet. At most `max_keys` keys have an entry. An entry stays for `linger` after its last waiter, until
    /// [`expire`](Self::expire): most waiters soon wait again. With zero it is removed at once.
    pub fn new(max_keys: usize, linger: Duration) -> Self {
        Self { entries: Mutex::default(), count: AtomicUsize::new(0), max_keys, linger }
    }

    /// Adds a waiter. None: there is no room for its key.
    pub fn wait(&self, key: K) -> Option<Waiter<'_, K, S>> {
        let mut entries = self.entries();
        if entries.len() >= self.max_keys && !entries.contains_key(&key) {
            return None;
        }
        let entry = entries.entry(key.clone()).or_insert_with(Entry::new);
        entry.waiting += 1;
        let (changed, state) = (entry.changed.clone(), entry.state.clone());
        self.count.store(entries.len(), Ordering::SeqCst);
        Some(Waiter { waiters: self, key, changed, state })
    }

    /// Wakes the waiters of a key. Without any waiter this takes no lock.
    pub fn notify(&self, key: &K) {
        if self.is_empty() {
            return;
        }
        if let Some(entry) = self.entries().get(key) {
            entry.changed.notify_waiters();
        }
    }

    /// Wakes the waiters of all keys.
    pub fn notify_all(&self) {
        self.entries().values().for_each(|entry| entry.changed.notify_waiters());
    }

    /// Removes and returns the keys that had no waiters for long enough.
    pub fn expire(&self, now: Instant) -> Vec<K> {
        let mut entries = self.entries();
        let is_idle = |entry: &Entry<S>| {
            entry.waiting == 0 && now.saturating_duration_since(entry.idle_since) >= self.linger
        };
        let idle: Vec<K> =
            entries.iter().filter(|(_, entry)| is_idle(entry)).map(|(key, _)| key.clone()).collect();
        idle.iter().for_each(|key| drop(entries.remove(key)));
        self.count.store(entries.len(), Ordering::SeqCst);
        idle
    }

    /// The keys that have an entry with such a state.
    pub fn keys(&self, mut has: impl FnMut(&S) -> bool) -> Vec<K> {
        let entries = self.entries();
        entries.iter().filter(|(_, entry)| has(&entry.state)).map(|(key, _)| key.clone()).collect()
    }

    /// Changes the state of each key, through what it shares with its waiters.
    pub fn for_each(&self, change: impl FnMut(&S)) {
        self.entries().values().map(|entry| &entry.state).for_each(change);
    }

    /// The state of a key, if it has an entry.
    pub fn state(&self, key: &K) -> Option<S> {
        self.entries().get(key).map(|entry| entry.state.clone())
    }
}

impl<K: Eq + Hash, S> Waiters<K, S> {
    /// Whether no key has an entry. This reads one sequentially consistent counter.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<S>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a key, until it is dropped.
#[derive(Debug)]
pub struct Waiter<'w, K: Eq + Hash, S = ()> {
    waiters: &'w Waiters<K, S>,
    key: K,
    changed: Arc<Notify>,
    state: S,
}

impl<K: Eq + Hash, S> Waiter<'_, K, S> {
    /// What the store knows of the key.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Waits until the waiter is notified, until the store starts to listen, or until the time is over.
    ///
    /// `listening`: whether changes are received at present. If that becomes true, an earlier change was not received,
    /// and the caller has to read the record. `announce` runs meanwhile: it is where the store makes the wait known. It
    /// is started after the waiter can be notified and `listening` was read, so that neither is missed.
    pub async fn changed(
        &self,
        mut listening: watch::Receiver<bool>,
        within: Duration,
        announce: impl Future<Output = Infallible>,
    ) -> Notice {
        let mut changed = pin!(self.changed.notified());
        changed.as_mut().enable();
        let mut is_listening = *listening.borrow_and_update();
        let (mut announce, mut over) = (pin!(announce), pin!(tokio::time::sleep(within)));
        loop {
            tokio::select! {
                biased;
                () = &mut changed => return Notice::Changed,
                Ok(()) = listening.changed() => match *listening.borrow_and_update() {
                    true => return Notice::Listening,
                    false => is_listening = false,
                },
                never = &mut announce => match never {},
                () = &mut over => return if is_listening { Notice::Listening } else { Notice::Polling },
            }
        }
    }
}

impl<K: Eq + Hash, S> Drop for Waiter<'_, K, S> {
    fn drop(&mut self) {
        let mut entries = self.waiters.entries();
        let Some(entry) = entries.get_mut(&self.key) else { return };
        entry.waiting -= 1;
        entry.idle_since = Instant::now();
        if entry.waiting == 0 && self.waiters.linger.is_zero() {
            entries.remove(&self.key);
            self.waiters.count.store(entries.len(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::Poll;

    use super::*;

    const LINGER: Duration = Duration::from_secs(2);
    const WITHIN: Duration = Duration::from_secs(60);

    fn waiters() -> Waiters<u32> {
        Waiters::new(usize::MAX, Duration::ZERO)
    }

    /// Polls a wait once. None: it goes on.
    async fn poll(wait: &mut (impl Future<Output = Notice> + Unpin)) -> Option<Notice> {
        std::future::poll_fn(|context| match pin!(&mut *wait).poll(context) {
            Poll::Ready(notice) => Poll::Ready(Some(notice)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_keys_is_bounded_and_idle_ones_expire() {
        let waiters = Waiters::<u32>::new(100, LINGER);
        let first: Vec<_> = (0..100).map(|key| waiters.wait(key).unwrap()).collect();
        assert!(waiters.wait(100).is_none(), "there is no room");
        let second = waiters.wait(7).unwrap();
        drop(first);
        assert!(waiters.expire(Instant::now()).is_empty(), "most waiters soon wait again");
        tokio::time::advance(LINGER).await;
        assert_eq!(waiters.expire(Instant::now()).len(), 99);
        assert!(!waiters.is_empty(), "one is still waited for");
        drop(second);
        assert!(waiters.wait(100).is_some());
        tokio::time::advance(LINGER).await;
        assert_eq!(waiters.expire(Instant::now()).len(), 2);
        assert!(waiters.is_empty());
    }

    #[tokio::test]
    async fn without_lingering_a_key_goes_with_its_last_waiter() {
        let waiters = waiters();
        let [one, other] = [1, 1].map(|key| waiters.wait(key));
        drop(one);
        assert_eq!((waiters.keys(|()| true), waiters.is_empty()), (vec![1], false));
        drop(other);
        assert_eq!((waiters.keys(|()| true), waiters.is_empty()), (vec![], true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_waiters_of_a_key_are_notified() {
        let (waiters, (_listening, receiver)) = (waiters(), watch::channel(true));
        waiters.notify(&1);
        let waiting = [1, 1, 2].map(|key| waiters.wait(key).unwrap());
        let mut waits =
            waiting.each_ref().map(|waiter| Box::pin(waiter.changed(receiver.clone(), WITHIN, pending())));
        for wait in &mut waits {
            assert_eq!(poll(wait).await, None, "nothing has changed yet");
        }
        waiters.notify(&1);
        waiters.notify(&3);
        let [one, same, other] = &mut waits;
        assert_eq!((poll(one).await, poll(same).await), (Some(Notice::Changed), Some(Notice::Changed)));
        assert_eq!(poll(other).await, None);
        waiters.notify_all();
        assert_eq!(poll(other).await, Some(Notice::Changed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_the_store_starts_to_listen() {
        let (waiters, (listening, receiver)) = (waiters(), watch::channel(true));
        let waiter = waiters.wait(1).unwrap();
        let mut wait = Box::pin(waiter.changed(receiver, WITHIN, pending()));
        assert_eq!(poll(&mut wait).await, None);
        listening.send_replace(false);
        assert_eq!(poll(&mut wait).await, None, "the connection has ended, and the wait goes on");
        listening.send_replace(true);
        assert_eq!(poll(&mut wait).await, Some(Notice::Listening));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_in_time_and_reports_whether_the_store_listened() {
        let (waiters, (listening, receiver)) = (waiters(), watch::channel(true));
        let waiter = waiters.wait(1).unwrap();
        let before = Instant::now();
        assert_eq!(waiter.changed(receiver.clone(), WITHIN, pending()).await, Notice::Listening);
        assert_eq!(before.elapsed(), WITHIN);
        listening.send_replace(false);
        assert_eq!(waiter.changed(receiver.clone(), WITHIN, pending()).await, Notice::Polling);
        let mut wait = Box::pin(waiter.changed(receiver, WITHIN, pending()));
        drop(listening);
        assert_eq!(poll(&mut wait).await, None, "also if nothing listens any more");
        assert_eq!(wait.await, Notice::Polling);
    }

    /// What the announcement brings about at once is not missed.
    #[tokio::test(start_paused = true)]
    async fn a_wait_is_announced_when_it_can_be_notified() {
        let (waiters, (listening, receiver)) = (waiters(), watch::channel(false));
        let waiter = waiters.wait(1).unwrap();
        let notify = async {
            waiters.notify(&1);
            pending().await
        };
        assert_eq!(waiter.changed(receiver.clone(), WITHIN, notify).await, Notice::Changed);
        let listen = async {
            listening.send_replace(true);
            pending().await
        };
        assert_eq!(waiter.changed(receiver, WITHIN, listen).await, Notice::Listening);
    }

    #[tokio::test]
    async fn the_waiters_of_a_key_share_its_state() {
        let waiters = Waiters::<u32, watch::Sender<bool>>::new(usize::MAX, LINGER);
        let [one, other, _third] = [1, 1, 2].map(|key| waiters.wait(key).unwrap());
        one.state().send_replace(true);
        assert!(*other.state().borrow() && *waiters.state(&1).unwrap().borrow());
        assert_eq!(waiters.keys(|state| !*state.borrow()), [2]);
        assert!(waiters.state(&3).is_none());
    }
}

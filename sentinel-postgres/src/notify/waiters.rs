//! The waiters of this process, and what other processes wait for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::message::AddressHash;

/// The most hashes that other processes wait for. A waiter above the limit is not notified, and polls.
pub(super) const MAX_WANTED: usize = 4_096;

/// How long a hash is wanted. A process that still waits repeats its message long before.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(15);

/// How many of the latest changes are kept for waiters whose message arrives after the change.
const RECENT: usize = 1_024;

/// What this process knows of waiters.
#[derive(Debug)]
pub(super) struct Waiters {
    /// How many hashes have a waiter. While there are none, a change reads only this.
    count: AtomicUsize,
    /// The latest changes, by hash; 0: none.
    recent: Box<[AtomicU64]>,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Waits of this process.
    here: HashMap<AddressHash, Waits>,
    /// Hashes that others wait for, and until when.
    elsewhere: HashMap<AddressHash, Instant>,
}

#[derive(Debug, Default)]
struct Waits {
    count: usize,
    notify: Arc<Notify>,
}

impl Default for Waiters {
    fn default() -> Self {
        let recent = (0..RECENT).map(|_| AtomicU64::new(0)).collect();
        Self { count: AtomicUsize::new(0), recent, lists: Mutex::default() }
    }
}

impl Waiters {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the lists, and counts them anew.
    fn change<T>(&self, change: impl FnOnce(&mut Lists) -> T) -> T {
        let mut lists = self.lists();
        let done = change(&mut lists);
        self.count.store(lists.here.len() + lists.elsewhere.len(), Ordering::SeqCst);
        done
    }

    fn slot(&self, hash: AddressHash) -> &AtomicU64 {
        &self.recent[hash.0 as usize % RECENT]
    }

    /// A record has changed: waiters of this process are notified. Returns whether another process waits for it.
    ///
    /// The change is stored before the count of waiters is read, and a new waiter reads the change after it was
    /// counted: one of the two sees the other.
    pub(super) fn changed(&self, hash: AddressHash) -> bool {
        self.slot(hash).store(hash.0, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        self.notify(hash)
    }

    /// Notifies waiters of this process. Returns whether another process waited, too: it is notified by the message
    /// that is being handled, or by the caller.
    pub(super) fn notify(&self, hash: AddressHash) -> bool {
        self.change(|lists| {
            if let Some(waits) = lists.here.get(&hash) {
                waits.notify.notify_waiters();
            }
            lists.elsewhere.remove(&hash).is_some_and(|until| Instant::now() < until)
        })
    }

    /// Another process waits. Returns whether to notify it at once, because the record has changed just now; true only
    /// once.
    pub(super) fn want(&self, hash: AddressHash, now: Instant) -> bool {
        self.change(|lists| {
            if lists.elsewhere.len() >= MAX_WANTED {
                lists.elsewhere.retain(|_, until| now < *until);
            }
            if lists.elsewhere.len() < MAX_WANTED || lists.elsewhere.contains_key(&hash) {
                lists.elsewhere.insert(hash, now + WANTED_FOR);
            }
        });
        let slot = self.slot(hash);
        let just_now =
            hash.0 != 0 && slot.compare_exchange(hash.0, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if just_now {
            self.change(|lists| lists.elsewhere.remove(&hash));
        }
        just_now
    }

    /// Forgets what others no longer wait for.
    pub(super) fn expire(&self, now: Instant) {
        self.change(|lists| lists.elsewhere.retain(|_, until| now < *until));
    }

    /// Forgets what others wait for: without a connection they cannot be notified.
    pub(super) fn mark_disconnected(&self) {
        self.change(|lists| lists.elsewhere.clear());
    }

    /// What this process waits for.
    pub(super) fn waited_for(&self) -> Vec<AddressHash> {
        self.lists().here.keys().copied().collect()
    }

    /// How many hashes others wait for.
    pub(super) fn wanted(&self) -> usize {
        self.lists().elsewhere.len()
    }

    /// Adds a waiter of this process.
    pub(super) fn wait(&self, hash: AddressHash) -> Waiter<'_> {
        let notify = self.change(|lists| {
            let waits = lists.here.entry(hash).or_default();
            waits.count += 1;
            waits.notify.clone()
        });
        Waiter { waiters: self, hash, notify }
    }
}

/// A waiter of this process, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter<'w> {
    waiters: &'w Waiters,
    hash: AddressHash,
    pub(super) notify: Arc<Notify>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waiters.change(|lists| {
            if let Some(waits) = lists.here.get_mut(&self.hash) {
                waits.count -= 1;
                if waits.count == 0 {
                    lists.here.remove(&self.hash);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_other_processes_wait_for_is_bounded_and_expires() {
        let (waiters, now) = (Waiters::default(), Instant::now());
        for n in 0..MAX_WANTED as u64 + 1_000 {
            assert!(!waiters.want(AddressHash(n + 1), now));
        }
        assert_eq!(waiters.wanted(), MAX_WANTED);
        assert!(!waiters.changed(AddressHash(MAX_WANTED as u64 + 1)), "there was no room for it");
        // A repeated message keeps its place.
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!waiters.want(AddressHash(7), Instant::now()));
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!waiters.want(AddressHash(u64::MAX), Instant::now()));
        assert_eq!(waiters.wanted(), 2, "what has expired makes room");
        assert!(!waiters.changed(AddressHash(8)), "no process waits for it any more");
        assert!(waiters.changed(AddressHash(7)) && waiters.changed(AddressHash(u64::MAX)));
        waiters.want(AddressHash(9), Instant::now());
        waiters.expire(Instant::now() + WANTED_FOR);
        assert_eq!((waiters.wanted(), waiters.count.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn without_a_connection_no_other_process_is_remembered() {
        let (waiters, now) = (Waiters::default(), Instant::now());
        waiters.want(AddressHash(1), now);
        waiters.mark_disconnected();
        assert_eq!((waiters.wanted(), waiters.count.load(Ordering::SeqCst)), (0, 0));
        assert!(!waiters.changed(AddressHash(1)));
    }

    #[test]
    fn a_late_waiter_is_notified_once() {
        let (waiters, now) = (Waiters::default(), Instant::now());
        assert!(!waiters.changed(AddressHash(1)));
        assert!(waiters.want(AddressHash(1), now), "it has changed just before");
        assert!(!waiters.want(AddressHash(1), now), "it is reported once");
        assert!(waiters.changed(AddressHash(1)), "and from now on it is wanted");
        assert!(!waiters.want(AddressHash(0), now), "an empty slot is no change");
    }

    #[tokio::test]
    async fn all_waiters_of_this_process_are_notified() {
        let waiters = Waiters::default();
        let waiting =
            [waiters.wait(AddressHash(1)), waiters.wait(AddressHash(1)), waiters.wait(AddressHash(2))];
        let mut waits: Vec<_> = waiting.iter().map(|waiter| Box::pin(waiter.notify.notified())).collect();
        for wait in &mut waits {
            assert!(!wait.as_mut().enable(), "not notified yet");
        }
        assert!(!waiters.changed(AddressHash(1)), "no other process waits");
        let mut notified = waits.into_iter().map(|mut wait| wait.as_mut().enable());
        assert_eq!(
            [notified.next(), notified.next(), notified.next()],
            [Some(true), Some(true), Some(false)]
        );
        drop(notified);
        drop(waiting);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }
}

//! The keys that other processes wait for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::AddressHash;

/// The most hashes that other processes wait for. A waiter above the limit is not notified, and polls.
pub(super) const MAX_WANTED: usize = 4_096;

/// How long a hash is wanted. A process that still waits repeats its message long before.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(15);

/// How many of the latest changes are kept for waiters whose message arrives after the change.
const RECENT: usize = 1_024;

/// The waiters of other processes, as far as this one knows.
#[derive(Debug)]
pub(super) struct Wanted {
    /// How many hashes are wanted. While there are none, a change reads only this.
    count: AtomicUsize,
    /// The latest changes, by hash; 0: none.
    recent: Box<[AtomicU64]>,
    /// The hashes, and until when each is wanted.
    hashes: Mutex<HashMap<AddressHash, Instant>>,
}

impl Default for Wanted {
    fn default() -> Self {
        let recent = (0..RECENT).map(|_| AtomicU64::new(0)).collect();
        Self { count: AtomicUsize::new(0), recent, hashes: Mutex::default() }
    }
}

impl Wanted {
    /// Changes the hashes, and counts them anew.
    fn change<T>(&self, change: impl FnOnce(&mut HashMap<AddressHash, Instant>) -> T) -> T {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut hashes);
        self.count.store(hashes.len(), Ordering::SeqCst);
        done
    }

    fn slot(&self, hash: AddressHash) -> &AtomicU64 {
        &self.recent[hash.0 as usize % RECENT]
    }

    /// A record has changed. Returns whether another process waited for it; the caller then notifies it.
    ///
    /// The change is stored before the count is read, and a new hash looks for the change after it was counted: one of
    /// the two sees the other.
    pub(super) fn changed(&self, hash: AddressHash) -> bool {
        self.slot(hash).store(hash.0, Ordering::SeqCst);
        self.remove(hash)
    }

    /// Removes what is being notified. Returns whether it was wanted.
    pub(super) fn remove(&self, hash: AddressHash) -> bool {
        if self.len() == 0 {
            return false;
        }
        self.change(|hashes| hashes.remove(&hash)).is_some_and(|until| Instant::now() < until)
    }

    /// Another process waits. Returns whether to notify it at once, because the record has changed just now; true only
    /// once.
    pub(super) fn insert(&self, hash: AddressHash, now: Instant) -> bool {
        self.change(|hashes| {
            if hashes.len() >= MAX_WANTED {
                hashes.retain(|_, until| now < *until);
            }
            if hashes.len() < MAX_WANTED || hashes.contains_key(&hash) {
                hashes.insert(hash, now + WANTED_FOR);
            }
        });
        let slot = self.slot(hash);
        let just_now =
            hash.0 != 0 && slot.compare_exchange(hash.0, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if just_now {
            self.change(|hashes| hashes.remove(&hash));
        }
        just_now
    }

    /// Removes what others no longer wait for.
    pub(super) fn expire(&self, now: Instant) {
        self.change(|hashes| hashes.retain(|_, until| now < *until));
    }

    /// Removes everything: without a connection, other processes cannot be notified.
    pub(super) fn clear(&self) {
        self.change(HashMap::clear);
    }

    /// How many hashes are wanted.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_other_processes_wait_for_is_bounded_and_expires() {
        let (wanted, now) = (Wanted::default(), Instant::now());
        for n in 0..MAX_WANTED as u64 + 1_000 {
            assert!(!wanted.insert(AddressHash(n + 1), now));
        }
        assert_eq!(wanted.len(), MAX_WANTED);
        assert!(!wanted.changed(AddressHash(MAX_WANTED as u64 + 1)), "there was no room for it");
        // A repeated message keeps its place.
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!wanted.insert(AddressHash(7), Instant::now()));
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!wanted.insert(AddressHash(u64::MAX), Instant::now()));
        assert_eq!(wanted.len(), 2, "what has expired makes room");
        assert!(!wanted.changed(AddressHash(8)), "no process waits for it any more");
        assert!(wanted.changed(AddressHash(7)) && wanted.changed(AddressHash(u64::MAX)));
        wanted.insert(AddressHash(9), Instant::now());
        wanted.expire(Instant::now() + WANTED_FOR);
        assert_eq!(wanted.len(), 0);
    }

    #[test]
    fn without_a_connection_no_other_process_is_remembered() {
        let (wanted, now) = (Wanted::default(), Instant::now());
        wanted.insert(AddressHash(1), now);
        wanted.clear();
        assert_eq!(wanted.len(), 0);
        assert!(!wanted.changed(AddressHash(1)));
    }

    #[test]
    fn a_late_waiter_is_notified_once() {
        let (wanted, now) = (Wanted::default(), Instant::now());
        assert!(!wanted.changed(AddressHash(1)));
        assert!(wanted.insert(AddressHash(1), now), "it has changed just before");
        assert!(!wanted.insert(AddressHash(1), now), "it is reported once");
        assert!(wanted.changed(AddressHash(1)), "and from now on it is wanted");
        assert!(!wanted.insert(AddressHash(0), now), "an empty slot is no change");
    }
}

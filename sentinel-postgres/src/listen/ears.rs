//! Who waits for what: here, and in other processes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::message::Mark;

/// The most marks that others want. Who does not find room is not told, and polls.
pub(super) const MOST_WANTED: usize = 4_096;

/// How long a mark is wanted. Who still waits says so again long before.
pub(super) const WANTED_FOR: Duration = Duration::from_secs(15);

/// How many of the latest changes are kept for those whose message came after them.
const RECENT: usize = 1_024;

/// What this process knows of those who wait.
#[derive(Debug)]
pub(super) struct Ears {
    /// How many marks anybody waits for; all that a change looks at while nobody does.
    attention: AtomicUsize,
    /// The latest changes, by mark; 0: none.
    recent: Box<[AtomicU64]>,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// Waits of this process.
    here: HashMap<Mark, Waits>,
    /// Marks that others want, and until when.
    elsewhere: HashMap<Mark, Instant>,
}

#[derive(Debug, Default)]
struct Waits {
    count: usize,
    told: Arc<Notify>,
}

impl Default for Ears {
    fn default() -> Self {
        let recent = (0..RECENT).map(|_| AtomicU64::new(0)).collect();
        Self { attention: AtomicUsize::new(0), recent, lists: Mutex::default() }
    }
}

impl Ears {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the lists, and counts them anew.
    fn change<T>(&self, change: impl FnOnce(&mut Lists) -> T) -> T {
        let mut lists = self.lists();
        let done = change(&mut lists);
        self.attention.store(lists.here.len() + lists.elsewhere.len(), Ordering::SeqCst);
        done
    }

    fn slot(&self, mark: Mark) -> &AtomicU64 {
        &self.recent[mark.0 as usize % RECENT]
    }

    /// A record has changed: whoever waits here is told. Whether somebody elsewhere wants to hear of it.
    ///
    /// The change is noted before it is looked whether anybody waits, and who comes to wait looks for the note after it
    /// has come to wait: one of them finds the other.
    pub(super) fn changed(&self, mark: Mark) -> bool {
        self.slot(mark).store(mark.0, Ordering::SeqCst);
        if self.attention.load(Ordering::SeqCst) == 0 {
            return false;
        }
        self.tell(mark)
    }

    /// Tells those who wait here. Whether somebody elsewhere waited, too: by now they were told, or will be.
    pub(super) fn tell(&self, mark: Mark) -> bool {
        self.change(|lists| {
            if let Some(waits) = lists.here.get(&mark) {
                waits.told.notify_waiters();
            }
            lists.elsewhere.remove(&mark).is_some_and(|until| Instant::now() < until)
        })
    }

    /// Somebody elsewhere waits. Whether they are to be told at once, since it has changed just now: which is said once.
    pub(super) fn want(&self, mark: Mark, now: Instant) -> bool {
        self.change(|lists| {
            if lists.elsewhere.len() >= MOST_WANTED {
                lists.elsewhere.retain(|_, until| now < *until);
            }
            if lists.elsewhere.len() < MOST_WANTED || lists.elsewhere.contains_key(&mark) {
                lists.elsewhere.insert(mark, now + WANTED_FOR);
            }
        });
        let slot = self.slot(mark);
        let just_now =
            mark.0 != 0 && slot.compare_exchange(mark.0, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if just_now {
            self.change(|lists| lists.elsewhere.remove(&mark));
        }
        just_now
    }

    /// Forgets what others wanted for long enough.
    pub(super) fn expire(&self, now: Instant) {
        self.change(|lists| lists.elsewhere.retain(|_, until| now < *until));
    }

    /// Forgets what others wanted: nobody can be told.
    pub(super) fn deafen(&self) {
        self.change(|lists| lists.elsewhere.clear());
    }

    /// All that is waited for here.
    pub(super) fn waited_for(&self) -> Vec<Mark> {
        self.lists().here.keys().copied().collect()
    }

    /// How many marks others want.
    pub(super) fn wanted(&self) -> usize {
        self.lists().elsewhere.len()
    }

    /// Comes to wait here.
    pub(super) fn wait(&self, mark: Mark) -> Place<'_> {
        let told = self.change(|lists| {
            let waits = lists.here.entry(mark).or_default();
            waits.count += 1;
            waits.told.clone()
        });
        Place { ears: self, mark, told }
    }
}

/// A place among those who wait here.
#[derive(Debug)]
pub(super) struct Place<'e> {
    ears: &'e Ears,
    mark: Mark,
    pub(super) told: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.ears.change(|lists| {
            if let Some(waits) = lists.here.get_mut(&self.mark) {
                waits.count -= 1;
                if waits.count == 0 {
                    lists.here.remove(&self.mark);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_others_want_is_bounded_and_expires() {
        let (ears, now) = (Ears::default(), Instant::now());
        for n in 0..MOST_WANTED as u64 + 1_000 {
            assert!(!ears.want(Mark(n + 1), now));
        }
        assert_eq!(ears.wanted(), MOST_WANTED);
        assert!(!ears.changed(Mark(MOST_WANTED as u64 + 1)), "there was no room for it");
        // Who said so again keeps the room.
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!ears.want(Mark(7), Instant::now()));
        tokio::time::advance(WANTED_FOR / 2).await;
        assert!(!ears.want(Mark(u64::MAX), Instant::now()));
        assert_eq!(ears.wanted(), 2, "what has expired makes room");
        assert!(!ears.changed(Mark(8)), "nobody wants it any more");
        assert!(ears.changed(Mark(7)) && ears.changed(Mark(u64::MAX)));
        ears.want(Mark(9), Instant::now());
        ears.expire(Instant::now() + WANTED_FOR);
        assert_eq!((ears.wanted(), ears.attention.load(Ordering::SeqCst)), (0, 0));
    }

    #[test]
    fn where_nobody_can_be_told_nobody_is_remembered() {
        let (ears, now) = (Ears::default(), Instant::now());
        ears.want(Mark(1), now);
        ears.deafen();
        assert_eq!((ears.wanted(), ears.attention.load(Ordering::SeqCst)), (0, 0));
        assert!(!ears.changed(Mark(1)));
    }

    #[test]
    fn who_comes_too_late_is_told_once() {
        let (ears, now) = (Ears::default(), Instant::now());
        assert!(!ears.changed(Mark(1)));
        assert!(ears.want(Mark(1), now), "it has changed just before");
        assert!(!ears.want(Mark(1), now), "that is said once");
        assert!(ears.changed(Mark(1)), "and from now on it is wanted");
        assert!(!ears.want(Mark(0), now), "an empty slot is no change");
    }

    #[tokio::test]
    async fn all_who_wait_here_are_told() {
        let ears = Ears::default();
        let places = [ears.wait(Mark(1)), ears.wait(Mark(1)), ears.wait(Mark(2))];
        let mut waits: Vec<_> = places.iter().map(|place| Box::pin(place.told.notified())).collect();
        for wait in &mut waits {
            assert!(!wait.as_mut().enable(), "not told yet");
        }
        assert!(!ears.changed(Mark(1)), "nobody waits elsewhere");
        let mut told = waits.into_iter().map(|mut wait| wait.as_mut().enable());
        assert_eq!([told.next(), told.next(), told.next()], [Some(true), Some(true), Some(false)]);
        drop(told);
        drop(places);
        assert_eq!(ears.attention.load(Ordering::SeqCst), 0);
    }
}

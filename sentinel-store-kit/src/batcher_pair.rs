//! Two batchers for the same work. The second one is used under a backlog only.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::batcher::{BatchExecutor, Batcher};

/// From `BACKLOG` outstanding items on, two batchers share them, until fewer than `CALM` are outstanding. One batch
/// is then executed while the replies of the other are handed out; with fewer items, two batchers would only halve each
/// other's batches.
const BACKLOG: usize = 64;
const CALM: usize = 24;

/// Two batchers for the same work.
#[derive(Debug)]
pub struct BatcherPair<E: BatchExecutor> {
    batchers: [Batcher<E>; 2],
    /// Whether both batchers are used, and which is next.
    shared: AtomicBool,
    next: AtomicUsize,
}

impl<E: BatchExecutor> BatcherPair<E> {
    /// A pair whose tasks are not started yet, with an executor for each batcher.
    pub fn new(executors: [E; 2]) -> Self {
        let batchers = executors.map(Batcher::new);
        Self { batchers, shared: AtomicBool::new(false), next: AtomicUsize::new(0) }
    }

    /// Hands an item over as [`Batcher::send`] does.
    pub fn send(&self, item: E::Item) {
        self.pick().send(item);
    }

    fn pick(&self) -> &Batcher<E> {
        let [first, second] = &self.batchers;
        let outstanding = first.outstanding() + second.outstanding();
        let shared = self.shared.load(Ordering::Relaxed);
        if shared != (outstanding >= if shared { CALM } else { BACKLOG }) {
            self.shared.store(!shared, Ordering::Relaxed);
        }
        let is_second = shared && self.next.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if is_second { second } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::tests::Recorder;

    #[test]
    fn two_batchers_share_a_backlog_until_it_is_small() {
        let pair = BatcherPair::new([Recorder::default(), Recorder::default()]);
        let set_outstanding = |first: usize, second: usize| {
            pair.batchers[0].set_outstanding(first);
            pair.batchers[1].set_outstanding(second);
        };
        // The call that notices a backlog, or its end, is still handled as those before.
        let second = || {
            pair.pick();
            (0..4).filter(|_| std::ptr::eq(pair.pick(), &raw const pair.batchers[1])).count()
        };
        for ((first, other), expected) in [
            ((0, 0), 0),
            ((BACKLOG - 1, 0), 0),
            ((BACKLOG - 1, 1), 2),
            ((CALM, 0), 2),
            ((0, CALM), 2),
            ((CALM - 1, 0), 0),
            ((CALM, 0), 0),
        ] {
            set_outstanding(first, other);
            assert_eq!(second(), expected, "{first} and {other} are outstanding");
        }
    }
}

//! Two batchers for the same work. The second one is used under a backlog only.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::batcher::{BatchExecutor, Batcher};

/// From `BACKLOG` outstanding items on, two batchers share them, until fewer than `CALM` are outstanding. One statement
/// then runs while the replies of the other are handed out; with fewer items, two batchers would only halve each
/// other's batches.
pub(super) const BACKLOG: usize = 64;
pub(super) const CALM: usize = 24;

#[derive(Debug)]
pub(crate) struct BatcherPair<F: BatchExecutor> {
    pub(super) batchers: [Batcher<F>; 2],
    /// Whether both batchers are used, and which is next.
    shared: AtomicBool,
    next: AtomicUsize,
}

impl<F: BatchExecutor> BatcherPair<F> {
    pub(crate) fn new(batcher: impl Fn() -> Batcher<F>) -> Self {
        Self { batchers: [batcher(), batcher()], shared: AtomicBool::new(false), next: AtomicUsize::new(0) }
    }

    /// Hands an item over; its reply comes through the item's own channel.
    pub(crate) fn send(&self, item: F::Item) {
        self.pick().send(item);
    }

    pub(super) fn pick(&self) -> &Batcher<F> {
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

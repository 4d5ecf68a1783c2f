//! Two lanes for the same work, of which the second one is used under a backlog only.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::lane::{Freight, Lane};

/// With so many items outstanding, two lanes share them, until fewer than the second number are. One statement then runs
/// while the answers of the other are handed out; with fewer, two would only halve each other's company.
pub(super) const BACKLOG: usize = 64;
pub(super) const CALM: usize = 24;

#[derive(Debug)]
pub(crate) struct Pair<F: Freight> {
    pub(super) lanes: [Lane<F>; 2],
    /// Whether both lanes are used, and whose turn it is.
    shared: AtomicBool,
    turn: AtomicUsize,
}

impl<F: Freight> Pair<F> {
    pub(crate) fn new(lane: impl Fn() -> Lane<F>) -> Self {
        Self { lanes: [lane(), lane()], shared: AtomicBool::new(false), turn: AtomicUsize::new(0) }
    }

    /// Hands an item over; its answer comes by the item's own way.
    pub(crate) fn send(&self, item: F::Item) {
        self.next().send(item);
    }

    pub(super) fn next(&self) -> &Lane<F> {
        let [first, second] = &self.lanes;
        let outstanding = first.outstanding() + second.outstanding();
        let shared = self.shared.load(Ordering::Relaxed);
        if shared != (outstanding >= if shared { CALM } else { BACKLOG }) {
            self.shared.store(!shared, Ordering::Relaxed);
        }
        let turn = shared && self.turn.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if turn { second } else { first }
    }
}

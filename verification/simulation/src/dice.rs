//! Chance: the same seed, the same throws.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Dice. Clones throw the same dice in turn.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Dice of their own, which depend on these and on how often they were thrown.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.throw(|rng| rng.random()))
    }

    fn throw<T>(&self, throw: impl FnOnce(&mut StdRng) -> T) -> T {
        throw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the first to the last, both included.
    pub(crate) fn within(&self, least: u64, most: u64) -> u64 {
        self.throw(|rng| rng.random_range(least..=most))
    }

    /// True in so many of a hundred throws.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.within(0, 99) < percent
    }

    /// A duration up to this one: mostly short ones.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        let share = self.throw(|rng| rng.random_range(0.0..1.0_f64));
        most.mul_f64(share * share)
    }
}

//! Random numbers: the same seed gives the same numbers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// A generator. Clones draw from the same one in turn.
#[derive(Debug, Clone)]
pub(crate) struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Another generator, which depends on this one and on how often it was used.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.draw(|rng| rng.random()))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the first to the last, both included.
    pub(crate) fn within(&self, least: u64, most: u64) -> u64 {
        self.draw(|rng| rng.random_range(least..=most))
    }

    /// True in this many of a hundred draws.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.within(0, 99) < percent
    }

    /// A duration up to this one: mostly short ones.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        let share = self.draw(|rng| rng.random_range(0.0..1.0_f64));
        most.mul_f64(share * share)
    }
}

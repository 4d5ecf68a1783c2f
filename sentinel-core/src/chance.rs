//! Randomness for ids and jitter: from the system, or in a simulation from a seed.

use rand::RngExt as _;

/// 128 random bits.
pub(crate) fn bits() -> u128 {
    #[cfg(feature = "simulation")]
    if let Some(bits) = seeded::draw(|rng| rng.random()) {
        return bits;
    }
    rand::rng().random()
}

/// A random number between 0.5 and 1, both included.
pub fn half_to_whole() -> f64 {
    #[cfg(feature = "simulation")]
    if let Some(share) = seeded::draw(|rng| rng.random_range(0.5..=1.0)) {
        return share;
    }
    rand::rng().random_range(0.5..=1.0)
}

#[cfg(feature = "simulation")]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    thread_local! {
        static RNG: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    }

    /// Makes all ids and jitter that this thread draws from now on depend on `seed`. For simulations, which run in one
    /// thread. The same seed gives the same ids again, so such a thread must not create records that are kept.
    pub fn seed_this_thread(seed: u64) {
        RNG.with_borrow_mut(|rng| *rng = Some(StdRng::seed_from_u64(seed)));
    }

    pub(super) fn draw<T>(draw_from: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
        RNG.with_borrow_mut(|rng| rng.as_mut().map(draw_from))
    }
}

//! Chance, for ids and jitter: the system's, or in a simulation that of a seed.

use rand::RngExt as _;

/// 128 random bits.
pub(crate) fn bits() -> u128 {
    #[cfg(feature = "simulation")]
    if let Some(bits) = seeded::draw(|dice| dice.random()) {
        return bits;
    }
    rand::rng().random()
}

/// A share between a half and the whole.
pub fn half_to_whole() -> f64 {
    #[cfg(feature = "simulation")]
    if let Some(share) = seeded::draw(|dice| dice.random_range(0.5..=1.0)) {
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
        static DICE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
    }

    /// From now on, ids and jitter that this thread draws follow from a seed: for simulations, which have one thread. Ids
    /// repeat with the seed, so nothing that is kept may be made by such a thread.
    pub fn seed_this_thread(seed: u64) {
        DICE.with_borrow_mut(|dice| *dice = Some(StdRng::seed_from_u64(seed)));
    }

    pub(super) fn draw<T>(throw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
        DICE.with_borrow_mut(|dice| dice.as_mut().map(throw))
    }
}

//! Which records were completed when this process last looked: a guess that decides who is asked first, never what is
//! answered.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use sentinel_core::Address;

const SLOTS: usize = 4096;

/// Hashes of addresses, one for each slot; a newer one displaces an older one.
pub(crate) struct Replays {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Replays {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::default() }
    }
}

impl Replays {
    /// The record of an address is completed: the next claim on it will likely be a replay.
    pub(crate) fn expect(&self, address: &Address) {
        let (slot, hash) = self.slot(address);
        slot.store(hash, Ordering::Relaxed);
    }

    pub(crate) fn expects(&self, address: &Address) -> bool {
        let (slot, hash) = self.slot(address);
        slot.load(Ordering::Relaxed) == hash
    }

    fn slot(&self, address: &Address) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(address);
        (&self.slots[hash as usize % SLOTS], hash | 1)
    }
}

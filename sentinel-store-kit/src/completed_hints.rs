//! Hints for stores that can read without a lock: which records were completed when this process last read them.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use sentinel_core::Address;

/// 256 KiB.
const SLOTS: usize = 1 << 16;

/// Remembers which addresses were completed. Only a hint: it decides whether the store reads before it claims, never
/// what it answers. Its size is fixed: a newer address replaces an older one.
pub struct CompletedHints {
    slots: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Default for CompletedHints {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(), hasher: RandomState::default() }
    }
}

impl fmt::Debug for CompletedHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletedHints").finish_non_exhaustive()
    }
}

impl CompletedHints {
    /// Remembers that the record of an address is completed, so that the next claim on it is probably a replay.
    pub fn expect(&self, address: &Address) {
        let (slot, hash) = self.slot(address);
        slot.store(hash, Ordering::Relaxed);
    }

    /// Whether the record was completed when this process last read it.
    pub fn expects(&self, address: &Address) -> bool {
        let (slot, hash) = self.slot(address);
        slot.load(Ordering::Relaxed) == hash
    }

    fn slot(&self, address: &Address) -> (&AtomicU32, u32) {
        let hash = self.hasher.hash_one(address);
        // The lower half of the hash selects the slot, which stores the upper half.
        (&self.slots[hash as usize % SLOTS], (hash >> 32) as u32 | 1)
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Key, Namespace};

    use super::*;

    fn addresses(of: &str) -> Vec<Address> {
        let namespace = Namespace::new(of).unwrap();
        let key = |n| Key::new(format!("{n}")).unwrap();
        (0..2_000).map(|n| Address::execution(namespace.clone(), key(n))).collect()
    }

    #[test]
    fn completed_addresses_are_remembered_and_few_others_are() {
        let (hints, completed) = (CompletedHints::default(), addresses("completed"));
        for address in &completed {
            assert!(!hints.expects(address), "nothing was completed yet: {address}");
            hints.expect(address);
            assert!(hints.expects(address), "{address}");
        }
        // Some of these share a slot with them, and are distinguished by the other half of the hash.
        let others = addresses("others").iter().filter(|address| hints.expects(address)).count();
        assert!(others <= 1, "{others} others are expected");
        let displaced = completed.iter().filter(|address| !hints.expects(address)).count();
        assert!(displaced < 200, "{displaced} of 2,000 were displaced from {SLOTS} slots");
    }
}

//! Which keys a batch has already.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash};

/// The keys that a batch has already, by their hashes: each key must be in it once. Two keys may share a hash: the
/// second then goes out with the next batch, which costs a round trip and nothing else.
#[derive(Debug, Default)]
pub struct SeenKeys {
    hasher: foldhash::fast::RandomState,
    hashes: HashSet<u64, foldhash::fast::RandomState>,
}

impl SeenKeys {
    /// The hash of a key, for the other methods of the same value.
    pub fn hash(&self, of: &impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// Whether the batch has a key with this hash.
    pub fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Adds a key by its hash. Returns whether it is new.
    pub fn insert(&mut self, hash: u64) -> bool {
        self.hashes.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_seen_once_it_was_inserted() {
        let mut keys = SeenKeys::default();
        let [a, b] = ["a", "b"].map(|key| keys.hash(&key));
        assert!(!keys.contains(a) && keys.insert(a) && !keys.insert(a));
        assert!(keys.contains(a) && !keys.contains(b));
    }
}

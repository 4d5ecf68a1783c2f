//! Which keys a batch has already.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash};

/// The keys that a statement has already, by their hashes: each key must be in it once. Two keys may share a hash: the
/// second then goes out with the next statement, which costs a round trip and nothing else.
#[derive(Default)]
pub(crate) struct SeenKeys {
    hasher: foldhash::fast::RandomState,
    hashes: HashSet<u64, foldhash::fast::RandomState>,
}

impl SeenKeys {
    pub(crate) fn hash(&self, of: &impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        self.hashes.insert(hash);
    }
}

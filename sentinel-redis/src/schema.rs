//! The layout of the keys in Redis. A bucket is a namespace and a number, and its hash tag keeps all of its keys in
//! one slot.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use fred::util::redis_keyslot;
use sentinel_core::{Address, Invalid, Kind, Namespace};
use sentinel_store_kit::stable_hash;

/// The prefix of all names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: Arc<str>,
}

impl Names {
    /// 1 to 64 letters, digits, `.`, `_`, `-`, `:`; never a brace, which would move the hash tag.
    pub(crate) fn new(prefix: &str) -> Result<Self, Invalid> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(fits) {
            return Err(Invalid::new(
                "key prefix",
                format!("must be 1 to 64 of A-Z a-z 0-9 . _ - :, is {prefix:?}"),
            ));
        }
        Ok(Self { prefix: prefix.into() })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of the store's metadata: a hash.
    pub(crate) fn metadata(&self) -> KeyRef {
        self.key(&format!("{}:{{{}}}:root", self.prefix, self.prefix))
    }

    /// The namespaces that were used: a set, beside the metadata.
    pub(crate) fn namespaces(&self) -> KeyRef {
        self.key(&format!("{}:{{{}}}:namespaces", self.prefix, self.prefix))
    }

    /// The namespaces in which a claim had a cause: a set, beside the metadata.
    pub(crate) fn caused(&self) -> KeyRef {
        self.key(&format!("{}:{{{}}}:caused", self.prefix, self.prefix))
    }

    /// A key that exists for moments only, beside the metadata.
    pub(crate) fn scratch(&self) -> KeyRef {
        self.key(&format!("{}:{{{}}}:scratch", self.prefix, self.prefix))
    }

    /// When the store was registered last: a sorted set, beside the metadata, so that the latest of concurrent
    /// registrations stays.
    pub(crate) fn registered(&self) -> KeyRef {
        self.key(&format!("{}:{{{}}}:armed", self.prefix, self.prefix))
    }

    fn key(&self, name: &str) -> KeyRef {
        KeyRef { to: To::Slot(redis_keyslot(name.as_bytes())), name: Bytes::from(name.to_owned()) }
    }

    pub(crate) fn bucket(&self, namespace: &Namespace, number: u32, kind: Kind) -> Bucket {
        let stem = format!("{}:{{{namespace}:{number}}}:", self.prefix);
        let slot = redis_keyslot(stem.as_bytes());
        let letter = match kind {
            Kind::Execution => 'e',
            Kind::Lease => 'l',
        };
        Bucket { stem: stem.into(), slot, letter }
    }

    /// The bucket of an address among this many buckets. This must never change, or records would not be found.
    pub(crate) fn number(address: &Address, buckets: u32) -> u32 {
        let hash = stable_hash(address.key.as_str().bytes());
        // The low bits of the hash are weak; the high ones are folded in.
        u32::try_from(((hash >> 32) ^ hash) % u64::from(buckets)).unwrap_or_default()
    }
}

/// Which server of a cluster a command is for. Where there is one server, that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// The master that has the slot.
    Slot(u16),
    /// A master, by its address from `Connection::masters`.
    Node(String),
}

/// A name that is no key's and sorts before all of them. It is longer than what Redis keeps in the short form of a
/// sorted set (`zset-max-listpack-value`), which is searched entry by entry.
pub(crate) static BEFORE_ALL: [u8; 65] = [0; 65];

/// A single key.
#[derive(Debug, Clone)]
pub(crate) struct KeyRef {
    pub(crate) to: To,
    pub(crate) name: Bytes,
}

/// The records of one kind in one bucket, and what belongs to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    stem: Arc<str>,
    slot: u16,
    letter: char,
}

impl Bucket {
    pub(crate) fn to(&self) -> To {
        To::Slot(self.slot)
    }

    /// What every script is given before its items: marker, floor, index, undecided, due, touch, causes.
    pub(crate) fn keys(&self) -> [Bytes; 7] {
        let of_kind = |what: &str| self.named(&format!("{what}:{}", self.letter));
        [
            self.marker(),
            self.named("floor"),
            of_kind("index"),
            of_kind("undecided"),
            of_kind("due"),
            self.touch(),
            self.causes(),
        ]
    }

    /// The marker, for both kinds: a bucket without it was lost.
    pub(crate) fn marker(&self) -> Bytes {
        self.named("marker")
    }

    pub(crate) fn index(&self) -> Bytes {
        self.named(&format!("index:{}", self.letter))
    }

    pub(crate) fn undecided(&self) -> Bytes {
        self.named(&format!("undecided:{}", self.letter))
    }

    pub(crate) fn due(&self) -> Bytes {
        self.named(&format!("due:{}", self.letter))
    }

    /// What is written where a barrier would have nothing to wait for.
    pub(crate) fn touch(&self) -> Bytes {
        self.named("touch")
    }

    /// What has a cause, for both kinds: a sorted set of names under `r`, a root and a zero, under `t`, a trace and a
    /// zero, and of `k` and names with their traces and roots. A name is the kind's letter, a colon, the key.
    pub(crate) fn causes(&self) -> Bytes {
        self.named("causes")
    }

    /// The record of a key; also the channel on which its changes are published.
    pub(crate) fn record(&self, key: &str) -> Bytes {
        self.of('r', key)
    }

    pub(crate) fn events(&self, key: &str) -> Bytes {
        self.of('v', key)
    }

    /// The event that remains of a purged record.
    pub(crate) fn gone(&self, key: &str) -> Bytes {
        self.of('g', key)
    }

    /// How many bytes of a record's name come before its key.
    pub(crate) fn before_key(&self) -> usize {
        self.stem.len() + 4
    }

    fn named(&self, what: &str) -> Bytes {
        Bytes::from(format!("{}{what}", self.stem))
    }

    fn of(&self, what: char, key: &str) -> Bytes {
        let mut name = BytesMut::with_capacity(self.before_key() + key.len());
        name.put_slice(self.stem.as_bytes());
        name.put_slice(&[what as u8, b':', self.letter as u8, b':']);
        name.put_slice(key.as_bytes());
        name.freeze()
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::Key;

    use super::*;

    fn address(key: &str) -> Address {
        Address::execution(Namespace::new("tests").unwrap(), Key::new(key).unwrap())
    }

    /// A release that computes another bucket finds no record, and runs each key again.
    #[test]
    fn an_address_always_maps_to_the_same_bucket() {
        for (key, buckets, number) in [
            ("a", 256, 192),
            ("a", 16, 0),
            ("invoice-7", 64, 14),
            ("order:2024-06-01/é", 256, 184),
            ("a", u32::MAX, 3_636_858_124),
            ("invoice-7", u32::MAX, 977_120_813),
            ("order:2024-06-01/é", u32::MAX, 2_711_995_701),
            ("a", 1, 0),
        ] {
            assert_eq!(Names::number(&address(key), buckets), number, "{key} of {buckets}");
        }
        let lease = Address { kind: Kind::Lease, ..address("a") };
        assert_eq!(Names::number(&lease, 256), 192, "a lease is where the execution of its name is");
    }

    #[test]
    fn key_names_never_change() {
        let names = Names::new("app").unwrap();
        let text = |name: Bytes| String::from_utf8(name.to_vec()).unwrap();
        let metadata = [names.metadata(), names.namespaces(), names.caused(), names.registered()]
            .map(|place| text(place.name));
        assert_eq!(
            metadata,
            ["app:{app}:root", "app:{app}:namespaces", "app:{app}:caused", "app:{app}:armed"]
        );
        let bucket = names.bucket(&address("k").namespace, 3, Kind::Lease);
        assert_eq!(text(bucket.record("k")), "app:{tests:3}:r:l:k");
        assert_eq!(text(bucket.events("k")), "app:{tests:3}:v:l:k");
        assert_eq!(text(bucket.gone("k")), "app:{tests:3}:g:l:k");
        assert_eq!(&bucket.record("k")[bucket.before_key()..], b"k");
        let keys = bucket.keys().map(text);
        let expected = ["marker", "floor", "index:l", "undecided:l", "due:l", "touch", "causes"];
        assert_eq!(keys, expected.map(|name| format!("app:{{tests:3}}:{name}")));
        let executions = names.bucket(&address("k").namespace, 3, Kind::Execution);
        assert_eq!(text(executions.record("k")), "app:{tests:3}:r:e:k");
        assert_eq!(executions.to(), bucket.to(), "one slot has all of a bucket");
    }

    #[test]
    fn a_prefix_cannot_change_the_hash_tag() {
        for fine in ["a", "A.b_c-d:9", &"x".repeat(64)] {
            assert_eq!(Names::new(fine).unwrap().prefix(), fine);
        }
        for bad in ["", "a{b", "a}b", "a b", "é", &"x".repeat(65)] {
            assert!(Names::new(bad).is_err(), "{bad:?}");
        }
    }
}

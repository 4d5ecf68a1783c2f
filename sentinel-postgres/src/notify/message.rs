//! The messages between processes, on a channel that anyone may read and write who may connect to the database. They
//! carry no keys, only hashes of addresses, and the store never relies on them.

use sentinel_core::Address;
use sentinel_store_kit::stable_hash;

use crate::parts::Names;

/// The most hashes of one message: PostgreSQL takes less than 8,000 bytes.
pub(super) const MAX_HASHES: usize = 400;

const DIGITS: usize = 16;

/// The hash of an address, the same in each process. Two addresses may share one: then a waiter reads its record in
/// vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AddressHash(pub(super) u64);

impl AddressHash {
    pub(super) fn of(address: &Address) -> Self {
        let Address { namespace, kind, key } = address;
        // No part holds a zero byte.
        let parts = [namespace.as_str(), "\0", kind.as_str(), "\0", key.as_str()];
        Self(stable_hash(parts.into_iter().flat_map(str::bytes)))
    }
}

/// The channel of one schema. PostgreSQL keeps the channels of each database apart.
pub(super) fn channel(names: &Names) -> String {
    format!("sentinel_{:016x}", stable_hash(names.qualified("").bytes()))
}

/// The kind of a message about hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// A process waits for them.
    Wanted,
    /// They have changed.
    Changed,
}

impl MessageKind {
    fn word(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Changed => "changed",
        }
    }
}

/// As few messages as the hashes fit into.
pub(super) fn encode(kind: MessageKind, hashes: &[AddressHash]) -> impl Iterator<Item = String> {
    hashes.chunks(MAX_HASHES).map(move |page| {
        page.iter().fold(kind.word().to_owned(), |text, AddressHash(hash)| text + &format!(" {hash:016x}"))
    })
}

/// Decodes a message. None: it is not one of Sentinel's.
pub(super) fn decode(text: &str) -> Option<(MessageKind, Vec<AddressHash>)> {
    let mut words = text.split(' ');
    let word = words.next()?;
    let kind = [MessageKind::Wanted, MessageKind::Changed].into_iter().find(|kind| kind.word() == word)?;
    let hashes = words.map(hash).collect::<Option<Vec<_>>>()?;
    (1..=MAX_HASHES).contains(&hashes.len()).then_some((kind, hashes))
}

fn hash(word: &str) -> Option<AddressHash> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hash = word.len() == DIGITS && word.bytes().all(lower);
    is_hash.then(|| u64::from_str_radix(word, 16).ok())?.map(AddressHash)
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Key, Namespace};

    use super::*;

    #[test]
    fn an_encoded_message_decodes_to_the_same() {
        for count in [1, 2, MAX_HASHES, MAX_HASHES + 1, 3 * MAX_HASHES] {
            let hashes: Vec<AddressHash> =
                (0..count as u64).map(|n| AddressHash(n.wrapping_mul(u64::MAX / 7))).collect();
            for kind in [MessageKind::Wanted, MessageKind::Changed] {
                let mut received = Vec::new();
                for text in encode(kind, &hashes) {
                    assert!(text.len() < 8_000, "PostgreSQL accepts no message of {} bytes", text.len());
                    let (decoded, page) = decode(&text).unwrap();
                    assert_eq!(decoded, kind);
                    received.extend(page);
                }
                assert_eq!(received, hashes);
            }
        }
        assert_eq!(encode(MessageKind::Wanted, &[]).count(), 0);
    }

    #[test]
    fn a_foreign_message_is_ignored() {
        let long = "wanted".to_owned() + &" 0123456789abcdef".repeat(MAX_HASHES + 1);
        let strange = [
            "",
            " ",
            "wanted",
            "changed ",
            "wanted  0123456789abcdef",
            "changed 0123456789ABCDEF",
            "changed 123",
            "changed +123456789abcdef",
            "wanted 0123456789abcdef,0123456789abcdef",
            "Wanted 0123456789abcdef",
            "wanted 0123456789abcdef\n",
            "0123456789abcdef",
            "wanted ééééééé0",
            &long,
        ];
        for text in strange {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn different_addresses_have_different_hashes() {
        let named = |namespace: &str, key: &str| (Namespace::new(namespace).unwrap(), Key::new(key).unwrap());
        let mut hashes = Vec::new();
        for (namespace, key) in [named("a", "bc"), named("ab", "c"), named("a", "b"), named("a.b", "c")] {
            hashes.push(AddressHash::of(&Address::execution(namespace.clone(), key.clone())));
            hashes.push(AddressHash::of(&Address::lease(namespace, key)));
        }
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}

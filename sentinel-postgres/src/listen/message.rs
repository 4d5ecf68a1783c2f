//! What processes tell each other, on a channel that anybody may read and write who may connect to the database: no keys,
//! only marks of them, and nothing that would have to be true.

use sentinel_core::Address;

use crate::statement::Names;

/// The most marks of one message: PostgreSQL takes less than 8,000 bytes.
pub(super) const LONGEST: usize = 400;

const DIGITS: usize = 16;

/// Stands for an address, the same in each process. Two addresses may share one: then somebody looks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Mark(pub(super) u64);

impl Mark {
    pub(super) fn of(address: &Address) -> Self {
        let Address { namespace, kind, key } = address;
        // No part holds a zero byte.
        let parts = [namespace.as_str(), "\0", kind.as_str(), "\0", key.as_str()];
        Self(fnv(parts.into_iter().flat_map(str::bytes)))
    }
}

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where the processes of one schema meet. A channel is of one database already.
pub(super) fn channel(names: &Names) -> String {
    format!("sentinel_{:016x}", fnv(names.qualified("").bytes()))
}

/// What is said of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Somebody waits for them.
    Wanted,
    /// They are worth looking at.
    Changed,
}

impl Said {
    fn word(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Changed => "changed",
        }
    }
}

/// As few messages as will hold the marks.
pub(super) fn written(said: Said, marks: &[Mark]) -> impl Iterator<Item = String> {
    marks.chunks(LONGEST).map(move |page| {
        page.iter().fold(said.word().to_owned(), |text, Mark(mark)| text + &format!(" {mark:016x}"))
    })
}

/// Reads a message. None: it is none of ours.
pub(super) fn read(text: &str) -> Option<(Said, Vec<Mark>)> {
    let mut words = text.split(' ');
    let word = words.next()?;
    let said = [Said::Wanted, Said::Changed].into_iter().find(|said| said.word() == word)?;
    let marks = words.map(mark).collect::<Option<Vec<_>>>()?;
    (1..=LONGEST).contains(&marks.len()).then_some((said, marks))
}

fn mark(word: &str) -> Option<Mark> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_mark = word.len() == DIGITS && word.bytes().all(lower);
    is_mark.then(|| u64::from_str_radix(word, 16).ok())?.map(Mark)
}

#[cfg(test)]
mod tests {
    use sentinel_core::{Key, Namespace};

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for count in [1, 2, LONGEST, LONGEST + 1, 3 * LONGEST] {
            let marks: Vec<Mark> = (0..count as u64).map(|n| Mark(n.wrapping_mul(u64::MAX / 7))).collect();
            for said in [Said::Wanted, Said::Changed] {
                let mut told = Vec::new();
                for text in written(said, &marks) {
                    assert!(text.len() < 8_000, "PostgreSQL takes no message of {} bytes", text.len());
                    let (read, page) = read(&text).unwrap();
                    assert_eq!(read, said);
                    told.extend(page);
                }
                assert_eq!(told, marks);
            }
        }
        assert_eq!(written(Said::Wanted, &[]).count(), 0);
    }

    #[test]
    fn what_is_not_ours_is_no_message() {
        let long = "wanted".to_owned() + &" 0123456789abcdef".repeat(LONGEST + 1);
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
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn marks_tell_addresses_apart() {
        let named = |namespace: &str, key: &str| (Namespace::new(namespace).unwrap(), Key::new(key).unwrap());
        let mut marks = Vec::new();
        for (namespace, key) in [named("a", "bc"), named("ab", "c"), named("a", "b"), named("a.b", "c")] {
            marks.push(Mark::of(&Address::execution(namespace.clone(), key.clone())));
            marks.push(Mark::of(&Address::lease(namespace, key)));
        }
        let count = marks.len();
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), count);
    }
}

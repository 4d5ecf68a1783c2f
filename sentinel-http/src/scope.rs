//! Who owns an idempotency key: the part of a record's key that separates callers from each other.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use sentinel_client::sentinel_core::Key;
use sha2::{Digest as _, Sha256};

/// The longest encoded scope, in bytes, that is a part of the record's key as it is.
const MAX_ENCODED_BYTES: usize = 200;

/// All bytes but `[A-Za-z0-9._:@-]`. So no part contains the separators `,` and `/`, nor the mark `~` of a digest.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'~');

/// Who owns an idempotency key: a tenant, a user, an API key. Two scopes never share a record.
///
/// Make it as narrow as the authorisation: where answers depend on the user, the user is a part of it. A part that is
/// empty makes the whole scope missing: the request is refused with 403, and nothing ran.
///
/// ```
/// use sentinel_http::Scope;
///
/// let scope = Scope::new("acme").part("ada@example.com");
/// assert_eq!(scope.as_str(), Some("acme,ada@example.com"));
/// assert_eq!(Scope::new("acme").part("").as_str(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The encoded parts, joined. None: a part was empty.
    encoded: Option<String>,
}

impl Scope {
    /// A scope of one part.
    pub fn new(part: impl AsRef<[u8]>) -> Self {
        Self { encoded: encode(part.as_ref()) }
    }

    /// The scope with one more part. `a` with the part `b` differs from `a,b` and from any other split.
    pub fn part(self, part: impl AsRef<[u8]>) -> Self {
        let joined = self.encoded.zip(encode(part.as_ref())).map(|(before, part)| format!("{before},{part}"));
        Self { encoded: joined }
    }

    /// The scope as it is written in a record's key; None: a part is empty. Long scopes are written as a digest there.
    pub fn as_str(&self) -> Option<&str> {
        self.encoded.as_deref()
    }

    /// The record's key of an idempotency key in this scope; None: a part of the scope is empty.
    ///
    /// The first `/` ends the scope, so two different pairs of scope and key never have one record key.
    pub(crate) fn record_key(&self, key: &str) -> Option<Key> {
        let encoded = self.encoded.as_deref()?;
        let joined = if encoded.len() > MAX_ENCODED_BYTES {
            format!("~{}/{key}", hex(&Sha256::digest(encoded)))
        } else {
            format!("{encoded}/{key}")
        };
        // 200 bytes, a slash and 255 bytes fit in a record's key, and a key has no control characters.
        Key::new(joined).ok()
    }
}

fn encode(part: &[u8]) -> Option<String> {
    (!part.is_empty()).then(|| percent_encode(part, ENCODED).to_string())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn different_scopes_and_keys_never_have_one_record() {
        let long = "x".repeat(MAX_ENCODED_BYTES);
        let digest = hex(&Sha256::digest(format!("{long}y")));
        let scopes = [
            Scope::new("a"),
            Scope::new("b"),
            Scope::new("a").part("b"),
            Scope::new("a,b"),
            Scope::new("a/b"),
            Scope::new("a%2Fb"),
            Scope::new("a%2C"),
            Scope::new("~"),
            Scope::new(format!("~{digest}")),
            Scope::new(&long),
            Scope::new(format!("{long}y")),
            Scope::new(format!("{long}z")),
            Scope::new("ä"),
            Scope::new([0xc3]),
            Scope::new("a\n"),
            Scope::new("a").part("b").part("c"),
        ];
        let keys = ["k", "b/k", "/k", "c", "b", "%2F", ",b/k", "~", "~/k"];
        let mut found: HashMap<Key, (&Scope, &str)> = HashMap::new();
        for scope in &scopes {
            for key in keys {
                let record = scope.record_key(key).unwrap();
                assert!(record.as_str().len() <= Key::MAX_BYTES);
                let earlier = found.insert(record, (scope, key));
                assert_eq!(earlier, None, "{scope:?} {key:?}");
            }
        }
    }

    #[test]
    fn the_longest_scope_and_the_longest_key_fit() {
        let key = "k".repeat(crate::key::MAX_KEY_BYTES);
        for length in [1, 199, 200, 201, 10_000] {
            let record = Scope::new("s".repeat(length)).record_key(&key).unwrap();
            assert!(record.as_str().len() <= Key::MAX_BYTES, "{length}");
        }
        // Encoding makes 67 bytes longer than 200.
        let encoded = Scope::new("ä".repeat(34));
        assert!(encoded.as_str().is_some_and(|text| text.len() > MAX_ENCODED_BYTES));
        assert!(encoded.record_key("k").unwrap().as_str().starts_with('~'));
    }

    #[test]
    fn an_empty_part_makes_the_scope_missing() {
        for scope in [Scope::new(""), Scope::new("a").part(""), Scope::new("").part("a")] {
            assert_eq!(scope.as_str(), None);
            assert_eq!(scope.record_key("k"), None);
        }
    }
}

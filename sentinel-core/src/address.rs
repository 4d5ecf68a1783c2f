//! The address of a record: namespace, kind and key.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::error::Invalid;

/// A namespace groups keys, for example by service. Its name is 1 to 64 bytes of `[a-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(SmolStr);

impl Namespace {
    /// The longest namespace, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Validates a name. Returns an error if it is empty, longer than 64 bytes, or has a byte outside `[a-z0-9._-]`.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Invalid> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > Self::MAX_BYTES {
            return Err(Invalid::new("namespace", format!("must be 1 to 64 bytes, is {}", name.len())));
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        if !name.bytes().all(fits) {
            return Err(Invalid::new(
                "namespace",
                format!("may have only the characters a-z 0-9 . _ -, is {name:?}"),
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key that identifies a piece of work: 1 to 512 bytes of UTF-8 without control characters, compared byte by byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(SmolStr);

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Validates a key. Returns an error if it is empty, longer than 512 bytes, or has control characters. The key is
    /// not normalised: two Unicode encodings of one letter are two keys.
    pub fn new(key: impl AsRef<str>) -> Result<Self, Invalid> {
        let key = key.as_ref();
        if key.is_empty() || key.len() > Self::MAX_BYTES {
            return Err(Invalid::new("key", format!("must be 1 to 512 bytes, is {}", key.len())));
        }
        if has_controls(key) {
            return Err(Invalid::new("key", format!("may not have control characters, is {key:?}")));
        }
        Ok(Self(key.into()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text has control characters. Most texts are printable ASCII, which the fast first pass recognises.
pub(crate) fn has_controls(text: &str) -> bool {
    let plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    !plain && text.chars().any(char::is_control)
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(text: $name) -> String {
                (*text.0).to_owned()
            }
        }
    };
}
pub(crate) use text_type;

text_type!(Namespace);
text_type!(Key);

/// The two kinds of record. Both use one record format. An execution and a lease with the same key are separate
/// records, so a lease never hides an execution's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Work that runs at most once.
    Execution,
    /// A lease, which at most one worker holds at a time.
    Lease,
}

impl Kind {
    /// The name used in storage, logs and the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Lease => "lease",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = [Self::Execution, Self::Lease].into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Invalid::new("kind", format!("must be execution or lease, is {text:?}")))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// (namespace, kind, key): identifies one record. The three parts are never joined by a separator, so that (`a:b`, `c`)
/// and (`a`, `b:c`) stay different.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// The namespace.
    pub namespace: Namespace,
    /// Execution or lease.
    pub kind: Kind,
    /// The key within the namespace.
    pub key: Key,
}

impl Address {
    /// The address of an execution.
    pub fn execution(namespace: Namespace, key: Key) -> Self {
        Self { namespace, kind: Kind::Execution, key }
    }

    /// The address of a lease.
    pub fn lease(namespace: Namespace, key: Key) -> Self {
        Self { namespace, kind: Kind::Lease, key }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} in namespace {:?}", self.kind, self.key.as_str(), self.namespace.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_address_does_not_change() {
        let (namespace, key) = (Namespace::new("billing").unwrap(), Key::new("a b").unwrap());
        let execution = Address::execution(namespace.clone(), key.clone());
        assert_eq!(execution.to_string(), "execution \"a b\" in namespace \"billing\"");
        assert_eq!(Address::lease(namespace, key).to_string(), "lease \"a b\" in namespace \"billing\"");
    }

    #[test]
    fn names_are_checked_at_the_limits_of_their_length() {
        assert!(Namespace::new("a".repeat(64)).is_ok() && Namespace::new("a".repeat(65)).is_err());
        assert!(
            Namespace::new("").is_err() && Namespace::new("A").is_err() && Namespace::new("a:b").is_err()
        );
        assert!(Key::new("k".repeat(512)).is_ok() && Key::new("k".repeat(513)).is_err());
        assert!(Key::new("").is_err() && Key::new("a\nb").is_err() && Key::new("a\u{85}b").is_err());
        assert!(Key::new("a:b/ü €").is_ok());
    }

    #[test]
    fn every_text_is_parsed_as_its_constructor_reads_it() {
        assert_eq!("a b".parse(), Key::new("a b"));
        assert_eq!("billing".parse(), Namespace::new("billing"));
        assert_eq!("olga".parse(), crate::Label::new("olga"));
        assert_eq!("v1".parse(), crate::Fingerprint::new("v1"));
        assert!("".parse::<Key>().is_err() && "A".parse::<Namespace>().is_err());
        assert!("a\nb".parse::<crate::Label>().is_err() && "".parse::<crate::Fingerprint>().is_err());
        for kind in [Kind::Execution, Kind::Lease] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("Lease".parse::<Kind>().unwrap_err().to_string().contains("execution or lease"));
    }
}

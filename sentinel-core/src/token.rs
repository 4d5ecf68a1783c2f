//! Fencing tokens, and the two random ids that make every request repeatable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::Invalid;

/// A fencing token: 1 to 2^53-1, strictly increasing over all grants and decisions of one address (spec §2).
/// `Token::NONE` (zero) is the token of a record that never had one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(#[serde(deserialize_with = "exact")] u64);

impl Token {
    /// The token of a record for which none was drawn yet.
    pub const NONE: Self = Self(0);
    /// The largest token. A double, JSON and a bigint can all represent it exactly.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Validates a number. Returns an error for zero and for numbers above 2^53-1.
    pub fn new(number: u64) -> Result<Self, Invalid> {
        if number == 0 || number > Self::MAX.0 {
            return Err(Invalid::new("token", format!("must be 1 to 2^53-1, is {number}")));
        }
        Ok(Self(number))
    }

    /// Creates a token from a stored number, zero included. A number above 2^53-1 becomes the maximum.
    pub fn from_stored(number: u64) -> Self {
        Self(number.min(Self::MAX.0))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Reads a stored number. A number above 2^53-1 is an error.
fn exact<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match u64::deserialize(from)? {
        number if number > Token::MAX.0 => Err(de::Error::custom(format!("{number} is no token"))),
        number => Ok(number),
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.parse().map_err(|_| Invalid::new("token", format!("{text:?} is not a number")))?;
        Self::new(number)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u128);

        impl $name {
            /// 128 fresh random bits.
            pub fn random() -> Self {
                Self(crate::chance::bits())
            }

            /// Creates an id from stored bits.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The bits.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                match u128::from_str_radix(text, 16) {
                    Ok(bits) if digits => Ok(Self(bits)),
                    _ => Err(Invalid::new($what, format!("must be 32 hexadecimal digits, is {text:?}"))),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

random_id! {
    /// Identifies one call of `once` or `lease`. It must be new for each call: two calls with the same id would both
    /// run (spec §2).
    ClaimId, "claim id"
}

random_id! {
    /// Identifies one decision of an operator. Keep it if you may have to repeat the decision.
    OpId, "op id"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outside_its_range_is_refused() {
        assert!(Token::new(0).is_err() && Token::new(1 << 53).is_err());
        assert_eq!(Token::new((1 << 53) - 1).unwrap(), Token::MAX);
        assert!("12x".parse::<Token>().is_err() && "+1".parse::<Token>().is_ok());
    }

    #[test]
    fn a_stored_token_outside_its_range_is_refused() {
        let read = |text| serde_json::from_str::<Token>(text).ok();
        assert_eq!((read("0"), read("9007199254740991")), (Some(Token::NONE), Some(Token::MAX)));
        assert_eq!((read("9007199254740992"), read("-1"), read("1.5")), (None, None, None));
        assert_eq!(serde_json::to_string(&Token::MAX).unwrap(), "9007199254740991");
    }

    #[test]
    fn a_printed_id_is_parsed_again() {
        let id = ClaimId::random();
        assert_eq!(id.to_string().parse::<ClaimId>().unwrap(), id);
        assert!("+0000000000000000000000000000001".parse::<OpId>().is_err());
        assert_ne!(ClaimId::random(), ClaimId::random());
    }
}

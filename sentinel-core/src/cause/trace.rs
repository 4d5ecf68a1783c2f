//! The trace id of W3C Trace Context.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// A trace id of W3C Trace Context: 16 bytes, not all zero, written as 32 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId(u128);

impl TraceId {
    /// Creates a trace id from its bits. Returns an error if all are zero, which W3C does not allow.
    pub fn from_bits(bits: u128) -> Result<Self, Invalid> {
        match bits {
            0 => Err(Invalid::new("trace id", "may not be zero")),
            bits => Ok(Self(bits)),
        }
    }

    /// The bits.
    pub fn bits(self) -> u128 {
        self.0
    }

    /// Reads the trace id of a `traceparent` header, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
    /// Returns an error for everything that W3C Trace Context calls invalid. A header of a later version may be longer.
    pub fn from_traceparent(header: &str) -> Result<Self, Invalid> {
        let bad = |why: &str| Invalid::new("traceparent", format!("{why}, is {header:?}"));
        let (fixed, rest) = header.split_at_checked(55).ok_or_else(|| bad("must have 55 characters"))?;
        let mut parts = fixed.split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits && is_lower_hex(part));
            part.ok_or_else(|| bad("must be four groups of hexadecimal digits in lower case"))
        };
        let (version, trace, parent) = (part(2)?, part(32)?, part(16)?);
        part(2)?;
        match (version, rest.as_bytes().first()) {
            ("ff", _) => return Err(bad("may not have version ff")),
            (_, None) => {}
            ("00", Some(_)) => return Err(bad("must have 55 characters")),
            (_, Some(b'-')) => {}
            (_, Some(_)) => return Err(bad("must have a hyphen after its flags")),
        }
        if parent.bytes().all(|digit| digit == b'0') {
            return Err(bad("may not have a parent id of zero"));
        }
        trace.parse()
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for TraceId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match u128::from_str_radix(text, 16) {
            Ok(bits) if text.len() == 32 && is_lower_hex(text) => Self::from_bits(bits),
            _ => {
                let why = format!("must be 32 hexadecimal digits in lower case, is {text:?}");
                Err(Invalid::new("trace id", why))
            }
        }
    }
}

impl TryFrom<String> for TraceId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(trace: TraceId) -> Self {
        trace.to_string()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_trace_id_of_a_traceparent_is_read() {
        let read = |header: &str| TraceId::from_traceparent(header).map(|trace| trace.to_string());
        assert_eq!(read(HEADER).unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for later in [HEADER.replacen("00", "01", 1), format!("cc{}-what-ever", &HEADER[2..])] {
            assert_eq!(read(&later).unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736", "{later}");
        }
    }

    #[test]
    fn a_traceparent_that_w3c_calls_invalid_is_refused() {
        let zeros = |part: &str| HEADER.replace(part, &"0".repeat(part.len()));
        for bad in [
            "",
            "00",
            &HEADER[1..],
            &HEADER.to_uppercase(),
            &HEADER.replacen("00", "ff", 1),
            &HEADER.replacen("00", "0g", 1),
            &format!("{HEADER}-00"),
            &format!("{}.x", HEADER.replacen("00", "01", 1)),
            &HEADER.replace('-', "_"),
            &zeros("4bf92f3577b34da6a3ce929d0e0e4736"),
            &zeros("00f067aa0ba902b7"),
            &format!("{}é", &HEADER[..54]),
        ] {
            assert!(TraceId::from_traceparent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trace_id_is_32_digits_in_lower_case_and_not_zero() {
        for bad in
            ["", "0", &"0".repeat(32), &"A".repeat(32), &"1".repeat(33), &format!("+{}", "1".repeat(31))]
        {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
        assert!(TraceId::from_bits(0).is_err());
        assert_eq!("1".repeat(32).parse::<TraceId>().unwrap().to_string(), "1".repeat(32));
    }
}

//! Percent-encoding of a text as visible ASCII without quotes, backslashes and spaces.

use std::fmt::Write as _;

use crate::error::Invalid;

/// Appends a text, with every byte encoded that is not visible ASCII, and `%`, `"` and `\`.
pub(super) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'%' | b'"' | b'\\' => push_encoded(out, byte),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => push_encoded(out, byte),
        }
    }
}

fn push_encoded(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

/// Reads it back, also where more bytes were encoded than had to be.
pub(super) fn decode(text: &str) -> Result<String, Invalid> {
    let bad = || Invalid::new("cause", "has a `%` that is not followed by two hexadecimal digits");
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digit = |at: usize| rest.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let (high, low) = digit(0).zip(digit(1)).ok_or_else(bad)?;
                bytes.push((high * 16 + low) as u8);
                rest = &rest[2..];
            }
            b'!'..=b'~' if !b"\"\\".contains(byte) => bytes.push(*byte),
            _ => return Err(Invalid::new("cause", "has a character that is not visible ASCII, or a quote")),
        }
    }
    String::from_utf8(bytes).map_err(|_| Invalid::new("cause", "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_read_back() {
        for text in ["", "plain-42", "a b\"c\\d%e,f", "ü €\u{10FFFF}", "100%", "\u{7f}~!"] {
            let mut encoded = String::new();
            encode(&mut encoded, text);
            assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b)), "{encoded}");
            assert_eq!(decode(&encoded).unwrap(), text);
        }
        assert_eq!(decode("%6frder%2D42").unwrap(), "order-42");
    }

    #[test]
    fn half_an_escape_is_refused() {
        for text in ["%", "%4", "%4g", "a%", "%ff", "a b", "a\"b", "a\\b", "é"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}

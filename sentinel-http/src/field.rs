//! Parts of structured fields (RFC 9651) that carry keys: a key is UTF-8, and a string of a structured field is ASCII.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sentinel_client::sentinel_core::{Address, Key, Kind, Namespace, Token};
use sfv::BareItem;

/// What is encoded: all that is not visible ASCII, and the sign of the encoding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A text in visible ASCII.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The text that [`encode`] was given; None: it has a broken encoding, or is no UTF-8.
pub(crate) fn decode(encoded: &str) -> Option<String> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = encoded.as_bytes();
    let is_broken =
        |at: usize| bytes[at] == b'%' && !(is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2)));
    if (0..bytes.len()).any(is_broken) {
        return None;
    }
    percent_decode_str(encoded).decode_utf8().ok().map(Into::into)
}

/// An address as `namespace/kind/key`. Only a key may contain a slash, so it can be read again.
pub(crate) fn encode_address(address: &Address) -> String {
    format!("{}/{}/{}", address.namespace, address.kind, encode(address.key.as_str()))
}

/// The address that [`encode_address`] was given.
pub(crate) fn decode_address(encoded: &str) -> Option<Address> {
    let text = decode(encoded)?;
    let mut parts = text.splitn(3, '/');
    let namespace = Namespace::new(parts.next()?).ok()?;
    let kind = match parts.next()? {
        kind if kind == Kind::Execution.as_str() => Kind::Execution,
        kind if kind == Kind::Lease.as_str() => Kind::Lease,
        _ => return None,
    };
    Some(Address { namespace, kind, key: Key::new(parts.next()?).ok()? })
}

/// The text of a string; None: it is no string.
pub(crate) fn string(item: &BareItem) -> Option<&str> {
    match item {
        BareItem::String(text) => Some(text.as_str()),
        _ => None,
    }
}

/// A number in its one spelling: digits without a leading zero or sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A token in its one spelling.
pub(crate) fn token(text: &str) -> Option<Token> {
    Token::new(number(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_text_is_visible_ascii_and_is_read_again() {
        for (text, encoded) in [
            ("order-42", "order-42"),
            ("a b", "a%20b"),
            ("100%", "100%25"),
            ("%41", "%2541"),
            ("ä/€", "%C3%A4/%E2%82%AC"),
            ("\"quoted\\\"", "\"quoted\\\""),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_broken_encoding_is_refused() {
        for broken in ["%", "%4", "%zz", "a%2", "%C3", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_address_with_slashes_in_its_key_is_read_again() {
        let of = |key: &str| Address::execution(Namespace::new("billing").unwrap(), Key::new(key).unwrap());
        for key in ["order-42", "a/b/c", "/", "ä", "execution/x", "%2F"] {
            assert_eq!(decode_address(&encode_address(&of(key))), Some(of(key)), "{key}");
        }
        assert_eq!(encode_address(&of("a b")), "billing/execution/a%20b");
        for wrong in [
            "",
            "billing",
            "billing/execution",
            "billing/execution/",
            "billing/job/k",
            "B/lease/k",
            "/lease/k",
        ] {
            assert_eq!(decode_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!((number("0"), number("42")), (Some(0), Some(42)));
        for wrong in ["", "042", "+1", "-1", "1.0", " 1", "18446744073709551616", "0x1"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!((token("0"), token("9007199254740992")), (None, None));
    }
}

//! The field `Idempotency-Key`: which keys a request may name, and how they are written.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

/// The request field that names the key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in bytes, after decoding.
pub const MAX_KEY_BYTES: usize = 255;

/// Why a request has no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the field is there more than once")]
    Repeated,
    #[error("the key is empty")]
    Empty,
    #[error("the key is longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
    #[error("the field is neither one quoted string nor one token of A-Z a-z 0-9 . _ : ~ -")]
    Malformed,
}

/// The key of a request; None: the request has no such field.
///
/// `"k"`, `"k";x=1` and `k` are the same key: a structured-field string, whose parameters are ignored, or a bare token.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, KeyError> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(KeyError::Repeated);
    }
    let text = field.as_bytes().trim_ascii();
    let key = match text.first() {
        None => return Err(KeyError::Empty),
        Some(b'"') => quoted(text)?,
        Some(_) => bare(text)?,
    };
    match key.len() {
        0 => Err(KeyError::Empty),
        1..=MAX_KEY_BYTES => Ok(Some(key)),
        _ => Err(KeyError::TooLong),
    }
}

fn quoted(text: &[u8]) -> Result<String, KeyError> {
    let item: Item = Parser::new(text).parse().map_err(|_| KeyError::Malformed)?;
    match item.bare_item {
        BareItem::String(key) => Ok(key.into()),
        _ => Err(KeyError::Malformed),
    }
}

fn bare(text: &[u8]) -> Result<String, KeyError> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:~-".contains(byte);
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Malformed)?;
    if text.bytes().all(|byte| is_token(&byte)) { Ok(text.to_owned()) } else { Err(KeyError::Malformed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(field: &[u8]) -> Result<Option<String>, KeyError> {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(field).unwrap());
        key_of(&headers)
    }

    #[test]
    fn a_quoted_key_and_a_bare_token_are_one_key() {
        for field in ["\"k\"", "\"k\";x=1", "k", " k ", "\t\"k\" "] {
            assert_eq!(parse(field.as_bytes()), Ok(Some("k".into())), "{field:?}");
        }
        assert_eq!(parse(b"\"a\\\"b\\\\c d\""), Ok(Some("a\"b\\c d".into())));
        assert_eq!(parse(b"8e03978e-40d5-43e8-bc93-6894a57f9324").map(|key| key.is_some()), Ok(true));
    }

    #[test]
    fn a_field_that_is_no_key_is_refused() {
        for field in [
            &b"\"unterminated"[..],
            b"\"a\",\"b\"",
            b"a,b",
            b"a b",
            b"a/b",
            b"\"a\" b",
            b"\"a\" ;x",
            b"(\"a\")",
            b":YQ==:",
            b"\"\xc3\xa4\"",
            b"\xc3\xa4",
            b"%\"a\"",
            b"\"a\tb\"",
        ] {
            assert_eq!(parse(field), Err(KeyError::Malformed), "{}", String::from_utf8_lossy(field));
        }
        assert_eq!(parse(b""), Err(KeyError::Empty));
        assert_eq!(parse(b"\"\""), Err(KeyError::Empty));
    }

    #[test]
    fn a_key_has_255_bytes_at_most_however_it_is_written() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        for (written, expected) in [
            (longest.clone(), Ok(Some(longest.clone()))),
            (format!("\"{longest}\""), Ok(Some(longest.clone()))),
            (format!("{longest}k"), Err(KeyError::TooLong)),
            (format!("\"{longest}k\""), Err(KeyError::TooLong)),
            // Each escaped quote is one byte of the key.
            (format!("\"{}\"", "\\\"".repeat(MAX_KEY_BYTES)), Ok(Some("\"".repeat(MAX_KEY_BYTES)))),
        ] {
            assert_eq!(parse(written.as_bytes()), expected, "{written}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused_also_with_equal_values() {
        let mut headers = HeaderMap::new();
        assert_eq!(key_of(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
        assert_eq!(key_of(&headers), Err(KeyError::Repeated));
    }
}

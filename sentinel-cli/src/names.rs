//! Parses keys, fingerprints, labels, tokens and ids of decisions for the command line.

use sentinel::Key;
use sentinel::record::{Fingerprint, Label, OpId, Root, Token};
use sentinel::store::Invalid;

pub(crate) fn key(text: &str) -> Result<Key, String> {
    Key::new(text).map_err(|invalid| invalid.to_string())
}

pub(crate) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::new(text).map_err(|invalid| invalid.to_string())
}

pub(crate) fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|invalid| invalid.to_string())
}

pub(crate) fn root(text: &str) -> Result<Root, String> {
    Root::new(text).map_err(|invalid| invalid.to_string())
}

pub(crate) fn token(text: &str) -> Result<Token, String> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a token is a number".into());
    }
    text.parse().map_err(|invalid: Invalid| invalid.to_string())
}

/// Accepts the id with or without the dashes of a UUID.
pub(crate) fn op_id(text: &str) -> Result<OpId, String> {
    text.replace('-', "").parse().map_err(|invalid: Invalid| invalid.to_string())
}

/// `snl_` and 40 hexadecimal digits.
pub(crate) fn idempotency_key(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("snl_").unwrap_or_default();
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match digits.len() == 40 && digits.bytes().all(is_digit) {
        true => Ok(text.to_owned()),
        false => Err("an idempotency key is snl_ and 40 hexadecimal digits".into()),
    }
}

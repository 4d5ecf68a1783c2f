//! Keys, namespaces, addresses, labels, fingerprints, tokens and ids, as texts.

use std::fmt::Display;
use std::str::FromStr;

use sentinel_core::{Address, ClaimId, Fingerprint, Key, Label, Namespace, OpId, Token, idempotency_key};

/// Each is used unchanged or refused, within its limits.
pub(crate) fn names(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let clean = !text.chars().any(char::is_control);
    let lawful = |max: usize| (1..=max).contains(&text.len());
    let of_a_namespace = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    taken(text, Key::new(text).ok(), lawful(512) && clean);
    taken(text, Namespace::new(text).ok(), lawful(64) && text.chars().all(of_a_namespace));
    taken(text, Label::new(text).ok().map(|label| label.as_str().to_owned()), lawful(1024) && clean);
    let print = Fingerprint::new(text).ok().map(|print| print.as_str().to_owned());
    taken(text, print, lawful(1024));
    let lossy = Label::lossy(text);
    assert_eq!(Label::new(lossy.as_str()).as_ref(), Ok(&lossy), "a lossy label is a label");
    token(text);
    id::<ClaimId>(text);
    id::<OpId>(text);
    if let Some((namespace, key)) = text.split_once('/') {
        address(namespace, key);
    }
}

fn taken<T: Display>(text: &str, taken: Option<T>, lawful: bool) {
    assert_eq!(taken.is_some(), lawful, "{text:?}");
    taken.iter().for_each(|taken| assert_eq!(taken.to_string(), text));
}

fn token(text: &str) {
    if let Ok(token) = text.parse::<Token>() {
        assert!(token > Token::NONE && token <= Token::MAX, "{text:?}");
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    if let Ok(token) = serde_json::from_str::<Token>(text) {
        assert!(token <= Token::MAX, "{text:?} is read as {token}");
    }
}

fn id<T: FromStr + Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
}

/// An address reads back, and no other has its idempotency key.
fn address(namespace: &str, key: &str) {
    let (Ok(namespace), Ok(key)) = (Namespace::new(namespace), Key::new(key)) else { return };
    let both = [Address::execution(namespace.clone(), key.clone()), Address::lease(namespace, key)];
    for address in &both {
        let json = serde_json::to_string(address).expect("an address is JSON");
        assert_eq!(serde_json::from_str::<Address>(&json).ok().as_ref(), Some(address));
    }
    assert_ne!(idempotency_key(&both[0], 1), idempotency_key(&both[1], 1));
    assert_ne!(idempotency_key(&both[0], 1), idempotency_key(&both[0], 2));
}

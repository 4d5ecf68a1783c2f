//! Masks passwords in everything that goes to standard error.

use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;

static SECRETS: OnceLock<Vec<String>> = OnceLock::new();

/// Remembers the texts to mask: what follows `://` in an argument or in `SENTINEL_STORE`, if it could include a
/// password. The argument parser quotes a misspelt option, or a URL in the wrong place, in its messages.
pub(crate) fn remember(arguments: &[OsString], store: Option<&OsStr>) {
    let mut secrets = store.map_or(Vec::new(), |url| secrets_of(&url.to_string_lossy(), true));
    let mut named = false;
    for argument in arguments.iter().take_while(|argument| *argument != "--") {
        let text = argument.to_string_lossy();
        secrets.extend(secrets_of(
            text.strip_prefix("--store=").unwrap_or(&text),
            named || text.starts_with("--store="),
        ));
        named = text == "--store";
    }
    // A part of another secret comes after it.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let _ = SECRETS.set(secrets);
}

/// `named`: it was given as a store, so that it may be a URL whose scheme is missing.
fn secrets_of(text: &str, named: bool) -> Vec<String> {
    let Some((scheme, tail)) = text.split_once("://") else {
        let whole = named && text.contains('@') && !text.starts_with("sqlite:");
        return if whole { vec![text.to_owned()] } else { Vec::new() };
    };
    let mut secrets = Vec::new();
    let after_colon = tail.split_once(':').map_or("", |(_, after)| after);
    // Also sentinelPassword=, of a Redis that sentinels watch.
    if tail.contains('@') || tail.contains("assword=") {
        secrets.push(tail.to_owned());
        let user_info = tail.rsplit_once('@').map_or("", |(user_info, _)| user_info);
        secrets.extend(user_info.split_once(':').map(|(_, password)| password.to_owned()));
    } else if scheme != "sqlite" && after_colon.starts_with(|c: char| !c.is_ascii_digit()) {
        // No port: perhaps a URL that broke off after the password.
        secrets.push(tail.to_owned());
    }
    // Masking a very short password would also mask ordinary words; the whole tail is still masked.
    secrets.retain(|secret| secret.len() > 3);
    secrets
}

/// The text with the remembered texts masked.
pub(crate) fn mask(text: &str) -> String {
    let secrets = SECRETS.get().map(Vec::as_slice).unwrap_or_default();
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_password_is_a_secret() {
        let of = |text: &str| secrets_of(text, false);
        assert_eq!(of("--sotre=postgres://me:hunter2@h"), ["me:hunter2@h", "hunter2"]);
        assert_eq!(of("postgres://me:hun ter2@h/db"), ["me:hun ter2@h/db", "hun ter2"]);
        assert_eq!(of("postgres://me:hunter2"), ["me:hunter2"]);
        let tail = "h:7?sentinelServiceName=a&sentinelPassword=hunter2";
        assert_eq!(of(&format!("redis-sentinel://{tail}")), [tail]);
        assert_eq!(secrets_of("me:hunter2@host", true), ["me:hunter2@host"]);
        for harmless in
            ["https://example.org/a", "sqlite:///a:b", "plain", "mail:me@host", "postgres://h:5432/db"]
        {
            assert!(of(harmless).is_empty(), "{harmless}");
        }
    }
}

//! The syntax of `redis.conf`.

use std::fmt::Write as _;

/// The file of settings. The server itself writes to it on `CONFIG REWRITE`.
pub(super) const CONF_FILE: &str = "redis.conf";

/// Lines of `redis.conf`.
pub(super) fn lines<N: AsRef<str>, V: AsRef<str>>(settings: &[(N, V)]) -> String {
    let line = |(name, value): &(N, V)| format!("{} {}\n", name.as_ref(), value.as_ref());
    settings.iter().map(line).collect()
}

/// A value that may hold anything.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            quoted.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_one_word_of_the_file() {
        assert_eq!(quoted("a \"7"), r#""a\x20\x227""#);
    }
}

//! What a server can be started with.

use std::fmt::Write as _;

/// When what was written to the append-only file is synced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before a command is answered.
    #[default]
    Always,
    /// Once a second: the last second may be lost.
    EverySecond,
    /// When the system likes.
    Never,
}

impl Fsync {
    fn value(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "no",
        }
    }
}

/// How a Redis server is set up. The default loses nothing: an append-only file that is synced before a command is
/// answered, no key evicted, no snapshots beside it. Of two settings that contradict each other the last one counts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(super) settings: Vec<(String, String)>,
    pub(super) password: Option<String>,
}

impl Options {
    /// Whether there is an append-only file. Without it, a server that has ended has forgotten everything.
    #[must_use]
    pub fn append_only(self, on: bool) -> Self {
        self.setting("appendonly", if on { "yes" } else { "no" })
    }

    /// When the append-only file is synced.
    #[must_use]
    pub fn append_fsync(self, when: Fsync) -> Self {
        self.setting("appendfsync", when.value())
    }

    /// How much memory the server takes at the most, in bytes.
    #[must_use]
    pub fn max_memory(self, bytes: u64) -> Self {
        self.setting("maxmemory", &bytes.to_string())
    }

    /// What happens when the memory is full: `noeviction`, `allkeys-lru`.
    #[must_use]
    pub fn max_memory_policy(self, policy: &str) -> Self {
        self.setting("maxmemory-policy", policy)
    }

    /// The password of the user `default`. Without it, everybody gets in.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.setting("requirepass", &quoted(password))
    }

    /// Any other line of `redis.conf`, the value as it stands there: `.setting("databases", "4")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A value of `redis.conf` that may hold anything.
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

/// Lines of `redis.conf`.
pub(super) fn lines<N: AsRef<str>, V: AsRef<str>>(settings: &[(N, V)]) -> String {
    let line = |(name, value): &(N, V)| format!("{} {}\n", name.as_ref(), value.as_ref());
    settings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_one_word_of_the_file() {
        assert_eq!(quoted("a \"7"), r#""a\x20\x227""#);
    }
}

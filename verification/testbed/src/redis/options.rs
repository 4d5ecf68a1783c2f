//! What a server can be started with.

use std::path::{Path, PathBuf};

use super::conf_syntax::quoted;

/// When what was written to the append-only file is synced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before a command is answered.
    #[default]
    Always,
    /// Once a second: the last second may be lost.
    EverySecond,
    /// When the operating system decides.
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

/// What a process is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Server,
    Node,
    Sentinel,
}

/// How a Redis server is set up. The default loses nothing: an append-only file that is synced before a command is
/// answered, no key evicted, no snapshots beside it. Of two settings that contradict each other the last one counts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(super) settings: Vec<(String, String)>,
    pub(super) password: Option<String>,
    pub(super) tls: bool,
    /// The folder of a server whose authority this one has, too.
    pub(super) authority: Option<PathBuf>,
    pub(super) kind: Kind,
}

impl Options {
    /// Whether there is an append-only file. Without it, a server that has ended has lost everything.
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

    /// The password of the user `default`. Without it, every client gets in. A server that becomes the replica of
    /// another one takes it for the other's, too.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.setting("requirepass", &quoted(password)).setting("masterauth", &quoted(password))
    }

    /// Creates a user with a password, and what the user may do: `.acl("app", "secret", "~sentinel:* +@all")`.
    #[must_use]
    pub fn acl(self, user: &str, password: &str, rules: &str) -> Self {
        let password = quoted(&format!(">{password}"));
        self.setting("user", &format!("{} on {password} {rules}", quoted(user)))
    }

    /// Takes TLS, and nothing else by TCP, under a certificate for `localhost` and 127.0.0.1 from an authority of its
    /// own: [`Redis::authority`](super::Redis::authority).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The same, from the authority of the server in this folder.
    pub(super) fn tls_like(mut self, folder: &Path) -> Self {
        self.authority = Some(folder.to_owned());
        self.tls()
    }

    pub(super) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Any other line of `redis.conf`, the value as written there: `.setting("databases", "4")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

//! The stores, and how each is reached.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A store, and how it is reached or set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    Memory,
    Sqlite,
    /// By the socket.
    Postgres,
    PostgresTcp,
    /// By TCP, with this delay added to each round trip.
    PostgresPlus1ms,
    PostgresPlus10ms,
    /// Everything is synced before it is answered.
    RedisAlways,
    RedisEverysec,
}

impl Target {
    pub(crate) const ALL: [Self; 8] = [
        Self::Memory,
        Self::Sqlite,
        Self::Postgres,
        Self::PostgresTcp,
        Self::PostgresPlus1ms,
        Self::PostgresPlus10ms,
        Self::RedisAlways,
        Self::RedisEverysec,
    ];

    /// The name in tables and after `--only`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::PostgresTcp => "postgres-tcp",
            Self::PostgresPlus1ms => "postgres+1ms",
            Self::PostgresPlus10ms => "postgres+10ms",
            Self::RedisAlways => "redis-always",
            Self::RedisEverysec => "redis-everysec",
        }
    }

    /// The store without the way: what `--only postgres` means.
    pub(crate) fn store(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres | Self::PostgresTcp | Self::PostgresPlus1ms | Self::PostgresPlus10ms => "postgres",
            Self::RedisAlways | Self::RedisEverysec => "redis",
        }
    }

    /// The server, by its usual way.
    pub(crate) fn server(self) -> Self {
        if self.store() == "postgres" { Self::Postgres } else { self }
    }

    /// Whether a word of the command line means this target.
    pub(crate) fn is_meant_by(self, word: &str) -> bool {
        word == self.name() || word == self.store()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

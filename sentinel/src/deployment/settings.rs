//! What a program sets besides the URL, and what is known of a deployment.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use sentinel_client::Error;
use sentinel_core::Invalid;

/// The four kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreKind {
    /// In the memory of this process.
    Memory,
    /// One SQLite file.
    Sqlite,
    /// A PostgreSQL database.
    Postgres,
    /// A Redis server, or several that are one store.
    Redis,
}

/// What a program needs of a SQLite file. The other stores are opened alike for all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Creates the file if it does not exist, and sets up an empty one, unless the URL has `sentinel_create=false`.
    Create,
    /// The file must exist and hold a store. An empty one is refused.
    Write,
    /// The file must exist and hold a store, and may be on a read-only file system. Writes are refused.
    Read,
}

/// What [`Deployment::init`](super::Deployment::init) did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initialised {
    /// The store has its tables, in the version of this release. It may have had them before.
    UpToDate,
    /// A Redis store was set up.
    Registered,
    /// A Redis store had been set up before, and its servers were registered again. Or a store that was set up before
    /// is gone, of which an earlier process on this host left a witness file, and a new one was set up in its place.
    RegisteredAgain {
        /// What was in doubt until now, or is gone.
        doubt: Option<String>,
    },
}

/// What a program sets besides the URL.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "redis")),
    allow(dead_code, reason = "each setting is for one kind of store")
)]
pub(super) struct Settings {
    pub(super) access: Option<Access>,
    pub(super) turn_timeout: Option<Duration>,
    pub(super) read_in_doubt: bool,
    pub(super) witness_folder: Option<PathBuf>,
}

pub(super) fn invalid(what: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Error {
    Invalid::new(what, why).into()
}

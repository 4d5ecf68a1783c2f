//! Which store a program uses, named by a URL, and what can be done with a store before it is open.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sentinel_client::Error;
use sentinel_core::store::Health;
use sentinel_core::{StoreError, check_store_address};

use crate::store::Store;

mod backend;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(test, feature = "memory", feature = "sqlite", feature = "postgres-tls", feature = "redis-tls"))]
mod tests;
mod url;

use backend::Backend;
use settings::{Settings, invalid};
use url::ServerLocation;

pub use settings::{Access, Initialised, StoreKind};

/// Opens the store at a URL: [`Deployment::parse`], then [`Deployment::open`].
///
/// **Effect:** a SQLite file is created and migrated if necessary (with `?sentinel_create=false` it must exist
/// and hold a store); its directory is not created. In a PostgreSQL database or on a Redis server nothing is created:
/// use [`Deployment::init`], or `sentinel init`. A Redis server that was restarted without losing anything is accepted
/// again. **Repeating it** opens another handle; `memory:` is a new and empty store each time. **Errors:** the URL is
/// refused, or the store cannot be opened. Nothing was changed then.
///
/// ```
/// use sentinel::Sentinel;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), sentinel::Error> {
/// let store = sentinel::connect("memory:").await?; // or sqlite:PATH, postgres://.., redis://..
/// let sentinel = Sentinel::from_arc(store).namespace("billing")?;
/// # drop(sentinel);
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    Ok(Deployment::parse(url)?.open().await?)
}

/// A store that a URL names and that is not open yet: it can be opened, set up, and checked.
///
/// `Display` is the URL without user, password, and the parameters that are not Sentinel's own.
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct Deployment {
    backend: Arc<dyn Backend>,
    kind: StoreKind,
    settings: Settings,
}

impl Deployment {
    /// The forms of a store's URL, as error messages list them.
    pub const FORMS: &str = "memory:, sqlite:PATH, postgres://.. or redis://.. (rediss, redis-cluster, \
                             rediss-cluster, redis-sentinel, rediss-sentinel, redis+unix)";

    /// Reads a URL: `memory:`, `sqlite:PATH`, `postgres://..` (or `postgresql://..`), `redis://..`,
    /// `redis-cluster://..`, `redis-sentinel://..`, each of these three also with TLS as `rediss..`, or
    /// `redis+unix:///path`.
    ///
    /// A URL is used exactly as written or refused; nothing is connected. Parameters whose names begin with `sentinel_`
    /// are Sentinel's: see [`SqliteStore::at`](crate::sqlite::SqliteStore::at),
    /// [`PostgresStore::builder`](crate::postgres::PostgresStore::builder) and
    /// [`RedisStore::builder`](crate::redis::RedisStore::builder).
    ///
    /// **Errors:** the URL has control characters, blanks around it, an unknown scheme or parameter, or no server; or
    /// the feature of its store is not enabled, which the error names. No error repeats what may be a password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        check_store_address(url)?;
        if url == "memory:" {
            return Self::of(StoreKind::Memory, url, String::new());
        }
        if url.starts_with("sqlite:") {
            return Self::of(StoreKind::Sqlite, url, String::new());
        }
        let forms = Self::FORMS;
        let (scheme, rest) = url.split_once("://").ok_or_else(|| malformed(format!("it must be {forms}")))?;
        let (kind, location) = match scheme {
            "postgres" | "postgresql" => (StoreKind::Postgres, ServerLocation::HostOrParameter),
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" => (StoreKind::Redis, ServerLocation::Host),
            "redis+unix" => (StoreKind::Redis, ServerLocation::Path),
            _ if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
                return Err(invalid(format!("{scheme:?}"), format!("is no store's scheme: use {forms}")));
            }
            _ => return Err(malformed("its scheme is not a word")),
        };
        let server =
            url::server(rest, location).map_err(|why| malformed(format!("{why} ({scheme}://***)")))?;
        Self::of(kind, url, url::with_ours(url, format!("{scheme}://{server}")))
    }

    /// The store in a SQLite file with the usual settings. The path is taken literally.
    #[cfg(feature = "sqlite")]
    pub fn sqlite_file(path: impl AsRef<std::path::Path>) -> Self {
        Self::new(StoreKind::Sqlite, sqlite::file(path.as_ref()))
    }

    fn of(kind: StoreKind, url: &str, shown: String) -> Result<Self, Error> {
        Ok(Self::new(kind, backend(kind, url, shown)?))
    }

    fn new(kind: StoreKind, backend: Arc<dyn Backend>) -> Self {
        Self { backend, kind, settings: Settings::default() }
    }

    /// Which kind of store it is.
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// What the program needs of a SQLite file; [`Access::Create`] unless set. The other stores ignore it.
    pub fn access(mut self, access: Access) -> Self {
        self.settings.access = Some(access);
        self
    }

    /// How long an operation on a SQLite file waits for its turn while other processes of Sentinel write one after the
    /// other; 9 seconds unless set. The other stores ignore it.
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.settings.turn_timeout = Some(timeout);
        self
    }

    /// Opens a Redis store to be read also while it is in doubt, or has lost a part of its data: for tools with which
    /// an operator compares before deciding. [`Store::doubt`] then gives the reason. Off unless set. The other stores
    /// ignore it.
    pub fn read_in_doubt(mut self, read: bool) -> Self {
        self.settings.read_in_doubt = read;
        self
    }

    /// The folder where a Redis store keeps its witness file, from which the next program on this host knows which
    /// acknowledged change a restarted server must have. None unless set: the store then knows only what was
    /// acknowledged to this process. The other stores ignore it.
    pub fn witness_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.witness_folder = Some(folder.into());
        self
    }

    /// Opens the store.
    ///
    /// **Effect:** a SQLite file is created and migrated, as [`access`](Self::access) allows. Otherwise none.
    /// **Errors:** nothing was changed: the store cannot be reached, was not set up
    /// ([`NotInitialised`](crate::store::ErrorKind::NotInitialised)), was set up by a newer release, must not be used
    /// with these settings, or has lost data.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.backend.open(&self.settings).await
    }

    /// Sets the store up, or brings its tables up to date, and opens it. A SQLite file is also set up when it is
    /// opened. On Redis this also **registers the present servers**: from now on they are trusted to hold everything
    /// that was acknowledged. Only an operator who has compared the data can decide that.
    ///
    /// **Repeating it**, also at once from many processes, changes nothing more. **Errors:** as [`open`](Self::open).
    pub async fn init(&self) -> Result<(Arc<dyn Store>, Initialised), StoreError> {
        self.backend.init(&self.settings).await
    }

    /// The SQL that [`init`](Self::init) would run on a PostgreSQL database without the tables, for users who run
    /// migrations themselves. Nothing is connected. **Errors:** the store has no such SQL.
    pub fn schema_sql(&self) -> Result<String, Error> {
        self.backend.schema_sql()
    }

    /// Checks the deployment, also where the store was not set up yet: what [`open`](Self::open) would refuse is a
    /// finding. **Effect:** none. **Errors:** the store cannot be reached, or there is no file.
    pub async fn health(&self) -> Result<Health, StoreError> {
        self.backend.health(&self.settings).await
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.backend.shown())
    }
}

impl FromStr for Deployment {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::parse(url)
    }
}

#[allow(unused_variables, reason = "without the features of the stores, each URL is refused as it is")]
fn backend(kind: StoreKind, url: &str, shown: String) -> Result<Arc<dyn Backend>, Error> {
    match kind {
        #[cfg(feature = "memory")]
        StoreKind::Memory => Ok(memory::backend()),
        #[cfg(feature = "sqlite")]
        StoreKind::Sqlite => sqlite::backend(url),
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => postgres::backend(url, shown),
        #[cfg(feature = "redis")]
        StoreKind::Redis => redis::backend(url, shown),
        #[allow(unreachable_patterns, reason = "with all features there is an arm for each kind")]
        kind => Err(not_built_in(kind)),
    }
}

fn malformed(why: impl fmt::Display) -> Error {
    invalid("the store's URL", format!("is malformed: {why}"))
}

fn not_built_in(kind: StoreKind) -> Error {
    let feature = match kind {
        StoreKind::Memory => "memory",
        StoreKind::Sqlite => "sqlite",
        StoreKind::Postgres => "postgres` or `postgres-tls",
        StoreKind::Redis => "redis` or `redis-tls",
    };
    invalid(
        "the store's URL",
        format!("needs the feature `{feature}` of the package `sentinel-coordination`, which is not enabled"),
    )
}

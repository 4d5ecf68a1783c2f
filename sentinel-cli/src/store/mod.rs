//! Which store: from a URL, the environment, or the default file. No password in a URL is ever shown.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::store::Health;
use sentinel_core::{CoordinationStore, ErrorKind, StoreError, Survey, check_store_address};
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_redis::{RedisStore, RedisStoreBuilder, Registration};
use sentinel_sqlite::{SqliteStore, SqliteStoreBuilder};

use crate::exit::{CliError, Exit, is_refusal};
use crate::output::note;

mod url;

use url::{ServerLocation, server};

/// What the program needs of a store.
pub(crate) trait AnyStore: CoordinationStore + Survey {}

impl<S: CoordinationStore + Survey> AnyStore for S {}

/// An open store.
pub(crate) type Store = Arc<dyn AnyStore>;

/// The forms of a store's URL.
const FORMS: &str = "sqlite:PATH, postgres://.. or redis://.. (rediss, redis-cluster, rediss-cluster, redis-sentinel, \
                     rediss-sentinel, redis+unix)";

/// A store that is only read, also while it is in doubt: an operator reads before deciding.
#[derive(Debug)]
pub(crate) struct Reader {
    store: Store,
    /// The only kind of store that can be in doubt.
    redis: Option<RedisStore>,
}

impl Reader {
    /// Why what was read may lack changes that were acknowledged.
    pub(crate) fn doubt(&self) -> Option<StoreError> {
        self.redis.as_ref().and_then(RedisStore::doubt)
    }

    /// Warns the operator if what was read may lack changes that were acknowledged.
    pub(crate) fn warn(&self) {
        if let Some(doubt) = self.doubt() {
            note(&format!(
                "warning: {doubt}. Until then only reads are answered, and they may lack changes that were acknowledged"
            ));
        }
    }
}

impl From<Store> for Reader {
    fn from(store: Store) -> Self {
        Self { store, redis: None }
    }
}

impl Deref for Reader {
    type Target = dyn AnyStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// A store that was named, and not opened yet.
#[derive(Debug, Clone)]
pub(crate) enum StoreUrl {
    /// One file. The default file's directories are made on first use; those of a file that was named are not.
    Sqlite { builder: Box<SqliteStoreBuilder>, make_directories: bool },
    /// A PostgreSQL database; `shown` is its URL without user and password.
    Postgres { builder: Box<PostgresStoreBuilder>, shown: String },
    /// A Redis server, or a few that are one store.
    Redis { builder: Box<RedisStoreBuilder>, shown: String },
}

/// What a command needs of a SQLite file. Servers are set up by `init`, and all commands open them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Create the file if it is not there.
    Create,
    /// The file must be there.
    Write,
    /// The file must be there, and may lie on a read-only file system.
    Read,
}

/// How long the program waits for its turn at a SQLite file that many processes write to.
const IN_LINE: Duration = Duration::from_secs(60);

impl Access {
    fn of(self, builder: &SqliteStoreBuilder) -> SqliteStoreBuilder {
        let builder = builder.clone().turn_timeout(IN_LINE);
        match self {
            Self::Create => builder,
            Self::Write => builder.create(false),
            Self::Read => builder.reads_only(true),
        }
    }
}

impl StoreUrl {
    /// Takes the [`FORMS`]. Refusals never repeat what may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        check_store_address(text)?;
        if text.starts_with("sqlite:") {
            return sqlite(text);
        }
        let malformed = |why| CliError::usage(format!("the store's URL is malformed: {why}"));
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| malformed(format!("it must be {FORMS}")))?;
        let location = match scheme {
            "postgres" | "postgresql" => ServerLocation::HostOrParameter,
            "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
            | "rediss-sentinel" => ServerLocation::Host,
            "redis+unix" => ServerLocation::Path,
            _ if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
                return Err(CliError::usage(format!("{scheme:?} is no store's scheme: use {FORMS}")));
            }
            _ => return Err(malformed("its scheme is not a word".into())),
        };
        let server = server(rest, location).map_err(|why| malformed(format!("{why} ({scheme}://***)")))?;
        let shown = format!("{scheme}://{server}");
        if location == ServerLocation::HostOrParameter { postgres(text, shown) } else { redis(text, shown) }
    }

    /// The file that is used when no store is named.
    pub(crate) fn default_file() -> Result<Self, CliError> {
        let folder = state_folder().ok_or_else(|| {
            CliError::usage(
                "no --store, no SENTINEL_STORE, and neither XDG_STATE_HOME nor HOME to put a file in",
            )
        })?;
        let builder = Box::new(SqliteStore::builder(folder.join("sentinel.db")));
        Ok(Self::Sqlite { builder, make_directories: true })
    }

    /// How long a claim is sent before the program gives up on the store. A process that waits in line for a SQLite
    /// file is served when those before it were.
    pub(crate) fn retry_timeout(&self) -> Duration {
        match self {
            Self::Sqlite { .. } => IN_LINE,
            Self::Postgres { .. } | Self::Redis { .. } => Sentinel::DEFAULT_RETRY_TIMEOUT,
        }
    }

    /// The store as messages show it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite { builder, .. } => format!("sqlite:{}", builder.path().display()),
            Self::Postgres { shown, .. } | Self::Redis { shown, .. } => shown.clone(),
        }
    }

    /// Opens the store. Every failure here means that nothing ran.
    pub(crate) async fn open(&self, access: Access) -> Result<Store, CliError> {
        if let (Self::Sqlite { builder, make_directories: true }, Access::Create) = (self, access) {
            make_parents(builder.path())?;
        }
        self.connect(access).await.map_err(not_opened)
    }

    /// Opens the store for reading alone.
    pub(crate) async fn open_to_read(&self) -> Result<Reader, CliError> {
        let Self::Redis { builder, .. } = self else {
            return self.open(Access::Read).await.map(Reader::from);
        };
        let redis = builder.clone().read_in_doubt(true).open().await.map_err(not_opened)?;
        Ok(Reader { store: Arc::new(redis.clone()), redis: Some(redis) })
    }

    async fn connect(&self, access: Access) -> Result<Store, StoreError> {
        Ok(match self {
            Self::Sqlite { builder, .. } => Arc::new(access.of(builder).open().await?),
            Self::Postgres { builder, .. } => Arc::new(builder.clone().open().await?),
            Self::Redis { builder, .. } => Arc::new(builder.clone().open().await?),
        })
    }

    /// Sets the store up, or brings it up to date; SQLite does so by itself whenever it is opened. What was done is
    /// returned for a Redis store: one that was set up before is armed again.
    pub(crate) async fn init(&self) -> Result<(Store, Option<Registration>), CliError> {
        match self {
            Self::Sqlite { .. } => Ok((self.open(Access::Create).await?, None)),
            Self::Postgres { builder, .. } => {
                Ok((Arc::new(builder.clone().init().await.map_err(not_opened)?), None))
            }
            Self::Redis { builder, .. } => {
                let (store, registration) = builder.clone().register().await.map_err(not_opened)?;
                Ok((Arc::new(store), Some(registration)))
            }
        }
    }

    /// The SQL that `init` would run. Nothing is connected.
    pub(crate) fn schema_sql(&self) -> Result<String, CliError> {
        match self {
            Self::Postgres { builder, .. } => builder.schema_sql().map_err(not_opened),
            Self::Sqlite { .. } => Err(CliError::usage(
                "a SQLite store sets itself up when it is opened: there is no SQL to run by hand",
            )),
            Self::Redis { .. } => {
                Err(CliError::usage("a Redis store has no SQL to run by hand: `sentinel init` sets it up"))
            }
        }
    }

    /// Looks at the deployment, and opens the store if it can be used as it is. A store that is there and
    /// cannot be used is a finding, and no error.
    pub(crate) async fn health(&self) -> Result<(Health, Result<Store, StoreError>), CliError> {
        let health = match self {
            Self::Sqlite { builder, .. } => builder.clone().health().await,
            Self::Postgres { builder, .. } => builder.clone().health().await,
            Self::Redis { builder, .. } => builder.clone().health().await,
        };
        let health = health.map_err(not_opened)?;
        match self.connect(Access::Read).await {
            Err(error) if !is_finding(&error) => Err(not_opened(error)),
            opened => Ok((health, opened)),
        }
    }
}

/// A store that is there, and whose state keeps every process from using it.
pub(crate) fn is_finding(error: &StoreError) -> bool {
    let state =
        [ErrorKind::NotInitialised, ErrorKind::DataLoss, ErrorKind::PossibleDataLoss, ErrorKind::Corrupt];
    state.contains(&error.kind()) || is_refusal(error)
}

/// A URL that cannot be meant is a bad argument: nothing was sent.
fn not_opened(error: StoreError) -> CliError {
    match error.kind() {
        ErrorKind::InvalidRequest => CliError::usage(error.to_string()),
        _ => error.into(),
    }
}

fn postgres(url: &str, shown: String) -> Result<StoreUrl, CliError> {
    let builder = PostgresStore::builder(url);
    builder.check().map_err(not_opened)?;
    Ok(StoreUrl::Postgres { builder: Box::new(builder), shown: with_ours(url, shown) })
}

/// Each program is a new process, which knows what was acknowledged to an earlier one only by the witness files in this
/// folder.
fn redis(url: &str, shown: String) -> Result<StoreUrl, CliError> {
    let builder = RedisStore::builder(url);
    let builder = match state_folder() {
        Some(folder) => builder.witness_folder(folder),
        None => builder,
    };
    builder.check().map_err(not_opened)?;
    Ok(StoreUrl::Redis { builder: Box::new(builder), shown: with_ours(url, shown) })
}

/// Which tables, or which keys, is a part of the store's name, and what was checked is no password.
fn with_ours(url: &str, shown: String) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let ours: Vec<&str> = query.split('&').filter(|parameter| parameter.starts_with("sentinel_")).collect();
    if ours.is_empty() { shown } else { format!("{shown}?{}", ours.join("&")) }
}

/// Where programs keep what is theirs and not configuration: `$XDG_STATE_HOME/sentinel`.
fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("sentinel"))
}

/// Only the user may read the directories that are made: results can be private.
fn make_parents(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| {
        CliError::new(Exit::UNAVAILABLE, format!("cannot make the directory {}: {error}", parent.display()))
    })
}

fn sqlite(address: &str) -> Result<StoreUrl, CliError> {
    let builder = Box::new(SqliteStore::at(address).map_err(not_opened)?);
    Ok(StoreUrl::Sqlite { builder, make_directories: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_schemes_are_accepted_and_unknown_ones_refused() {
        for url in ["sqlite:/a/b.db", "sqlite:///a/b.db"] {
            let Ok(StoreUrl::Sqlite { builder, .. }) = StoreUrl::parse(url) else {
                panic!("{url} is refused")
            };
            assert_eq!(builder.path(), Path::new("/a/b.db"), "{url}");
        }
        for good in [
            "postgres://h/db",
            "postgres://u:p@h:5432/db?sslmode=require",
            "postgresql://h/db?sentinel_schema=a&sentinel_table_prefix=b_",
            "postgres:///db?host=/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql:7/db",
            "postgres://u@[::1]:5432/db",
            "redis://[::1]:6379/0",
            "rediss://h",
            "redis-cluster://u:p@h:7000?node=h:7001",
            "rediss-sentinel://h:26379?sentinelServiceName=main&sentinelPassword=p",
            "redis+unix:///run/redis.sock",
            "redis+unix://u:p@/run/redis.sock?sentinel_key_prefix=a",
        ] {
            assert!(
                matches!(StoreUrl::parse(good), Ok(StoreUrl::Postgres { .. } | StoreUrl::Redis { .. })),
                "{good}"
            );
        }
        for bad in [
            "",
            "x",
            "mysql://h/db",
            "postgres:h",
            "postgres:///db",
            "postgres://h/db?sslmode=maybe",
            "postgres://h/db?sslmod=require",
            "postgres://h/db?sentinel_schema=",
            "postgres://h/db?sentinel_schema=a-b",
            "sqlite:",
            "sqlite::memory:",
            "sqlite://",
            "sqlite:x.db\n",
            " sqlite:x.db",
            "sqlite: x.db",
            "sqlite:x.db ",
            "sqlite:x\t.db",
            "sqlite:x.db?mode=rwc",
            "sqlite:x.db?",
            "postgres://h/db\n",
            "postgres://h/db ",
            "postgres://h/d b",
            "redis://h\n",
            "rediss://h\t",
            " redis-cluster://h",
            "redis-sentinel://h?sentinelServiceName=a\r\n",
            "redis+unix:///run/redis.sock\n",
            "redis://",
            "redis:h",
            "redis://h:port",
            "redis://h/x",
            "redis://h,i",
            "redis://h?db=1",
            "redis://h?sentinel_key_prefix=a%20",
            "redis+unix://",
            "redis+unix://h/run/redis.sock",
            "redis+tls://h",
        ] {
            assert!(matches!(StoreUrl::parse(bad), Err(CliError { exit: Exit::USAGE, .. })), "{bad}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let urls = [
            "postgres://me:hunter2@host/db",
            "postgres://me:hunter2@host:port/db",
            "postgres://me:hunter2",
            "postgres://me:hun ter2@host/db",
            "postgres://me:hunter2%zz@host/db",
            "postgres://me:a/hunter2@host/db",
            "redis://:hunter2@host",
            "redis://me:hunter2@host:port",
            "redis://me:hunter2@host/hunter2",
            "redis-sentinel://host?sentinelServiceName=a&sentinelPassword=hunter2",
            "redis+unix://me:hunter2@/run/redis.sock",
            "redis+unix://me:hunter2@host/run/redis.sock",
            "redis://host?password=hunter2",
            "mysql://me:hunter2@host/db",
            "me:hunter2@host",
            "postgres://host/db?password=hunter2",
            "postgres://host/db?password=hunter2&sentinel_schema=a",
            "postgres://host/db?sentinel_schema=hunter2%20",
        ];
        for url in urls {
            let shown = match StoreUrl::parse(url) {
                Ok(store) => store.shown(),
                Err(failure) => failure.message,
            };
            assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{url}: {shown}");
        }
    }
}

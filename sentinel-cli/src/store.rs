//! Which store: from a URL, the environment, or the default file. No password in a URL is ever shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sentinel_core::store::Health;
use sentinel_core::{CoordinationStore, StoreError, Trouble};
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_sqlite::SqliteStore;

use crate::exit::{Exit, Failure, is_refusal};

/// An open store.
pub(crate) type Store = Arc<dyn CoordinationStore>;

/// A store that was named, and not opened yet.
#[derive(Debug, Clone)]
pub(crate) enum StoreUrl {
    /// One file. The default file's directories are made on first use; those of a file that was named are not.
    Sqlite { path: PathBuf, make_directories: bool },
    /// A PostgreSQL database; `shown` is its URL without user and password.
    Postgres { builder: Box<PostgresStoreBuilder>, shown: String },
    /// A server that this build cannot speak to.
    Unknown { kind: &'static str, shown: String },
}

impl StoreUrl {
    /// Takes `sqlite:PATH`, `postgres://..`, `redis://..` or `rediss://..`. Refusals never repeat what may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return sqlite(path);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Failure::usage(
                "the store's URL is malformed: it must be sqlite:PATH, postgres://.., redis://.. or rediss://..",
            ));
        };
        let is_postgres = matches!(scheme, "postgres" | "postgresql");
        if !is_postgres && !matches!(scheme, "redis" | "rediss") {
            return Err(Failure::usage(
                match scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
                    true => format!(
                        "{scheme:?} is no store's scheme: use sqlite:PATH, postgres://.., redis://.. or rediss://.."
                    ),
                    false => "the store's URL is malformed: its scheme is not a word".to_owned(),
                },
            ));
        }
        let host = server(rest, is_postgres)
            .map_err(|why| Failure::usage(format!("the store's URL is malformed: {why} ({scheme}://***)")))?;
        let shown = format!("{scheme}://{host}");
        if is_postgres { postgres(text, shown) } else { Ok(Self::Unknown { kind: "Redis", shown }) }
    }

    /// The file that is used when nobody names a store.
    pub(crate) fn default_file() -> Result<Self, Failure> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let state = state.ok_or_else(|| {
            Failure::usage(
                "no --store, no SENTINEL_STORE, and neither XDG_STATE_HOME nor HOME to put a file in",
            )
        })?;
        Ok(Self::Sqlite { path: state.join("sentinel/sentinel.db"), make_directories: true })
    }

    /// The store as messages show it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => format!("sqlite:{}", path.display()),
            Self::Postgres { shown, .. } | Self::Unknown { shown, .. } => shown.clone(),
        }
    }

    /// Opens the store. Every failure here means that nothing ran.
    pub(crate) async fn open(&self) -> Result<Store, Failure> {
        match self {
            Self::Sqlite { path, make_directories } => {
                if *make_directories {
                    make_parents(path)?;
                }
                Ok(Arc::new(SqliteStore::open(path).await?))
            }
            Self::Postgres { builder, .. } => Ok(Arc::new(builder.clone().open().await.map_err(not_opened)?)),
            Self::Unknown { kind, shown } => Err(not_built_in(kind, shown)),
        }
    }

    /// Sets the store up, or brings it up to date. SQLite does it by itself whenever it is opened.
    pub(crate) async fn init(&self) -> Result<Store, Failure> {
        match self {
            Self::Postgres { builder, .. } => Ok(Arc::new(builder.clone().init().await.map_err(not_opened)?)),
            Self::Sqlite { .. } | Self::Unknown { .. } => self.open().await,
        }
    }

    /// The SQL that `init` would run. Nothing is connected.
    pub(crate) fn schema_sql(&self) -> Result<String, Failure> {
        match self {
            Self::Postgres { builder, .. } => builder.schema_sql().map_err(not_opened),
            Self::Sqlite { .. } => Err(Failure::usage(
                "a SQLite store sets itself up when it is opened: there is no SQL to run by hand",
            )),
            Self::Unknown { kind, shown } => Err(not_built_in(kind, shown)),
        }
    }

    /// Looks at the deployment, and opens the store if it can be used as it is. Whoever asks for this wants to know what
    /// is wrong: a store that is there and cannot be used is a finding.
    pub(crate) async fn probe(&self) -> Result<(Health, Result<Store, StoreError>), Failure> {
        let Self::Postgres { builder, .. } = self else {
            let store = self.open().await?;
            return Ok((store.probe().await?, Ok(store)));
        };
        let health = builder.clone().probe().await.map_err(not_opened)?;
        match builder.clone().open().await {
            Ok(store) => Ok((health, Ok(Arc::new(store)))),
            Err(error) if error.trouble() == Trouble::NotInitialised || is_refusal(&error) => {
                Ok((health, Err(error)))
            }
            Err(error) => Err(not_opened(error)),
        }
    }
}

/// A URL that cannot be meant is a bad argument: nothing was sent.
fn not_opened(error: StoreError) -> Failure {
    match error.trouble() {
        Trouble::InvalidRequest => Failure::usage(error.to_string()),
        _ => error.into(),
    }
}

fn not_built_in(kind: &str, shown: &str) -> Failure {
    let message =
        format!("this build has no {kind} store, so {shown} was not asked; use postgres://.. or sqlite:PATH");
    Failure::new(Exit::UNAVAILABLE, message)
}

fn postgres(url: &str, shown: String) -> Result<StoreUrl, Failure> {
    let builder = PostgresStore::builder(url);
    builder.check().map_err(not_opened)?;
    // Which tables is a part of the store's name, and what was checked is no password.
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let ours: Vec<&str> = query.split('&').filter(|parameter| parameter.starts_with("sentinel_")).collect();
    let shown = if ours.is_empty() { shown } else { format!("{shown}?{}", ours.join("&")) };
    Ok(StoreUrl::Postgres { builder: Box::new(builder), shown })
}

/// Only the user may look into the directories that are made: results can be private.
fn make_parents(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| {
        Failure::new(Exit::UNAVAILABLE, format!("cannot make the directory {}: {error}", parent.display()))
    })
}

fn sqlite(path: &str) -> Result<StoreUrl, Failure> {
    // Many tools write sqlite:///absolute and sqlite://relative.
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.ends_with('/') {
        return Err(Failure::usage("the store's URL is malformed: sqlite: needs the path of a file"));
    }
    if path.starts_with(":memory:") || path.starts_with("file:") {
        return Err(Failure::usage(
            "sqlite: needs the path of a file: a store in memory would forget that a command ran",
        ));
    }
    Ok(StoreUrl::Sqlite { path: path.into(), make_directories: false })
}

/// Checks what stands behind `scheme://`, and gives back host, port and database. Says what is wrong without quoting it.
///
/// `socket`: the host may be left out where a parameter names it, as in `postgres:///database?host=/run/postgresql`.
fn server(rest: &str, socket: bool) -> Result<String, &'static str> {
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds a space or a control character");
    }
    let (before_query, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if path.contains('@') || authority.matches('@').count() > 1 {
        return Err("a password's @ and / must be written as %40 and %2F");
    }
    let bytes = rest.as_bytes();
    let escaped =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !escaped(at)) {
        return Err("a % must be followed by two hexadecimal digits");
    }
    let named = |parameter: &str| parameter.strip_prefix("host=").is_some_and(|host| !host.is_empty());
    if socket && authority.is_empty() && query.split('&').any(named) {
        return Ok(format!("/{path}"));
    }
    for one in host_port.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or("a [ has no ]")?,
            None => one.find(':').map_or((one, ""), |colon| one.split_at(colon)),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        let number = port.strip_prefix(':').map(str::parse::<u16>);
        if !(port.is_empty() || matches!(number, Some(Ok(1..)))) {
            return Err("its port is not a number from 1 to 65535");
        }
    }
    Ok(if path.is_empty() { host_port.to_owned() } else { format!("{host_port}/{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_schemes_are_told_from_unknown_ones() {
        assert!(
            matches!(StoreUrl::parse("sqlite:/a/b.db"), Ok(StoreUrl::Sqlite { path, .. }) if path == Path::new("/a/b.db"))
        );
        assert!(
            matches!(StoreUrl::parse("sqlite:///a/b.db"), Ok(StoreUrl::Sqlite { path, .. }) if path == Path::new("/a/b.db"))
        );
        for good in [
            "postgres://h/db",
            "postgres://u:p@h:5432/db?sslmode=require",
            "postgresql://h/db?sentinel_schema=a&sentinel_table_prefix=b_",
            "postgres:///db?host=/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql:7/db",
            "redis://[::1]:6379/0",
            "rediss://h",
        ] {
            assert!(
                matches!(StoreUrl::parse(good), Ok(StoreUrl::Postgres { .. } | StoreUrl::Unknown { .. })),
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
            "redis://",
        ] {
            assert!(matches!(StoreUrl::parse(bad), Err(Failure { exit: Exit::USAGE, .. })), "{bad}");
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
            "mysql://me:hunter2@host/db",
            "me:hunter2@host",
            "postgres://host/db?password=hunter2",
            "postgres://host/db?password=hunter2&sentinel_schema=a",
            "postgres://host/db?sentinel_schema=hunter2%20",
        ];
        for url in urls {
            let said = match StoreUrl::parse(url) {
                Ok(store) => store.shown(),
                Err(failure) => failure.message,
            };
            assert!(!said.contains("hunter2") && !said.contains("ter2"), "{url}: {said}");
        }
    }
}

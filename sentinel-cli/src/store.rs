//! Which store: from a URL, the environment, or the default file. No password in a URL is ever shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sentinel_core::CoordinationStore;
use sentinel_sqlite::SqliteStore;

use crate::exit::{Exit, Failure};

/// A store that was named, and not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// One file. The default file's directories are made on first use; those of a file that was named are not.
    Sqlite { path: PathBuf, make_directories: bool },
    /// A server; `shown` is its URL without user and password.
    Server { kind: &'static str, shown: String },
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
        let kind = match scheme {
            "postgres" | "postgresql" => "PostgreSQL",
            "redis" | "rediss" => "Redis",
            _ if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
                return Err(Failure::usage(format!(
                    "{scheme:?} is no store's scheme: use sqlite:PATH, postgres://.., redis://.. or rediss://.."
                )));
            }
            _ => return Err(Failure::usage("the store's URL is malformed: its scheme is not a word")),
        };
        match server(rest) {
            Ok(host) => Ok(Self::Server { kind, shown: format!("{scheme}://{host}") }),
            Err(why) => Err(Failure::usage(format!("the store's URL is malformed: {why} ({scheme}://***)"))),
        }
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
            Self::Server { shown, .. } => shown.clone(),
        }
    }

    /// Opens the store. Every failure here means that nothing ran.
    pub(crate) async fn open(&self) -> Result<Arc<dyn CoordinationStore>, Failure> {
        match self {
            Self::Sqlite { path, make_directories } => {
                if *make_directories {
                    make_parents(path)?;
                }
                Ok(Arc::new(SqliteStore::open(path).await?))
            }
            Self::Server { kind, shown } => Err(Failure::new(
                Exit::UNAVAILABLE,
                format!("this build has no {kind} store, so {shown} was not asked; use sqlite:PATH"),
            )),
        }
    }
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
fn server(rest: &str) -> Result<String, &'static str> {
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds a space or a control character");
    }
    let (before_query, _) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
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
            "redis://[::1]:6379/0",
            "rediss://h",
        ] {
            assert!(matches!(StoreUrl::parse(good), Ok(StoreUrl::Server { .. })), "{good}");
        }
        for bad in
            ["", "x", "mysql://h/db", "postgres:h", "sqlite:", "sqlite::memory:", "sqlite://", "redis://"]
        {
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

//! Which store: from a URL, the environment, or the default file. No password in a URL is ever shown.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel::deployment::{Access, Initialised, StoreKind};
use sentinel::store::{CoordinationStore, ErrorKind, Health, Store, StoreError};
use sentinel::{Deployment, Error, Sentinel};

use crate::exit::{CliError, Exit, is_refusal};
use crate::output::note;
use crate::secrets;

/// An open store.
pub(crate) type OpenStore = Arc<dyn Store>;

/// A store that is only read, also while it is in doubt: an operator reads before deciding.
#[derive(Debug)]
pub(crate) struct Reader(OpenStore);

impl Reader {
    /// The store, as code that reads single keys takes it.
    pub(crate) fn coordination(&self) -> &dyn CoordinationStore {
        &*self.0
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

impl From<OpenStore> for Reader {
    fn from(store: OpenStore) -> Self {
        Self(store)
    }
}

impl Deref for Reader {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// A store that was named, and not opened yet.
#[derive(Debug, Clone)]
pub(crate) struct StoreUrl {
    deployment: Deployment,
    /// The default file, whose directories are made on first use. Those of a file that was named are not.
    default_file: Option<PathBuf>,
}

/// How long the program waits for its turn at a SQLite file that many processes write to.
const IN_LINE: Duration = Duration::from_secs(60);

impl StoreUrl {
    /// Takes the forms of a durable store's URL. Refusals never repeat what may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        if text == "memory:" {
            return Err(CliError::usage(
                "memory: is no store for this program: each command is a process of its own, and would find it empty. \
                 Use sqlite:PATH, postgres://.. or redis://..",
            ));
        }
        let deployment = Deployment::parse(text).map_err(not_parsed)?;
        // Each program is a new process, which knows what was acknowledged to an earlier one only by the witness files
        // in this folder.
        let deployment = match state_folder() {
            Some(folder) => deployment.witness_folder(folder),
            None => deployment,
        };
        Ok(Self { deployment, default_file: None })
    }

    /// The file that is used when no store is named.
    pub(crate) fn default_file() -> Result<Self, CliError> {
        let folder = state_folder().ok_or_else(|| {
            CliError::usage(
                "no --store, no SENTINEL_STORE, and neither XDG_STATE_HOME nor HOME to put a file in",
            )
        })?;
        let file = folder.join("sentinel.db");
        Ok(Self { deployment: Deployment::sqlite_file(&file), default_file: Some(file) })
    }

    /// How long a claim is sent before the program gives up on the store. A process that waits in line for a SQLite
    /// file is served when those before it were.
    pub(crate) fn retry_timeout(&self) -> Duration {
        match self.deployment.kind() {
            StoreKind::Sqlite => IN_LINE,
            _ => Sentinel::DEFAULT_RETRY_TIMEOUT,
        }
    }

    /// The kind of store, as the store names itself.
    pub(crate) fn backend(&self) -> &'static str {
        match self.deployment.kind() {
            StoreKind::Memory => "memory",
            StoreKind::Sqlite => "sqlite",
            StoreKind::Postgres => "postgres",
            _ => "redis",
        }
    }

    /// The store as messages show it.
    pub(crate) fn shown(&self) -> String {
        self.deployment.to_string()
    }

    /// The store as a command line can name it again: as it was given, or without user and password if it has one.
    pub(crate) fn repeatable(&self, given: &str) -> String {
        let without = without_password(given);
        if secrets::mask(&without) == without { without } else { self.shown() }
    }

    /// The deployment, for what the command does with a SQLite file.
    fn with(&self, access: Access) -> Deployment {
        self.deployment.clone().turn_timeout(IN_LINE).access(access)
    }

    /// The same, once its directories exist.
    fn with_directories(&self, access: Access) -> Result<Deployment, CliError> {
        if let (Some(file), Access::Create) = (&self.default_file, access) {
            make_parents(file)?;
        }
        Ok(self.with(access))
    }

    /// Opens the store. Every failure here means that nothing ran.
    pub(crate) async fn open(&self, access: Access) -> Result<OpenStore, CliError> {
        self.with_directories(access)?.open().await.map_err(not_opened)
    }

    /// Opens the store for reading alone.
    pub(crate) async fn open_to_read(&self) -> Result<Reader, CliError> {
        let deployment = self.with(Access::Read).read_in_doubt(true);
        Ok(Reader(deployment.open().await.map_err(not_opened)?))
    }

    /// Sets the store up, or brings it up to date; SQLite does so by itself whenever it is opened.
    pub(crate) async fn init(&self) -> Result<(OpenStore, Initialised), CliError> {
        self.with_directories(Access::Create)?.init().await.map_err(not_opened)
    }

    /// The SQL that `init` would run. Nothing is connected.
    pub(crate) fn schema_sql(&self) -> Result<String, CliError> {
        self.deployment.schema_sql().map_err(not_parsed)
    }

    /// The findings about the deployment; None: they cannot be read now.
    pub(crate) async fn findings(&self) -> Option<Health> {
        self.deployment.health().await.ok()
    }

    /// Looks at the deployment, and opens the store if it can be used as it is. A store that is there and
    /// cannot be used is a finding, and no error.
    pub(crate) async fn health(&self) -> Result<(Health, Result<OpenStore, StoreError>), CliError> {
        let health = self.deployment.health().await.map_err(not_opened)?;
        match self.with(Access::Read).open().await {
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

fn not_parsed(error: Error) -> CliError {
    match error {
        Error::Store(error) => not_opened(error),
        error => error.into(),
    }
}

/// A URL without the password of its user.
fn without_password(url: &str) -> String {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (user_info, host) = rest[..end].rsplit_once('@')?;
        let (user, _) = user_info.split_once(':')?;
        let at = if user.is_empty() { "" } else { "@" };
        Some(format!("{scheme}://{user}{at}{host}{}", &rest[end..]))
    });
    parts.unwrap_or_else(|| url.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_repeated_without_its_password() {
        for (url, expected) in [
            ("postgres://app:pw@h:5/db?sslmode=require", "postgres://app@h:5/db?sslmode=require"),
            ("postgres://app@h/db", "postgres://app@h/db"),
            ("redis://:pw@h/0", "redis://h/0"),
            ("redis+unix://me:pw@/run/redis.sock", "redis+unix://me@/run/redis.sock"),
            ("sqlite:/a:b@c.db", "sqlite:/a:b@c.db"),
            ("redis://h?node=i:1", "redis://h?node=i:1"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }
}

//! What is to be opened, where it may lie, and a bare connection to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sentinel_core::{ErrorKind, EventLimit, StoreError};

use crate::connection::filesystem;
use crate::error::not_applied;

/// What is to be opened, and how.
#[derive(Debug, Clone)]
pub(crate) struct OpenOptions {
    /// Absolute: the program may change its directory while the store is open.
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// How long an operation waits for other processes that take turns.
    pub(crate) turn_timeout: Duration,
    pub(crate) create: bool,
    pub(crate) allow_network: bool,
    pub(crate) allow_other_names: bool,
    pub(crate) accept_lost_log: bool,
    pub(crate) reads_only: bool,
    pub(crate) max_events: EventLimit,
}

impl OpenOptions {
    /// Refuses a file that SQLite cannot protect where it lies, before anything is opened.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        let refuse = |error_kind, why: String| {
            Err(StoreError::not_applied(error_kind, format!("{}: {why}", self.path.display())))
        };
        if let Some(kind) = filesystem::network(&self.path).filter(|_| !self.allow_network) {
            let why = "WAL works within one host only, and two hosts would both run the same key";
            return refuse(ErrorKind::DeploymentRefused, format!("is on {kind}; {why}"));
        }
        if let Some(what) = filesystem::other_names(&self.path).filter(|_| !self.allow_other_names) {
            let why = "programs that use another name of the file use another log, and would run the same key. Use one \
                       name, in a directory that is mounted as a whole; the address option \
                       sentinel_allow_other_names=true accepts it";
            return refuse(ErrorKind::DeploymentRefused, format!("{what}; {why}"));
        }
        if filesystem::has_only_a_log(&self.path) {
            let why = format!(
                "the file does not exist, but its log {} does. Was the file moved without its log? Put \
                both into the same directory again; a new file would delete the log",
                filesystem::log_of(&self.path).display()
            );
            return refuse(ErrorKind::Corrupt, why);
        }
        Ok(())
    }

    /// A bare connection: nothing was written yet, not even to a file that is being created.
    pub(crate) fn connect(&self, create: bool) -> Result<Connection, StoreError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
        let open = || {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            // Before anything else is asked: the very next statement may have to wait.
            connection.busy_timeout(self.busy_timeout)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok(connection)
        };
        open().map_err(|error| not_applied(&self.path, error))
    }
}

/// The file as an absolute path: SQLite would take `:memory:` and an empty name for a database that no other connection
/// sees.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| {
        let detail = format!("{path:?} is not the name of a file");
        StoreError::not_applied(ErrorKind::InvalidRequest, detail).caused_by(error)
    })
}

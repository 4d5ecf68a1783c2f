//! Opening the file: who may open it, in which order, with which settings.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sentinel_core::{StoreError, Trouble};

use crate::error::not_applied;
use crate::filesystem::{self, Identity};
use crate::schema;

/// What is to be opened, and how.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Absolute: the program may change its directory while the store is open.
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    pub(crate) create: bool,
    pub(crate) allow_network: bool,
}

impl Spec {
    /// A connection that reads. The file has been opened by a writer before: its schema is ours.
    pub(crate) fn open_for_reads(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(false)?;
        connection.pragma_update(None, "query_only", true).map_err(|error| not_applied(&self.path, error))?;
        Ok(connection)
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

/// What became of a `COMMIT`.
pub(crate) enum Committed {
    /// It is on the disk.
    Yes,
    /// SQLite proves that it is not: the transaction is still open.
    No(rusqlite::Error),
    /// The failure came after the log was touched: whoever recovers it may find the commit, or not.
    Maybe(rusqlite::Error),
}

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    identity: Option<Identity>,
}

impl Writer {
    /// Opens the file, creates or migrates what is in it, and turns durability on.
    pub(crate) fn open(spec: &Spec) -> Result<Self, StoreError> {
        let network = filesystem::network(&spec.path).filter(|_| !spec.allow_network);
        if let Some(kind) = network {
            let detail = format!(
                "{}: lies on {kind}; WAL works within one host only, and two hosts would both run the same key",
                spec.path.display()
            );
            return Err(StoreError::not_applied(Trouble::DeploymentRefused, detail));
        }
        let connection = spec.connect(spec.create)?;
        let prepared = schema::inspect(&connection, &spec.path).and_then(|()| {
            turn_wal_on(&connection, spec)?;
            schema::migrate(&connection, &spec.path)
        });
        prepared?;
        filesystem::settle_log(&spec.path).map_err(|error| {
            let detail = format!("{}: its log could not be brought to the disk", spec.path.display());
            StoreError::not_applied(Trouble::Unreachable, detail).caused_by(error)
        })?;
        Ok(Self { connection, identity: filesystem::identity(&spec.path) })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes the write lock: nobody else, in any process, changes a record until it is let go.
    pub(crate) fn begin(&mut self, spec: &Spec) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").map_err(|error| not_applied(&spec.path, error))?;
        if filesystem::identity(&spec.path) != self.identity {
            // Whoever opens the path now finds another file: what is written to this one protects nobody.
            let detail = format!("{}: was moved, deleted or replaced while it was open", spec.path.display());
            return Err(StoreError::not_applied(Trouble::Unreachable, detail));
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Committed {
        match self.execute("COMMIT") {
            Ok(()) => Committed::Yes,
            Err(error) if is_busy(&error) && !self.connection.is_autocommit() => Committed::No(error),
            Err(error) => Committed::Maybe(error),
        }
    }

    /// A commit that goes to the disk and leaves everything as it was: the version is set to what it is.
    pub(crate) fn commit_nothing(&mut self, spec: &Spec) -> Result<(), StoreError> {
        self.begin(spec)?;
        let wrong = |error| not_applied(&spec.path, error);
        self.connection.pragma_update(None, "user_version", schema::SCHEMA_VERSION).map_err(wrong)?;
        self.execute("COMMIT").map_err(wrong)
    }

    /// Ends the transaction, if there is one. False: the connection is of no use any more.
    pub(crate) fn roll_back(&mut self) -> bool {
        self.connection.is_autocommit() || self.execute("ROLLBACK").is_ok()
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// WAL stays with the file, the rest with the connection. FULL: the log is synced by each commit.
fn turn_wal_on(connection: &Connection, spec: &Spec) -> Result<(), StoreError> {
    let wrong = |error| not_applied(&spec.path, error);
    let mode = patiently(spec.busy_timeout, || {
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode == "wal" {
            return Ok(mode);
        }
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
    })
    .map_err(wrong)?;
    if mode != "wal" {
        let detail = format!("{}: journal mode stays {mode}, and must be wal", spec.path.display());
        return Err(StoreError::not_applied(Trouble::DeploymentRefused, detail));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    // On macOS fsync alone does not reach the disk; elsewhere this changes nothing.
    connection.pragma_update(None, "fullfsync", true).map_err(wrong)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).map_err(wrong)
}

/// Repeats what SQLite refuses at once although a busy timeout is set: two connections that want to switch the journal
/// at the same time both hold a shared lock, and neither would ever get further by waiting.
fn patiently<T>(
    timeout: Duration,
    mut attempt: impl FnMut() -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && waited < timeout => {
                pause_for(pause);
                waited += pause;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process holds the file, and nothing tells when it lets go"
)]
fn pause_for(duration: Duration) {
    thread::sleep(duration);
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The file as an absolute path: SQLite would take `:memory:` and an empty name for a database that nobody else sees.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| {
        let detail = format!("{path:?} is not the name of a file");
        StoreError::not_applied(Trouble::InvalidRequest, detail).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    /// How often something is attempted that is refused so many times.
    fn attempts(timeout: Duration, refused: u32, code: i32) -> (u32, bool) {
        let mut attempts = 0;
        let done = patiently(timeout, || {
            attempts += 1;
            if attempts > refused { Ok(()) } else { Err(failure(code)) }
        });
        (attempts, done.is_ok())
    }

    #[test]
    fn what_is_refused_at_once_is_repeated_for_as_long_as_the_busy_timeout() {
        let (long, busy) = (Duration::from_secs(3600), rusqlite::ffi::SQLITE_BUSY);
        assert_eq!(attempts(long, 5, busy), (6, true));
        assert_eq!(attempts(long, 5, rusqlite::ffi::SQLITE_LOCKED), (6, true));
        assert_eq!(attempts(long, 5, rusqlite::ffi::SQLITE_FULL), (1, false), "waiting would not help");
        assert_eq!(attempts(Duration::ZERO, 5, busy), (1, false));
        // Pauses of 1, 2, 4 and 8 ms: the sum of the first three is over already.
        assert_eq!(attempts(Duration::from_millis(6), u32::MAX, busy), (4, false));
        assert_eq!(attempts(Duration::from_millis(7), u32::MAX, busy), (4, false));
        assert_eq!(attempts(Duration::from_millis(8), u32::MAX, busy), (5, false));
    }
}

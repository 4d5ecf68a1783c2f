//! Opening the file: who may open it, in which order, with which settings.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sentinel_core::{ErrorKind, EventLimit, StoreError};

use crate::error::not_applied;
use crate::filesystem::{self, Identity, Log};
use crate::line::{Line, Turn, Waited};
use crate::seal::Found;
use crate::{schema, seal};

/// What is to be opened, and how.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Absolute: the program may change its directory while the store is open.
    pub(crate) path: PathBuf,
    pub(crate) busy_timeout: Duration,
    /// How long an operation waits for other processes that take turns.
    pub(crate) line_timeout: Duration,
    pub(crate) create: bool,
    pub(crate) allow_network: bool,
    pub(crate) allow_other_names: bool,
    pub(crate) accept_lost_log: bool,
    pub(crate) reads_only: bool,
    pub(crate) max_events: EventLimit,
}

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    /// False: it does not see what is written later.
    pub(crate) can_stay: bool,
}

impl Spec {
    /// A connection that reads. Where the file may be written to, a writer has opened it before.
    pub(crate) fn open_for_reads(&self) -> Result<Reader, StoreError> {
        if !self.reads_only {
            let connection = self.connect(false)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| not_applied(&self.path, error))?;
            return Ok(Reader { connection, can_stay: true });
        }
        self.check_place()?;
        let reader = self.open_where_it_lies()?;
        schema::initialised(&reader.connection, &self.path)?;
        seal::check(&reader.connection, self)?;
        let set = reader.connection.pragma_update(None, "query_only", true);
        set.map_err(|error| not_applied(&self.path, error))?;
        Ok(reader)
    }

    /// On a read-only file system SQLite cannot create what it keeps beside the file. Nothing is missed without it as long
    /// as there is no log: no process can write there, at least not under this path.
    fn open_where_it_lies(&self) -> Result<Reader, StoreError> {
        let connection = self.connect(false)?;
        let is_readonly = connection.is_readonly("main").unwrap_or(false);
        match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
            Err(_)
                if is_readonly
                    && filesystem::is_read_only(&self.path)
                    && !filesystem::has_log(&self.path) =>
            {
                let alone = seal::open_alone(self).map_err(|error| not_applied(&self.path, error))?;
                Ok(Reader { connection: alone, can_stay: false })
            }
            // What the look found wrong, the next one finds too, and says so.
            _ => Ok(Reader { connection, can_stay: true }),
        }
    }

    /// Refuses a place where a file cannot keep its promises, before anything is opened.
    fn check_place(&self) -> Result<(), StoreError> {
        let refuse = |error_kind, why: String| {
            Err(StoreError::not_applied(error_kind, format!("{}: {why}", self.path.display())))
        };
        if let Some(kind) = filesystem::network(&self.path).filter(|_| !self.allow_network) {
            let why = "WAL works within one host only, and two hosts would both run the same key";
            return refuse(ErrorKind::DeploymentRefused, format!("lies on {kind}; {why}"));
        }
        if let Some(what) = filesystem::other_names(&self.path).filter(|_| !self.allow_other_names) {
            let why = "programs that use another name of the file use another log, and would run the same key. Use one \
                       name, in a directory that is mounted as a whole; the address option \
                       sentinel_allow_other_names=true accepts it";
            return refuse(ErrorKind::DeploymentRefused, format!("{what}; {why}"));
        }
        if filesystem::has_only_a_log(&self.path) {
            let why = format!(
                "there is no file, but its log {} is there. Was the file moved without it? Put the file beside the log, or \
                 the log beside the file; a new file would delete the log",
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
    sealed: Sealed,
    /// None: there are no turns here.
    line: Option<Line>,
}

/// How long a process that waited long for its turn still waits for the write lock.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A log of this length is emptied.
const LONG_LOG: u64 = 4 << 20;

/// What a writer knows of the seal (see `seal.rs`).
#[derive(Debug)]
struct Sealed {
    /// The log below which the main file was sealed. None: not yet.
    log: Option<Log>,
    /// At which length the log is emptied.
    longest: u64,
}

impl Default for Sealed {
    fn default() -> Self {
        Self { log: None, longest: LONG_LOG }
    }
}

impl Writer {
    /// Opens the file, creates or migrates what is in it, and turns durability on.
    pub(crate) fn open(spec: &Spec) -> Result<Self, StoreError> {
        if spec.reads_only {
            let detail = format!("{}: was opened to be read only", spec.path.display());
            return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, detail));
        }
        spec.check_place()?;
        let connection = spec.connect(spec.create)?;
        let prepared = schema::inspect(&connection, &spec.path).and_then(|()| {
            turn_wal_on(&connection, spec)?;
            schema::migrate(&connection, &spec.path)?;
            seal::check(&connection, spec)
        });
        let found = prepared?;
        filesystem::settle_log(&spec.path).map_err(|error| {
            let detail = format!("{}: its log could not be brought to the disk", spec.path.display());
            StoreError::not_applied(ErrorKind::Unreachable, detail).caused_by(error)
        })?;
        // The connection has read: the log is there, and stays.
        let line = Line::at(&spec.path);
        let identity = filesystem::identity(&spec.path);
        let mut writer = Self { connection, identity, sealed: Sealed::default(), line };
        if found == Found::Unfinished {
            let _turn = writer.take_turn(spec)?;
            seal::take_back(&writer.connection, spec)?;
        }
        Ok(writer)
    }

    /// Waits until it is this process' turn to write. None: there are no turns here.
    pub(crate) fn take_turn(&mut self, spec: &Spec) -> Result<Option<Turn>, StoreError> {
        let began = now();
        let waited = self.line.as_mut().map(|line| line.wait(spec.line_timeout));
        let turn = match waited {
            Some(Waited::Turn(turn)) => Some(turn),
            Some(Waited::NoLine) | None => None,
            Some(Waited::TooLong) => {
                let (path, timeout) = (spec.path.display(), spec.line_timeout);
                let detail = format!("{path}: other processes were before this one for {timeout:?}");
                return Err(StoreError::not_applied(ErrorKind::Busy, detail));
            }
        };
        // Where a program that takes no turn holds the file, those behind do not wait for it one after the other.
        let left =
            spec.busy_timeout.saturating_sub(began.elapsed()).max(spec.busy_timeout.min(SHORTEST_WAIT));
        self.connection.busy_timeout(left).map_err(|error| not_applied(&spec.path, error))?;
        Ok(turn)
    }

    /// Sees to it, before the first commit, that the file without its log is refused from now on. False: a reader kept it
    /// from happening, and nothing may be committed.
    pub(crate) fn seal_first(&mut self, spec: &Spec) -> Result<bool, StoreError> {
        if self.sealed.log.is_none() {
            self.seal(spec, false).map_err(|error| not_applied(&spec.path, error))?;
        }
        Ok(self.sealed.log.is_some())
    }

    /// Seals again where the checkpoint of another program broke the seal. What was committed is not acknowledged before.
    pub(crate) fn seal_again(&mut self, spec: &Spec) {
        if !self.sealed.log.as_mut().is_some_and(Log::was_restarted) {
            return;
        }
        if let Err(error) = self.seal(spec, false) {
            tracing::warn!(%error, "the file could not be made to say that it needs its log");
        }
    }

    pub(crate) fn has_long_log(&self) -> bool {
        self.sealed.log.as_ref().is_some_and(|log| log.bytes() > self.sealed.longest)
    }

    /// Empties the log. To be called between transactions; a failure is tried again later.
    pub(crate) fn shorten_log(&mut self, spec: &Spec) {
        if let Err(error) = self.seal(spec, true) {
            tracing::warn!(%error, "the log could not be emptied");
        }
        // A reader may keep the log from being emptied: then it is tried again when the log has grown.
        let bytes = self.sealed.log.as_ref().map_or(0, Log::bytes);
        self.sealed.longest = LONG_LOG.max(bytes + LONG_LOG / 4);
    }

    fn seal(&mut self, spec: &Spec, anew: bool) -> Result<(), rusqlite::Error> {
        if seal::seal(&self.connection, spec, anew)? {
            self.sealed.log = Log::open(&spec.path);
        } else {
            tracing::warn!(
                "a reader holds an old state of the file for long; the log cannot be emptied meanwhile"
            );
            self.sealed.log = None;
        }
        Ok(())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes the write lock: nobody else, in any process, changes a record until it is let go.
    pub(crate) fn begin(&mut self, spec: &Spec) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").map_err(|error| not_applied(&spec.path, error))?;
        self.is_there(spec)
    }

    /// Refuses a file that the path no longer leads to: other processes find another one there, so nothing that is written
    /// to this one keeps them from running a key.
    pub(crate) fn is_there(&self, spec: &Spec) -> Result<(), StoreError> {
        if filesystem::identity(&spec.path) == self.identity {
            return Ok(());
        }
        let detail = format!("{}: was moved, deleted or replaced while it was open", spec.path.display());
        Err(StoreError::not_applied(ErrorKind::Unreachable, detail))
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
        return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, detail));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    // On macOS fsync alone does not reach the disk; elsewhere this changes nothing.
    connection.pragma_update(None, "fullfsync", true).map_err(wrong)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).map_err(wrong)?;
    // The log is emptied by `shorten_log` only: a checkpoint has to seal the file again. Both answer with a row.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).map_err(wrong)?;
    let limit = i64::try_from(LONG_LOG).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", limit, |_| Ok(())).map_err(wrong)
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
pub(crate) fn pause_for(duration: Duration) {
    thread::sleep(duration);
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long this thread has waited decides only how long it still waits"
)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The file as an absolute path: SQLite would take `:memory:` and an empty name for a database that nobody else sees.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| {
        let detail = format!("{path:?} is not the name of a file");
        StoreError::not_applied(ErrorKind::InvalidRequest, detail).caused_by(error)
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

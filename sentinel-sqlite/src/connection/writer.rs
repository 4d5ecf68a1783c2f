//! The one connection that writes: opened in a fixed order, sealed before its first commit.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use sentinel_core::{ErrorKind, StoreError};

use crate::connection::filesystem::{self, Identity, Log};
use crate::connection::options::OpenOptions;
use crate::connection::seal::{self, FileState};
use crate::connection::time::{now, pause_for};
use crate::connection::turns::{Turn, TurnQueue, Waited};
use crate::error::not_applied;
use crate::schema;

/// The result of a `COMMIT`.
pub(crate) enum Committed {
    /// It is on the disk.
    Yes,
    /// It is not: SQLite reports that the transaction is still open.
    No(rusqlite::Error),
    /// It failed after the log was written to: a recovery may find the commit, or not.
    Maybe(rusqlite::Error),
}

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    identity: Option<Identity>,
    sealed: Sealed,
    /// None: there are no turns here.
    queue: Option<TurnQueue>,
}

/// How long a process that waited long for its turn still waits for the write lock.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A log of this length is emptied.
const LONG_LOG: u64 = 4 << 20;

/// The writer's state of the seal (see `seal.rs`).
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
    /// Opens the file, creates (where the options allow it) or migrates what is in it, and turns durability on.
    pub(crate) fn open(options: &OpenOptions) -> Result<Self, StoreError> {
        if options.reads_only {
            let detail = format!("{}: was opened for reading only", options.path.display());
            return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, detail));
        }
        options.check_place()?;
        let connection = options.connect(options.create)?;
        let prepared = schema::inspect(&connection, &options.path, options.create).and_then(|()| {
            enable_wal(&connection, options)?;
            schema::migrate(&connection, &options.path)?;
            seal::check(&connection, options)
        });
        let found = prepared?;
        filesystem::sync_log(&options.path).map_err(|error| {
            let detail = format!("{}: its log could not be synced to the disk", options.path.display());
            StoreError::not_applied(ErrorKind::Unreachable, detail).caused_by(error)
        })?;
        // The connection has read: the log is there, and stays.
        let queue = TurnQueue::at(&options.path);
        let identity = filesystem::identity(&options.path);
        let mut writer = Self { connection, identity, sealed: Sealed::default(), queue };
        if found == FileState::Unfinished {
            let _turn = writer.take_turn(options)?;
            seal::mark_complete(&writer.connection, options)?;
        }
        Ok(writer)
    }

    /// Waits until it is this process' turn to write. None: there are no turns here.
    pub(crate) fn take_turn(&mut self, options: &OpenOptions) -> Result<Option<Turn>, StoreError> {
        let began = now();
        let waited = self.queue.as_mut().map(|queue| queue.wait(options.turn_timeout));
        let turn = match waited {
            Some(Waited::Turn(turn)) => Some(turn),
            Some(Waited::Unavailable) | None => None,
            Some(Waited::TimedOut) => {
                let (path, timeout) = (options.path.display(), options.turn_timeout);
                let detail = format!("{path}: other processes used the file for {timeout:?}");
                return Err(StoreError::not_applied(ErrorKind::Busy, detail));
            }
        };
        // If a program that takes no turn holds the file, the processes behind do not each wait the full timeout for
        // it.
        let left =
            options.busy_timeout.saturating_sub(began.elapsed()).max(options.busy_timeout.min(SHORTEST_WAIT));
        self.connection.busy_timeout(left).map_err(|error| not_applied(&options.path, error))?;
        Ok(turn)
    }

    /// Seals the file before the first commit: without its log it is refused from then on. False: a reader prevented
    /// it, and nothing may be committed.
    pub(crate) fn seal_first(&mut self, options: &OpenOptions) -> Result<bool, StoreError> {
        if self.sealed.log.is_none() {
            self.seal(options, false).map_err(|error| not_applied(&options.path, error))?;
        }
        Ok(self.sealed.log.is_some())
    }

    /// Seals again where the checkpoint of another program broke the seal. What was committed is not acknowledged
    /// before.
    pub(crate) fn seal_again(&mut self, options: &OpenOptions) {
        if !self.sealed.log.as_mut().is_some_and(Log::was_restarted) {
            return;
        }
        if let Err(error) = self.seal(options, false) {
            tracing::warn!(%error, "the file could not be marked as needing its log");
        }
    }

    pub(crate) fn has_long_log(&self) -> bool {
        self.sealed.log.as_ref().is_some_and(|log| log.bytes() > self.sealed.longest)
    }

    /// Empties the log. To be called between transactions; a failure is tried again later.
    pub(crate) fn shorten_log(&mut self, options: &OpenOptions) {
        if let Err(error) = self.seal(options, true) {
            tracing::warn!(%error, "the log could not be emptied");
        }
        // A reader may keep the log from being emptied: then it is tried again when the log has grown.
        let bytes = self.sealed.log.as_ref().map_or(0, Log::bytes);
        self.sealed.longest = LONG_LOG.max(bytes + LONG_LOG / 4);
    }

    fn seal(&mut self, options: &OpenOptions, new_generation: bool) -> Result<(), rusqlite::Error> {
        if seal::seal(&self.connection, options, new_generation)? {
            self.sealed.log = Log::open(&options.path);
        } else {
            tracing::warn!(
                "a reader has kept an old state of the file open for long; the log cannot be emptied \
                    until it ends"
            );
            self.sealed.log = None;
        }
        Ok(())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes the write lock: no other connection, in any process, changes a record until it is released.
    pub(crate) fn begin(&mut self, options: &OpenOptions) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").map_err(|error| not_applied(&options.path, error))?;
        self.is_there(options)
    }

    /// Refuses a file that the path no longer leads to: other processes find another one there, so a write to this one
    /// would protect no key.
    pub(crate) fn is_there(&self, options: &OpenOptions) -> Result<(), StoreError> {
        if filesystem::identity(&options.path) == self.identity {
            return Ok(());
        }
        let detail = format!("{}: was moved, deleted or replaced while it was open", options.path.display());
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
    pub(crate) fn commit_nothing(&mut self, options: &OpenOptions) -> Result<(), StoreError> {
        self.begin(options)?;
        let wrong = |error| not_applied(&options.path, error);
        self.connection.pragma_update(None, "user_version", schema::SCHEMA_VERSION).map_err(wrong)?;
        self.execute("COMMIT").map_err(wrong)
    }

    /// Ends the transaction, if there is one. False: the connection can no longer be used.
    pub(crate) fn roll_back(&mut self) -> bool {
        self.connection.is_autocommit() || self.execute("ROLLBACK").is_ok()
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// WAL stays with the file, the rest with the connection. FULL: the log is synced by each commit.
fn enable_wal(connection: &Connection, options: &OpenOptions) -> Result<(), StoreError> {
    let wrong = |error| not_applied(&options.path, error);
    let mode = retry_while_busy(options.busy_timeout, || {
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode == "wal" {
            return Ok(mode);
        }
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
    })
    .map_err(wrong)?;
    if mode != "wal" {
        let detail = format!("{}: journal mode stays {mode}, and must be wal", options.path.display());
        return Err(StoreError::not_applied(ErrorKind::DeploymentRefused, detail));
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    // On macOS fsync alone does not reach the disk; elsewhere this changes nothing.
    connection.pragma_update(None, "fullfsync", true).map_err(wrong)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).map_err(wrong)?;
    // The log is emptied by `shorten_log` only: a checkpoint has to seal the file again. Both return a row.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(())).map_err(wrong)?;
    let limit = i64::try_from(LONG_LOG).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", limit, |_| Ok(())).map_err(wrong)
}

/// Repeats what SQLite refuses at once although a busy timeout is set: two connections that want to switch the journal
/// at the same time both hold a shared lock, and waiting would never end.
fn retry_while_busy<T>(
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

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    /// How often something is attempted that is refused `refused` times.
    fn attempts(timeout: Duration, refused: u32, code: i32) -> (u32, bool) {
        let mut attempts = 0;
        let done = retry_while_busy(timeout, || {
            attempts += 1;
            if attempts > refused { Ok(()) } else { Err(failure(code)) }
        });
        (attempts, done.is_ok())
    }

    #[test]
    fn an_attempt_that_is_refused_at_once_is_repeated_until_the_busy_timeout() {
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

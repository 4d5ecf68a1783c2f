//! The seal: a mark in the main file that it is incomplete without its log.
//!
//! In WAL mode acknowledged commits can be in the `-wal` file only. A main file that is moved or copied without it
//! would look sound, and every key would run again. So before the first commit is acknowledged, the main file is marked
//! as incomplete (`needs_log` is 1, and a checkpoint carries that into the main file). The next commit, in the log,
//! sets it back to 0. Read through the log the file is complete; read alone it is not. Any complete checkpoint, also
//! that of the last connection that closes, carries the 0 into the main file.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use sentinel_core::{ErrorKind, StoreError};

use crate::connection::filesystem;
use crate::connection::options::OpenOptions;
use crate::connection::time::pause_for;
use crate::error::not_applied;

const READ: &str = "SELECT generation, previous, needs_log FROM main_file";
const MARK_INCOMPLETE: &str = "UPDATE main_file SET needs_log = 1";
const MARK_INCOMPLETE_NEW_GENERATION: &str =
    "UPDATE main_file SET previous = generation, generation = randomblob(16), needs_log = 1";
const MARK_COMPLETE: &str = "UPDATE main_file SET needs_log = 0 WHERE needs_log = 1";

/// How often a seal is tried at once. A reader that holds an old snapshot keeps the checkpoint from finishing.
const MAX_ATTEMPTS: u32 = 20;

/// How often file and log are read before they are found not to belong together: other processes may be sealing.
const MAX_READS: u32 = 50;

const PAUSE: Duration = Duration::from_millis(1);

/// The row of `main_file`, read through the log or without it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SealRow {
    generation: Vec<u8>,
    previous: Option<Vec<u8>>,
    needs_log: bool,
}

impl SealRow {
    /// Whether a main file with this row belongs to a log in which the row is `through_log`.
    fn belongs_below(&self, through_log: &Self) -> bool {
        self.generation == through_log.generation || Some(&self.generation) == through_log.previous.as_ref()
    }

    /// Whether a main file with this row, below a log in which it is `through_log`, is refused without its log.
    fn seals(&self, through_log: &Self) -> bool {
        self.needs_log && self.belongs_below(through_log)
    }
}

/// The state of a file and its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// All that was recorded.
    Complete,
    /// All that was recorded; and a process is sealing the file, or died while it did.
    Unfinished,
}

/// Refuses a file whose log is missing, or is another file's.
pub(crate) fn check(connection: &Connection, options: &OpenOptions) -> Result<FileState, StoreError> {
    for read_before in 0..MAX_READS {
        if read_before > 1 {
            pause_for(PAUSE);
        }
        let main = main_file_alone(options);
        let row = read(connection).map_err(|error| not_applied(&options.path, error))?;
        // The connection has read, so no other connection is the last to close: a log that is there stays.
        if row.needs_log {
            return incomplete(options);
        }
        if main.is_none_or(|main| main.belongs_below(&row)) {
            return Ok(FileState::Complete);
        }
    }
    // Closing must not apply the wrong log to the file.
    let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    kept.map_err(|error| not_applied(&options.path, error))?;
    let detail = format!(
        "{}: the log beside it ({}) belongs to another file or to another state of this one; put the log \
        that belongs to this file beside it. Keep the other log until you know its file: it may have the \
        newest records of that file",
        options.path.display(),
        filesystem::log_of(&options.path).display()
    );
    Err(StoreError::not_applied(ErrorKind::Corrupt, detail))
}

fn incomplete(options: &OpenOptions) -> Result<FileState, StoreError> {
    if !filesystem::has_log(&options.path) && !options.accept_lost_log {
        let log = filesystem::log_of(&options.path);
        let detail = format!(
            "{}: its log {} is missing, and with it the newest records. Was the file moved or copied \
            without its log? Put the log beside the file. If the log is lost, keys may run again; the \
            address option \
             sentinel_accept_lost_log=true accepts that",
            options.path.display(),
            log.display()
        );
        return Err(StoreError::not_applied(ErrorKind::PossibleDataLoss, detail));
    }
    Ok(FileState::Unfinished)
}

/// Marks the file as complete again after a process died while it sealed. To be called in this process' turn: a process
/// that seals has its own.
pub(crate) fn mark_complete(connection: &Connection, options: &OpenOptions) -> Result<(), StoreError> {
    connection.execute(MARK_COMPLETE, []).map(drop).map_err(|error| not_applied(&options.path, error))
}

/// Marks the main file, so that it is refused without its log from then on. `new_generation`: also empties the log, as
/// far as readers allow. False: a reader of an old state prevented it.
pub(crate) fn seal(
    connection: &Connection,
    options: &OpenOptions,
    new_generation: bool,
) -> Result<bool, rusqlite::Error> {
    let mut drawn = !new_generation;
    for attempt in 0..MAX_ATTEMPTS {
        if attempt > 0 {
            checkpoint(connection)?;
        }
        let lock =
            rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
        let (row, main) = (read(&lock)?, main_file_alone(options));
        if drawn && main.as_ref().is_some_and(|main| main.seals(&row)) {
            lock.execute(MARK_COMPLETE, [])?;
            lock.commit()?;
            return Ok(true);
        }
        if !drawn || !row.needs_log {
            // The log is one generation ahead of the main file at most, or the two no longer belong together: where a
            // reader kept the last generation out of the main file, no other is drawn.
            let is_in_main_file = main.is_some_and(|main| main.generation == row.generation);
            lock.execute(if is_in_main_file { MARK_INCOMPLETE_NEW_GENERATION } else { MARK_INCOMPLETE }, [])?;
            drawn = true;
        }
        lock.commit()?;
        if attempt > 1 {
            pause_for(PAUSE);
        }
    }
    connection.execute(MARK_COMPLETE, [])?;
    Ok(false)
}

/// Nothing is committed to a file that looks complete without its log: a copy of it alone would run keys again.
pub(crate) fn blocked_by_reader(options: &OpenOptions) -> StoreError {
    let detail = format!(
        "{}: another program has been reading it in one transaction for more than {:?}, so the file cannot be marked \
         as incomplete without its log; end that transaction (of the sqlite3 program, or of a backup)",
        options.path.display(),
        options.busy_timeout
    );
    StoreError::not_applied(ErrorKind::Busy, detail)
}

/// As far as readers allow.
fn checkpoint(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn read(connection: &Connection) -> Result<SealRow, rusqlite::Error> {
    connection.prepare_cached(READ)?.query_row([], |row| {
        Ok(SealRow { generation: row.get(0)?, previous: row.get(1)?, needs_log: row.get(2)? })
    })
}

/// The row in the main file without its log. None: there is none yet, or it is being written.
fn main_file_alone(options: &OpenOptions) -> Option<SealRow> {
    read(&open_alone(options).ok()?).optional().ok().flatten()
}

/// Opens the main file without its log, for one read: later writes are not seen, or seen in part.
pub(crate) fn open_alone(options: &OpenOptions) -> Result<Connection, rusqlite::Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(filesystem::uri(&options.path, "immutable=1"), flags)
}

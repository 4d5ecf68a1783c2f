//! The seal: how a main file says that it is incomplete without its log.
//!
//! In WAL mode all that was acknowledged can stand in the `-wal` file only. A main file that is moved or copied without it
//! would look sound, and every key would run again. So before the first commit is acknowledged, the main file is made to
//! say that it needs its log (`needs_log` is 1, and a checkpoint carries that into the main file). The next commit, in the
//! log, takes it back. Read through the log the file is complete; read alone it is not. Any complete checkpoint, also that
//! of the last connection that closes, carries the taking back into the main file.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use sentinel_core::{ErrorKind, StoreError};

use crate::connection::{Spec, pause_for};
use crate::error::not_applied;
use crate::filesystem;

const READ: &str = "SELECT generation, previous, needs_log FROM main_file";
const BREAK: &str = "UPDATE main_file SET needs_log = 1";
const BREAK_ANEW: &str =
    "UPDATE main_file SET previous = generation, generation = randomblob(16), needs_log = 1";
const TAKE_BACK: &str = "UPDATE main_file SET needs_log = 0 WHERE needs_log = 1";

/// How often a seal is tried at once. A reader that holds an old snapshot keeps the checkpoint from finishing.
const ATTEMPTS: u32 = 20;

/// How often file and log are read before they are found not to belong together: other processes may be sealing.
const READS: u32 = 50;

const PAUSE: Duration = Duration::from_millis(1);

/// What a file says of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    generation: Vec<u8>,
    previous: Option<Vec<u8>>,
    needs_log: bool,
}

impl Said {
    /// Whether a main file that says this can be the one below a log that says `through_log`.
    fn belongs_below(&self, through_log: &Self) -> bool {
        self.generation == through_log.generation || Some(&self.generation) == through_log.previous.as_ref()
    }

    /// Whether a main file that says this, below a log that says `through_log`, is refused without its log.
    fn seals(&self, through_log: &Self) -> bool {
        self.needs_log && self.belongs_below(through_log)
    }
}

/// What a file and its log say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All that was recorded.
    Complete,
    /// All that was recorded; and a process is sealing the file, or died while it did.
    Unfinished,
}

/// Refuses a file whose log is missing, or is another file's.
pub(crate) fn check(connection: &Connection, spec: &Spec) -> Result<Found, StoreError> {
    for read_before in 0..READS {
        if read_before > 1 {
            pause_for(PAUSE);
        }
        let main = main_file_alone(spec);
        let said = read(connection).map_err(|error| not_applied(&spec.path, error))?;
        // The connection has read, so no other connection is the last to close: a log that is there stays.
        if said.needs_log {
            return incomplete(spec);
        }
        if main.is_none_or(|main| main.belongs_below(&said)) {
            return Ok(Found::Complete);
        }
    }
    // Closing must not apply the wrong log to the file.
    let kept = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    kept.map_err(|error| not_applied(&spec.path, error))?;
    let detail = format!(
        "{}: the log beside it ({}) belongs to another file or to another state of this one; put the log beside it that \
         belongs to it. Keep the other one until you know whose it is: it may hold what was recorded last there",
        spec.path.display(),
        filesystem::log_of(&spec.path).display()
    );
    Err(StoreError::not_applied(ErrorKind::Corrupt, detail))
}

fn incomplete(spec: &Spec) -> Result<Found, StoreError> {
    if !filesystem::has_log(&spec.path) && !spec.accept_lost_log {
        let log = filesystem::log_of(&spec.path);
        let detail = format!(
            "{}: its log {} is missing, and with it what was recorded last. Was the file moved or copied without it? Put \
             the log beside the file. If the log is lost, keys may run again; the address option \
             sentinel_accept_lost_log=true accepts that",
            spec.path.display(),
            log.display()
        );
        return Err(StoreError::not_applied(ErrorKind::PossibleDataLoss, detail));
    }
    Ok(Found::Unfinished)
}

/// Takes back what a process left that died while it sealed. To be called in turn: a process that seals has its own.
pub(crate) fn take_back(connection: &Connection, spec: &Spec) -> Result<(), StoreError> {
    connection.execute(TAKE_BACK, []).map(drop).map_err(|error| not_applied(&spec.path, error))
}

/// Sees to it that the main file alone is refused from now on. `anew`: also empties the log, as far as readers let it.
/// False: a reader of an old state kept it from happening.
pub(crate) fn seal(connection: &Connection, spec: &Spec, anew: bool) -> Result<bool, rusqlite::Error> {
    let mut drawn = !anew;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            checkpoint(connection)?;
        }
        let lock =
            rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
        let (said, main) = (read(&lock)?, main_file_alone(spec));
        if drawn && main.as_ref().is_some_and(|main| main.seals(&said)) {
            lock.execute(TAKE_BACK, [])?;
            lock.commit()?;
            return Ok(true);
        }
        if !drawn || !said.needs_log {
            // The log is one generation ahead of the main file at most, or the two no longer belong together: where a
            // reader kept the last generation from the main file, no other is drawn.
            let is_in_main_file = main.is_some_and(|main| main.generation == said.generation);
            lock.execute(if is_in_main_file { BREAK_ANEW } else { BREAK }, [])?;
            drawn = true;
        }
        lock.commit()?;
        if attempt > 1 {
            pause_for(PAUSE);
        }
    }
    connection.execute(TAKE_BACK, [])?;
    Ok(false)
}

/// Nothing is committed to a file that looks complete without its log: a copy of it alone would run keys again.
pub(crate) fn kept_by_a_reader(spec: &Spec) -> StoreError {
    let detail = format!(
        "{}: another program has been reading it in one transaction for more than {:?}, so the file cannot be marked as \
         incomplete without its log; end that transaction (of the sqlite3 program, or of a backup)",
        spec.path.display(),
        spec.busy_timeout
    );
    StoreError::not_applied(ErrorKind::Busy, detail)
}

/// As far as readers let it.
fn checkpoint(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

fn read(connection: &Connection) -> Result<Said, rusqlite::Error> {
    connection.prepare_cached(READ)?.query_row([], |row| {
        Ok(Said { generation: row.get(0)?, previous: row.get(1)?, needs_log: row.get(2)? })
    })
}

/// What the main file says without its log. None: nothing yet, or it is being written right now.
fn main_file_alone(spec: &Spec) -> Option<Said> {
    read(&open_alone(spec).ok()?).optional().ok().flatten()
}

/// Opens the main file without its log, for one look: what is written later is not seen, or seen in part.
pub(crate) fn open_alone(spec: &Spec) -> Result<Connection, rusqlite::Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(filesystem::uri(&spec.path, "immutable=1"), flags)
}

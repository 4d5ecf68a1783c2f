//! The connection that reads, also from a file that cannot be written to.

use rusqlite::Connection;
use sentinel_core::StoreError;

use crate::connection::options::OpenOptions;
use crate::connection::{filesystem, seal};
use crate::error::not_applied;
use crate::schema;

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    /// False: it does not see what is written later.
    pub(crate) can_stay: bool,
}

impl Reader {
    /// Opens the file to read it. Where the file may be written to, a writer has opened it before.
    pub(crate) fn open(options: &OpenOptions) -> Result<Self, StoreError> {
        if !options.reads_only {
            let connection = options.connect(false)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| not_applied(&options.path, error))?;
            return Ok(Self { connection, can_stay: true });
        }
        options.check_place()?;
        let reader = Self::open_read_only(options)?;
        schema::initialised(&reader.connection, &options.path)?;
        seal::check(&reader.connection, options)?;
        let set = reader.connection.pragma_update(None, "query_only", true);
        set.map_err(|error| not_applied(&options.path, error))?;
        Ok(reader)
    }

    /// On a read-only file system SQLite cannot create what it keeps beside the file. Nothing is missed without it
    /// while there is no log: no process can write there, at least not under this path.
    fn open_read_only(options: &OpenOptions) -> Result<Self, StoreError> {
        let connection = options.connect(false)?;
        let is_readonly = connection.is_readonly("main").unwrap_or(false);
        match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
            Err(_)
                if is_readonly
                    && filesystem::is_read_only(&options.path)
                    && !filesystem::has_log(&options.path) =>
            {
                let alone = seal::open_alone(options).map_err(|error| not_applied(&options.path, error))?;
                Ok(Self { connection: alone, can_stay: false })
            }
            // The caller's next statement finds the same error, and returns it.
            _ => Ok(Self { connection, can_stay: true }),
        }
    }
}

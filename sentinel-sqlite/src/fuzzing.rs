//! What the fuzz targets of this workspace reach.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sentinel_core::{Event, Record};

use crate::coordination::events;
use crate::coordination::row::{Stored, write_record};
use crate::coordination::transition::INSERT;
use crate::error::Fault;
use crate::parts::columns;
use crate::schema;

/// A table of records without a file.
#[derive(Debug)]
pub struct Rows(Connection);

impl Rows {
    /// An empty one.
    pub fn open() -> Result<Self, String> {
        let connection = Connection::open_in_memory().map_err(|error| error.to_string())?;
        schema::migrate(&connection, Path::new("memory")).map_err(|error| error.to_string())?;
        Ok(Self(connection))
    }

    /// The columns of a record, as the store keeps it.
    pub fn cells(&self, record: &Record) -> Result<Vec<Value>, String> {
        self.kept(record).map_err(message)
    }

    fn kept(&self, record: &Record) -> Result<Vec<Value>, Fault> {
        self.0.execute_batch("DELETE FROM records")?;
        write_record(&mut *self.0.prepare_cached(INSERT)?, record, 1, "", &[&"n", &"execution", &"k"])?;
        let mut select =
            self.0.prepare_cached(concat!("SELECT ", columns!("recent", "payload"), " FROM records"))?;
        let count = select.column_count();
        let cells = select.query_row([], |row| (0..count).map(|column| row.get(column)).collect())?;
        Ok(cells)
    }

    /// The record in these columns.
    pub fn read(&self, cells: &[Value]) -> Result<Record, String> {
        self.stored(cells).map_err(message)
    }

    fn stored(&self, cells: &[Value]) -> Result<Record, Fault> {
        let parameters: Vec<String> = (1..=cells.len()).map(|number| format!("?{number}")).collect();
        let mut select = self.0.prepare_cached(&format!("SELECT {}", parameters.join(", ")))?;
        let mut rows = select.query(params_from_iter(cells))?;
        let row = rows.next()?.ok_or_else(|| Fault::Unreadable("no row".into()))?;
        Stored::read(row, 0).map(|stored| stored.record)
    }
}

/// The event in a line.
pub fn read_line(line: &str) -> Result<Event, String> {
    events::read_line(line).map_err(message)
}

/// An event as a line.
pub fn line(event: &Event) -> Result<String, String> {
    events::line(event).map_err(message)
}

fn message(fault: Fault) -> String {
    format!("{fault:?}")
}

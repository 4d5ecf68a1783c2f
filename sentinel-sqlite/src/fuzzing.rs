//! What the fuzz targets of this workspace reach.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sentinel_core::{Event, Record};

use crate::error::Fault;
use crate::row::{Stored, columns, write_record};
use crate::{history, ledger, schema};

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
        self.kept(record).map_err(told)
    }

    fn kept(&self, record: &Record) -> Result<Vec<Value>, Fault> {
        self.0.execute_batch("DELETE FROM records")?;
        write_record(
            &mut *self.0.prepare_cached(ledger::INSERT)?,
            record,
            1,
            "",
            &[&"n", &"execution", &"k"],
        )?;
        let mut select =
            self.0.prepare_cached(concat!("SELECT ", columns!("recent", "payload"), " FROM records"))?;
        let count = select.column_count();
        let cells = select.query_row([], |row| (0..count).map(|column| row.get(column)).collect())?;
        Ok(cells)
    }

    /// The record that columns stand for.
    pub fn read(&self, cells: &[Value]) -> Result<Record, String> {
        self.stored(cells).map_err(told)
    }

    fn stored(&self, cells: &[Value]) -> Result<Record, Fault> {
        let places: Vec<String> = (1..=cells.len()).map(|place| format!("?{place}")).collect();
        let mut select = self.0.prepare_cached(&format!("SELECT {}", places.join(", ")))?;
        let mut rows = select.query(params_from_iter(cells))?;
        let row = rows.next()?.ok_or_else(|| Fault::Unreadable("no row".into()))?;
        Stored::read(row, 0).map(|stored| stored.record)
    }
}

/// The event in a line.
pub fn read_line(line: &str) -> Result<Event, String> {
    history::read_line(line).map_err(told)
}

/// An event as a line.
pub fn line(event: &Event) -> Result<String, String> {
    history::line(event).map_err(told)
}

fn told(fault: Fault) -> String {
    format!("{fault:?}")
}

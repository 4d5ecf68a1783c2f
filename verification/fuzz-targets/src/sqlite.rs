//! Rows and lines of a file.

use std::cell::OnceCell;

use arbitrary::{Result, Unstructured};
use rusqlite::types::Value;
use sentinel_sqlite::fuzzing::{Rows, line, read_line};

use crate::{made, sound};

thread_local! {
    static ROWS: OnceCell<Rows> = const { OnceCell::new() };
}

/// A record is kept and read, and read again with cells that are something else.
pub(crate) fn records(data: &[u8]) {
    ROWS.with(|rows| {
        let rows = rows.get_or_init(|| Rows::open().expect("there is room for a database in memory"));
        let _ = changed(rows, &mut Unstructured::new(data));
    });
}

fn changed(rows: &Rows, u: &mut Unstructured<'_>) -> Result<()> {
    let record = made::record(u)?;
    let mut cells = rows.cells(&record).expect("a record without a flaw can be kept");
    assert_eq!(rows.read(&cells).as_ref(), Ok(&record));
    while !u.is_empty() {
        let at = u.choose_index(cells.len())?;
        cells[at] = cell(u)?;
        if let Ok(read) = rows.read(&cells) {
            sound::record(&read);
        }
    }
    Ok(())
}

fn cell(u: &mut Unstructured<'_>) -> Result<Value> {
    let words = ["free", "claimed", "executing", "completed", "reconciling", "success", "failure"];
    Ok(match u.int_in_range(0..=5u8)? {
        0 => Value::Null,
        1 => Value::Integer(u.arbitrary()?),
        2 => Value::Real(u.arbitrary()?),
        3 => Value::Text(u.arbitrary()?),
        4 => Value::Blob(u.arbitrary()?),
        _ => Value::Text((*u.choose(&words)?).to_owned()),
    })
}

/// A line is an event or an error; an event reads back.
pub(crate) fn events(data: &[u8]) {
    if let Ok(event) = read_line(&String::from_utf8_lossy(data)) {
        sound::event(&event);
        let again = line(&event).expect("an event is a line");
        assert_eq!(read_line(&again), Ok(event));
    }
    if let Ok(event) = made::event(&mut Unstructured::new(data)) {
        let line = line(&event).expect("an event is a line");
        assert!(!line.contains('\n'), "{line:?}");
        assert_eq!(read_line(&line), Ok(event));
    }
}

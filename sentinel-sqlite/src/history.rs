//! The events of a record as lines of text: the newest in its row, older ones in a table of their own.

use sentinel_core::kernel::Rebuilt;
use sentinel_core::{Change, ClaimId, Event, Label, OpId, State, StoreTime, Token};

use crate::error::Fault;
use crate::row::unreadable;

/// The most bytes of events in a row before they make room for the next one. The two of a run from claim to result fit,
/// and the row stays so small that several share a page.
const ROOM: usize = 768;

/// A line's cells, in their order.
type Cells = (
    u64,
    StoreTime,
    Token,
    Option<State>,
    Option<State>,
    Option<ClaimId>,
    Option<OpId>,
    Option<Label>,
    Option<Label>,
    Option<Label>,
    Change,
    Option<Box<Rebuilt>>,
);

/// What becomes of a record's newest events when another one follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// What stands in the record from now on.
    pub(crate) recent: String,
    /// What has to move to the table first.
    pub(crate) moved: Option<String>,
}

/// Appends an event to the newest ones.
pub(crate) fn append(mut recent: String, event: &Event) -> Result<Appended, Fault> {
    let line = line(event)?;
    if recent.is_empty() {
        return Ok(Appended { recent: line, moved: None });
    }
    if recent.len() + line.len() > ROOM {
        return Ok(Appended { recent: line, moved: Some(recent) });
    }
    recent.push('\n');
    recent.push_str(&line);
    Ok(Appended { recent, moved: None })
}

/// One event. JSON knows no line break within a text, so a line is a line.
pub(crate) fn line(event: &Event) -> Result<String, Fault> {
    let Event { rev, change, from, to, token, claim_id, op_id, worker, operator, reason, at, base } = event;
    let cells = (rev, at, token, from, to, claim_id, op_id, worker, operator, reason, change, base);
    serde_json::to_string(&cells).map_err(unreadable)
}

/// Reads one line.
pub(crate) fn read_line(line: &str) -> Result<Event, Fault> {
    let cells: Cells = serde_json::from_str(line).map_err(unreadable)?;
    let (rev, at, token, from, to, claim_id, op_id, worker, operator, reason, change, base) = cells;
    Ok(Event { rev, change, from, to, token, claim_id, op_id, worker, operator, reason, at, base })
}

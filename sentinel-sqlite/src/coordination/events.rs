//! The events of a record as lines of text: the newest in its row, older ones in a table of their own.

use sentinel_core::kernel::{self, Rebuilt};
use sentinel_core::{Change, ClaimId, Event, EventLimit, Label, OpId, State, StoreTime, Token};

use crate::error::{Fault, unreadable};

/// The most bytes of events in a row before they are moved to the table. The two of a run from claim to result fit,
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

/// A record's newest events after another one was appended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The new value of the record's `recent`.
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

/// What is left of a record's events after the oldest were dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// How many of all that were ever appended are dropped.
    pub(crate) dropped: i64,
    /// The new value of the record's `recent`.
    pub(crate) recent: String,
    /// The row of the table that holds the oldest event that is kept; None: the record does.
    pub(crate) oldest: Option<(i64, String)>,
}

/// Drops the oldest events to make room for one more. `older`: the rows of the table, oldest first.
pub(crate) fn trim(
    older: Vec<(i64, String)>,
    recent: &str,
    dropped: i64,
    next: &Event,
    limit: EventLimit,
) -> Result<Trimmed, Fault> {
    let lines = older.iter().flat_map(|(_, lines)| lines.lines()).chain(recent.lines());
    let mut events = lines.map(read_line).collect::<Result<Vec<_>, _>>()?;
    events.push(next.clone());
    let dropped = dropped + i64::try_from(kernel::trim(&mut events, limit)).unwrap_or(i64::MAX);
    let base = events.first().map(line).transpose()?.unwrap_or_default();
    let Some((seq, lines)) = older.into_iter().find(|(seq, _)| *seq > dropped) else {
        // Besides the next one, which is not here yet.
        let kept = shorten(recent, events.len() - 1, &base);
        return Ok(Trimmed { dropped, recent: kept, oldest: None });
    };
    let kept = shorten(&lines, usize::try_from(seq - dropped).unwrap_or(usize::MAX), &base);
    Ok(Trimmed { dropped, recent: recent.to_owned(), oldest: Some((seq, kept)) })
}

/// The last lines, the first of them replaced by another.
fn shorten(lines: &str, kept: usize, first: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    let rest = lines.len().saturating_sub(kept);
    let mut kept = lines.get(rest..).unwrap_or_default().to_vec();
    kept.iter_mut().take(1).for_each(|line| *line = first);
    kept.join("\n")
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

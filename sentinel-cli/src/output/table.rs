//! Records and events as tables for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use sentinel::admin::{ByView, EventView, RecordView};
use sentinel::record::{Event, Record, State, Verdict};
use sentinel::store::survey::{UndecidedPage, in_doubt_since};
use sentinel::store::{Listing, StoreTime, VisibleState};

use super::time::short;
use super::{coloured, plain};

/// A page of records.
pub(crate) fn records(listing: &Listing) -> String {
    let mut table = empty(&["KEY", "STATE", "TOKEN", "SINCE", "WORKER", "NOTE"]);
    for (key, record) in &listing.records {
        let now = listing.now.max(record.last_now);
        let state = VisibleState::of(record, now);
        let worker = record.worker.as_ref().map_or("-", |worker| worker.as_str());
        table.add_row([
            plain(key.as_str()),
            state.as_str().to_owned(),
            record.token.to_string(),
            since(record).map_or_else(|| "-".to_owned(), short),
            plain(worker),
            plain(&remark(record, now)),
        ]);
    }
    coloured_states(&render(&table))
}

/// Undecided executions of any namespace.
pub(crate) fn undecided(page: &UndecidedPage) -> String {
    let mut table = empty(&["NAMESPACE", "KEY", "STATE", "TOKEN", "IN DOUBT SINCE", "WORKER", "NOTE"]);
    for (address, record) in &page.records {
        let now = page.now.max(record.last_now);
        let worker = record.worker.as_ref().map_or("-", |worker| worker.as_str());
        table.add_row([
            plain(address.namespace.as_str()),
            plain(address.key.as_str()),
            VisibleState::of(record, now).as_str().to_owned(),
            record.token.to_string(),
            short(in_doubt_since(record)),
            plain(worker),
            plain(&remark(record, now)),
        ]);
    }
    coloured_states(&render(&table))
}

/// A record's events.
pub(crate) fn events(events: &[Event]) -> String {
    let mut table = empty(&["REV", "EVENT", "FROM", "TO", "TOKEN", "BY", "AT", "REASON"]);
    for event in events {
        let view = EventView::from(event);
        let by = view.operator.or(view.worker).unwrap_or_else(|| "-".to_owned());
        table.add_row([
            view.rev.to_string(),
            view.event.to_owned(),
            view.from.to_owned(),
            view.to.to_owned(),
            view.token.to_string(),
            plain(&by),
            short(event.at),
            plain(&view.reason.unwrap_or_default()),
        ]);
    }
    render(&table)
}

/// One record, a field a line; the payload comes last.
pub(crate) fn record(view: &RecordView) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let state = if view.live { format!("{} (live)", view.state) } else { view.state.to_owned() };
    let fields = [
        ("namespace", Some(view.namespace.clone())),
        ("kind", Some(view.kind.to_owned())),
        ("key", Some(view.key.clone())),
        ("idempotency key", view.idempotency_key.clone()),
        ("state", Some(state)),
        ("token", number(view.token)),
        ("rev", number(view.rev)),
        ("worker", view.worker.clone()),
        ("claimed at", view.claimed_at.clone()),
        ("begun at", view.begun_at.clone()),
        ("lease until", view.lease_until.clone()),
        ("hard until", view.hard_until.clone()),
        ("effects until", view.effects_until.clone()),
        ("completed at", view.completed_at.clone()),
        ("outcome", view.outcome.map(str::to_owned)),
        ("exit code", view.exit_code.map(|code| code.to_string())),
        ("fingerprint", view.fingerprint.clone()),
        ("doubt", view.doubt.clone()),
        ("decided by", view.decided_by.clone()),
        ("store now", Some(view.store_now.clone())),
        ("about", view.about.clone()),
        ("root", view.cause.as_ref().map(|cause| cause.root.clone())),
        ("caused by", view.cause.as_ref().and_then(|cause| cause.by.as_ref()).map(caused_by)),
        ("trace", view.cause.as_ref().and_then(|cause| cause.trace.clone())),
        ("content type", view.content_type.clone()),
        ("payload", view.payload.clone()),
        ("payload (base64)", view.payload_base64.clone()),
    ];
    let shown = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let text = shown.fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<17} {}", plain(&value).trim_end_matches('\n'));
        text
    });
    coloured_states(&text)
}

fn caused_by(by: &ByView) -> String {
    format!("{}/{}/{} at token {}", by.namespace, by.kind, by.key, by.token)
}

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn render(table: &Table) -> String {
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// When the record entered its state.
fn since(record: &Record) -> Option<StoreTime> {
    match record.state {
        State::Claimed => record.claimed_at,
        State::Executing => record.begun_at,
        State::Completed => record.completed_at,
        State::Free | State::Reconciling => Some(record.last_now),
    }
}

fn remark(record: &Record, now: StoreTime) -> String {
    let decided = record.decision.as_ref().filter(|decision| decision.token == record.token);
    match (record.state, &record.result) {
        (State::Completed, Some(result)) => {
            let verdict = match (result.verdict, result.code) {
                (Verdict::Failure, Some(code)) => format!("failure {code}"),
                (verdict, _) => verdict.as_str().to_owned(),
            };
            decided.map_or(verdict.clone(), |decision| format!("{verdict}, decided by {}", decision.operator))
        }
        (State::Claimed, _) if !record.is_live(now) => "lapsed".to_owned(),
        (State::Executing, _) if !record.is_live(now) => {
            record.doubt.as_ref().map_or_else(|| "lapsed".to_owned(), ToString::to_string)
        }
        _ => decided.map(|decision| format!("by {}", decision.operator)).unwrap_or_default(),
    }
}

/// On a terminal, the states that need an operator's decision are coloured.
fn coloured_states(text: &str) -> String {
    let shown = coloured("uncertain", "33");
    if shown == "uncertain" {
        text.to_owned()
    } else {
        text.replacen(" uncertain ", &format!(" {shown} "), usize::MAX)
    }
}

//! The events of a key with the record's state before each, checked against the record.

use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::{Change, Event, Record, State};

use super::facts::Facts;
use super::story::Rev;

/// An event, the state before it, and the heartbeats after it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) event: &'a Event,
    /// The record before the event.
    pub(super) before: Rebuilt,
    /// The revs of the heartbeats that were sent after the event.
    pub(super) beats: Option<Rev>,
}

impl Entry<'_> {
    pub(super) fn is_claim(&self) -> bool {
        matches!(self.event.change, Change::Claimed { .. })
    }
}

/// The events of a key.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// Events before this rev were dropped.
    pub(super) cut: Option<u64>,
    /// Events before this rev exist, or may exist, and were not read. Zero: no event was read.
    pub(super) unread: Option<u64>,
    /// The record can be rebuilt from the events.
    pub(super) agrees: bool,
}

pub(super) fn read(facts: &Facts) -> Log<'_> {
    let events = &facts.events;
    let first = events.first();
    let starts = first.is_none_or(|event| event.base.is_some() || event.from.is_none() || event.to.is_none());
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let read_none = events.is_empty() && !record.is_absent();
    let unread = match first {
        _ if facts.complete => None,
        None => read_none.then_some(0),
        Some(event) => (!starts).then_some(event.rev),
    };
    let agrees = if unread.is_some() {
        read_none || revs_agree(events, record)
    } else {
        starts && revs_agree(events, record) && rebuild(events) == Rebuilt::from(record)
    };
    let cut = first.filter(|event| event.base.is_some()).map(|event| event.rev);
    Log { entries: entries(events, record), cut, unread, agrees }
}

/// Whether the revs of events and record leave room for heartbeats only while the key was held, and whether each event
/// follows from the one before.
fn revs_agree(events: &[Event], record: &Record) -> bool {
    let held = |state: Option<State>| matches!(state, Some(State::Claimed | State::Executing));
    let follows = |before: &Event, rev: u64| rev == before.rev + 1 || (rev > before.rev && held(before.to));
    let pairs = events.windows(2).all(|pair| match (&pair[0], &pair[1]) {
        (before, after) if before.to.is_none() => after.from.is_none() && after.rev == 1,
        (before, after) => before.to == after.from && follows(before, after.rev),
    });
    let first = events.first().is_none_or(|event| event.from.is_some() || event.rev == 1);
    let last = match events.last() {
        None => record.is_absent(),
        Some(event) if event.to.is_none() => record.is_absent(),
        Some(event) => {
            let beats = record.rev > event.rev && held(event.to);
            event.to == Some(record.state) && (record.rev == event.rev || beats)
        }
    };
    pairs && first && last
}

fn entries<'a>(events: &'a [Event], record: &Record) -> Vec<Entry<'a>> {
    let mut before = Rebuilt::from(&Record::absent());
    let mut entries = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        if let Some(base) = &event.base {
            before = (**base).clone();
        }
        // An event with a base is rebuilt from that base alone.
        let based = Event { base: Some(Box::new(before.clone())), ..event.clone() };
        let after = rebuild([&based]);
        let next = match events.get(at + 1) {
            Some(next) => next.rev,
            None => record.rev + 1,
        };
        let held = event.to.is_some() && next > event.rev + 1;
        let beats = held.then(|| Rev { first: event.rev + 1, last: next - 1 });
        entries.push(Entry { event, before, beats });
        before = after;
    }
    entries
}

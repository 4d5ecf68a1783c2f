//! One sentence for each event, in order, and what the record shows between and after them.

use std::time::Duration;

use sentinel_core::{Change, Event, Kind, Label, Record, State, StoreTime};

use super::catalogue::Id;
use super::facts::Facts;
use super::groups::{Part, parts};
use super::log::{Entry, Log};
use super::story::{Rev, Sentence};
use super::text::{Recorded, Slot, Text};

/// The sentences of a log.
pub(super) fn write(facts: &Facts, log: &Log<'_>) -> Vec<Sentence> {
    let mut writer = Writer { facts, newest_beats: newest_beats(log), sentences: Vec::new() };
    if let Some(rev) = log.cut {
        writer.push(None, None, Text::new(Id::LogCut).with("rev", Slot::Number(rev)), Vec::new());
    }
    match log.unread {
        None => {}
        Some(0) => writer.push(None, None, Text::new(Id::NoEvents), Vec::new()),
        Some(rev) => {
            let text = Text::new(Id::LogUnread).with("rev", Slot::Number(rev));
            writer.push(None, None, text, Vec::new());
        }
    }
    let last = log.entries.last().map(|entry| entry.event);
    for part in parts(&log.entries, facts.address.kind) {
        match part {
            Part::Each(entries) => entries.iter().for_each(|entry| writer.event(entry, last)),
            Part::Folded { entries, count, id, what } => writer.folded(entries, count, id, what),
        }
    }
    writer.end_of_lease();
    let record = facts.record.as_ref();
    if let Some(about) = record.and_then(|record| record.about.as_ref()) {
        let text = Text::new(Id::About).with("about", Slot::Name(about.to_string()));
        writer.push(None, None, text, Vec::new());
    }
    if let Some(cause) = record.and_then(|record| record.cause.as_ref()) {
        let text = Text::new(Id::Root).with("root", Slot::Name(cause.root().to_string()));
        writer.push(None, None, text, Vec::new());
    }
    for link in &facts.because {
        let text = Text::new(Id::Because)
            .with("key", Slot::Name(link.address.key.to_string()))
            .with("namespace", Slot::Name(link.address.namespace.to_string()));
        writer.push(None, None, text, Vec::new());
    }
    writer.sentences
}

struct Writer<'a> {
    facts: &'a Facts,
    /// The heartbeats to which the record's lease belongs.
    newest_beats: Option<Rev>,
    sentences: Vec<Sentence>,
}

/// The heartbeats that set the lease which the record has: those of the newest grant, unless an event changed the lease
/// after them.
fn newest_beats(log: &Log<'_>) -> Option<Rev> {
    let newest = log.entries.iter().rposition(|entry| entry.beats.is_some())?;
    let keeps = |change: &Change| {
        use Change::{Begun, Completed, ForceCompleted, Reconciling};
        matches!(change, Begun | Completed { .. } | Reconciling | ForceCompleted { .. })
    };
    let kept = log.entries[newest + 1..].iter().all(|entry| keeps(&entry.event.change));
    log.entries[newest].beats.filter(|_| kept)
}

impl Writer<'_> {
    fn push(&mut self, at: Option<StoreTime>, who: Option<&Label>, text: Text, revs: Vec<Rev>) {
        self.sentences.push(Sentence { at, who: who.cloned(), text, revs });
    }

    fn at(&self, at: StoreTime) -> Slot {
        Slot::At(at, self.facts.now)
    }

    /// The record, while the newest event is the one that brought it into its state.
    fn record(&self) -> Option<&Record> {
        self.facts.record.as_ref()
    }

    fn event(&mut self, entry: &Entry<'_>, last: Option<&Event>) {
        let event = entry.event;
        let is_last = last.is_some_and(|last| std::ptr::eq(last, event));
        let text = self.text(entry, is_last);
        let text = text
            .with("who", Slot::Who(worker(entry)))
            .with("operator", Slot::Who(event.operator.clone()))
            .with("other", Slot::Who(other(entry)))
            .with("reason", Slot::Reason(event.reason.clone()));
        let actor = event.operator.clone().or_else(|| worker(entry));
        self.push(Some(event.at), actor.as_ref(), text, vec![Rev::one(event.rev)]);
        if let Some(beats) = entry.beats {
            self.heartbeats(beats);
        }
    }

    /// The sentence of an event. The caller fills the slots that many sentences have.
    fn text(&self, entry: &Entry<'_>, is_last: bool) -> Text {
        let (event, before) = (entry.event, &entry.before);
        let is_lease = self.facts.address.kind == Kind::Lease;
        match &event.change {
            Change::Claimed { terms, begun, .. } => {
                let id = claimed(event, before.after_reset, *begun, is_lease);
                Text::new(id)
                    .with("began", Slot::BeganAtOnce(*begun))
                    .with("token", Slot::Token(event.token))
                    .with("ttl", Slot::Span(terms.ttl()))
                    .with("hard_ttl", Slot::Span(terms.hard_ttl()))
            }
            Change::Begun => Text::new(Id::Began),
            Change::Completed { verdict, code, late } => {
                let recorded = self.recorded(is_last).unwrap_or_else(|| Recorded::earlier(*verdict, *code));
                let lateness = self.lateness(is_last).filter(|_| *late);
                let id = match (late, lateness) {
                    (false, _) => Id::Completed,
                    (true, Some(_)) => Id::CompletedLate,
                    (true, None) => Id::CompletedAfterLapse,
                };
                let late = Slot::Age(lateness.unwrap_or_default());
                Text::new(id).with("result", Slot::Recorded(recorded)).with("late", late)
            }
            Change::Cancelled if matches!(event.from, None | Some(State::Free)) => {
                Text::new(Id::WithdrawnBefore)
            }
            Change::Cancelled => Text::new(Id::Withdrawn),
            Change::Released { .. } if is_lease => Text::new(Id::LeaseReleased),
            Change::Released { vouched: true } => Text::new(Id::ReleasedVouched),
            Change::Released { vouched: false } => Text::new(Id::Released),
            Change::Abandoned { effects_until } => {
                Text::new(Id::Abandoned).with("until", self.at(*effects_until))
            }
            Change::Evicted if is_lease => Text::new(Id::LeaseEvicted),
            Change::Evicted => Text::new(Id::Evicted),
            Change::Purged => Text::new(Id::Purged),
            Change::Reconciling | Change::ForceCompleted { .. } | Change::ResetToClaimed => {
                self.decision(entry, is_last)
            }
        }
    }

    /// The sentence of a decision about an uncertain key.
    fn decision(&self, entry: &Entry<'_>, is_last: bool) -> Text {
        let (event, before) = (entry.event, &entry.before);
        match &event.change {
            Change::ForceCompleted { verdict, code, .. } => {
                let recorded = self.recorded(is_last).unwrap_or_else(|| Recorded::earlier(*verdict, *code));
                let id = match verdict {
                    sentinel_core::Verdict::Success => Id::Forced,
                    sentinel_core::Verdict::Failure => Id::ForcedFailure,
                };
                Text::new(id).with("result", Slot::Recorded(recorded))
            }
            Change::ResetToClaimed if event.at < before.hard_until => {
                Text::new(Id::ResetOverlap).with("until", self.at(before.hard_until))
            }
            Change::ResetToClaimed if event.at < before.effects_until => {
                Text::new(Id::ResetEarly).with("until", self.at(before.effects_until))
            }
            Change::ResetToClaimed => Text::new(Id::Reset),
            _ if event.from == Some(State::Reconciling) => Text::new(Id::Stolen),
            _ if self.was_alive(event) => Text::new(Id::TakenAlive),
            _ => Text::new(Id::Taken),
        }
    }

    /// Whether a key was taken while the lease of its run was live: the record keeps the lease of its newest run.
    fn was_alive(&self, event: &Event) -> bool {
        let is_current = |record: &&Record| {
            matches!(record.state, State::Reconciling | State::Completed) && record.claim_id.is_none()
        };
        let record = self.record().filter(is_current);
        let claimed =
            self.facts.events.iter().rev().find(|event| matches!(event.change, Change::Claimed { .. }));
        let is_newest_run = claimed.is_some_and(|claimed| claimed.rev < event.rev);
        record.is_some_and(|record| is_newest_run && event.at < record.lease_until)
    }

    /// The result that the newest event recorded: only the record has its size.
    fn recorded(&self, is_last: bool) -> Option<Recorded> {
        let result = self.record()?.result.as_ref().filter(|_| is_last)?;
        Some(Recorded::of(result))
    }

    fn lateness(&self, is_last: bool) -> Option<Duration> {
        let record = self.record().filter(|_| is_last)?;
        Some(record.completed_at?.since(record.lease_until))
    }

    /// Heartbeats have no events: they are the revs between two events. Those of an execution may be lost, and one that
    /// cannot extend the lease leaves no rev.
    fn heartbeats(&mut self, beats: Rev) {
        let extended = |record: &&Record| record.lease_until < record.hard_until;
        let is_newest = self.newest_beats == Some(beats);
        let record = self.record().filter(|_| is_newest).filter(extended);
        let exact = self.facts.address.kind == Kind::Lease && record.is_some();
        let id = if exact { Id::Heartbeats } else { Id::HeartbeatsAtLeast };
        let last = record.and_then(|record| {
            let ttl = StoreTime::ZERO.plus(record.terms?.ttl());
            Some(StoreTime::ZERO.plus(record.lease_until.since(ttl)))
        });
        let text = Text::new(id)
            .with("count", Slot::Count(beats.count(), "heartbeat"))
            .with("last", Slot::LastAbout(last, self.facts.now));
        self.push(None, None, text, vec![beats]);
    }

    /// What the end of the lease means, if it is the newest thing that happened.
    fn end_of_lease(&mut self) {
        let Some(record) = self.record() else { return };
        let now = self.facts.now;
        let lapsed = matches!(record.state, State::Claimed | State::Executing) && !record.is_live(now);
        let (at, hard) = (record.lease_until, record.hard_until);
        let runs = record.is_within_hard(now);
        let text = match record.state {
            State::Claimed if lapsed && self.facts.address.kind == Kind::Lease => Text::new(Id::LeaseLapsed),
            State::Claimed if lapsed => Text::new(Id::ClaimLapsed),
            // The worker reported it, which is a sentence already.
            State::Executing if record.is_abandoned() => return,
            State::Executing if lapsed && runs => Text::new(Id::LapsedMayRun).with("until", self.at(hard)),
            State::Executing if lapsed => Text::new(Id::Lapsed),
            State::Reconciling if runs => {
                let text = Text::new(Id::MayStillRun).with("until", self.at(hard));
                return self.push(None, None, text, Vec::new());
            }
            _ => return,
        };
        self.push(Some(at), None, text, Vec::new());
    }

    fn folded(&mut self, entries: &[Entry<'_>], count: u64, id: Id, what: &'static str) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let end = last.beats.map_or(last.event.rev, |beats| beats.last);
        let text =
            Text::new(id).with("count", Slot::Count(count, what)).with("until", self.at(last.event.at));
        let revs = vec![Rev { first: first.event.rev, last: end }];
        self.push(Some(first.event.at), None, text, revs);
    }
}

fn claimed(event: &Event, after_reset: bool, begun: bool, is_lease: bool) -> Id {
    match event.from {
        Some(State::Claimed) if is_lease => Id::LeaseTakenOver,
        _ if is_lease => Id::LeaseTaken,
        Some(State::Claimed) => Id::TookOver,
        Some(State::Completed) => Id::BeganAnew,
        _ if after_reset => Id::ClaimedAfterReset,
        _ if begun => Id::ClaimedAndBegan,
        _ => Id::Claimed,
    }
}

/// The worker of an event; of a call that is withdrawn or released, the one that held the key.
fn worker(entry: &Entry<'_>) -> Option<Label> {
    entry.event.worker.clone().or_else(|| entry.before.worker.clone())
}

/// The worker or operator whose hold an event ended.
fn other(entry: &Entry<'_>) -> Option<Label> {
    match entry.event.change {
        Change::Reconciling => entry.before.decided.as_ref().map(|(_, operator, _)| operator.clone()),
        _ => entry.before.worker.clone(),
    }
}

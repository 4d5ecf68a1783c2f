//! The checker that uses the stamps: it sorts a history by them, replays it through the kernel, and compares every
//! reply, the events and the order of real time with the result. Wrong stamps can only make a store fail.

use std::collections::HashMap;
use std::fmt::Write as _;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, CoordinationStore, Event, Record, StoreError, Token};

use super::recorder::{Entry, Read, ReadResult};
use crate::diff::diff;

/// What a store has of one address when a history, or a part of it, has ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) record: Record,
    pub(super) events: Vec<Event>,
}

impl End {
    /// An address whose record was purged.
    pub(super) fn after_purge(purged: Event) -> Self {
        Self { record: Record::absent(), events: vec![purged] }
    }

    /// Reads it.
    pub(super) async fn read(store: &dyn CoordinationStore, address: &Address) -> Result<Self, StoreError> {
        let record = store.inspect(address).await?.record.unwrap_or(Record::absent());
        Ok(Self { record, events: store.history(address, 100_000).await? })
    }
}

/// An answered request.
#[derive(Clone, Copy)]
struct Answered<'a> {
    entry: &'a Entry,
    stamped: &'a Stamped<Reply>,
    returned: u64,
}

/// Checks all that was recorded of one address whose namespace was never purged. The record's whole life must have been
/// recorded. The error contains the history in the order of its stamps.
pub(super) fn by_stamps(
    address: &Address,
    entries: &[Entry],
    reads: &[Read],
    end: &End,
) -> Result<(), String> {
    by_stamps_from(address, entries, reads, &End { record: Record::absent(), events: Vec::new() }, end)
}

/// [`by_stamps`] of what came after `start`.
pub(super) fn by_stamps_from(
    address: &Address,
    entries: &[Entry],
    reads: &[Read],
    start: &End,
    end: &End,
) -> Result<(), String> {
    let mut answered: Vec<_> =
        entries.iter().filter(|e| e.address == *address).filter_map(answered).collect();
    answered.sort_by_key(|a| (a.stamped.stamp.rev, !a.stamped.stamp.changed, a.entry.invoked));
    let unanswered =
        entries.iter().filter(|e| e.address == *address && may_have_been_carried_out(e)).collect();
    let End { record, events } = start.clone();
    let revisions = vec![(events.len(), record.clone())];
    let mut replay = Replay { address, end, unanswered, record, events, revisions };
    let reads: Vec<_> = reads.iter().filter(|read| read.address == *address).collect();
    let checked = real_time(&answered)
        .and_then(|()| replay.all(&answered))
        .and_then(|()| tokens(&answered))
        .and_then(|()| reads.into_iter().try_for_each(|read| replay.explains(read, &answered)));
    checked.map_err(|finding| {
        let mut text = format!("checked by its stamps, the history of {address} is wrong: {finding}\n");
        // Writing to a String cannot fail.
        for a in &answered {
            let _ = writeln!(text, "{}", a.entry);
        }
        text
    })
}

fn answered(entry: &Entry) -> Option<Answered<'_>> {
    match (&entry.reply, entry.returned) {
        // The store did not read the record: there is nothing to check.
        (Some(Ok(Stamped { reply: Reply::Heartbeat(HeartbeatReply::Unknown), .. })), _) => None,
        (Some(Ok(stamped)), Some(returned)) => Some(Answered { entry, stamped, returned }),
        _ => None,
    }
}

fn may_have_been_carried_out(entry: &Entry) -> bool {
    match &entry.reply {
        None => true,
        Some(Err(error)) => error.applied() == Applied::Ambiguous,
        Some(Ok(_)) => false,
    }
}

/// What was answered before another was sent is not ordered after it.
fn real_time(ordered: &[Answered<'_>]) -> Result<(), String> {
    let mut latest: Option<&Answered<'_>> = None;
    for a in ordered {
        if let Some(before) = latest.filter(|before| a.returned < before.entry.invoked) {
            let (before, after) = (before.entry, a.entry);
            return Err(format!(
                "this was answered before the other was sent, and ordered after it:\n{after}\n{before}"
            ));
        }
        if latest.is_none_or(|before| before.entry.invoked < a.entry.invoked) {
            latest = Some(a);
        }
    }
    Ok(())
}

/// [`tokens`] of all that was recorded of one address.
pub(super) fn tokens_grow(address: &Address, entries: &[Entry]) -> Result<(), String> {
    let of_it = entries.iter().filter(|entry| entry.address == *address);
    tokens(&of_it.filter_map(answered).collect::<Vec<_>>())
}

/// Without the kernel: a token belongs to one claim id or op id, and tokens grow in real time.
fn tokens(answered: &[Answered<'_>]) -> Result<(), String> {
    let mut drawn: Vec<(Token, &Answered<'_>)> = Vec::new();
    let mut ids: HashMap<Token, u128> = HashMap::new();
    for a in answered {
        let (token, id) = match (&a.stamped.reply, &a.entry.op) {
            (Reply::Claim(ClaimReply::Granted(granted)), Op::Claim(claim)) => {
                (granted.token, claim.claim_id.bits())
            }
            (Reply::Reconcile(ReconcileReply::Taken { token, .. }), Op::Reconcile(op)) => {
                (*token, op.op_id.bits())
            }
            (Reply::ResetToClaimed(ResetReply::Reset { token }), Op::ResetToClaimed(op)) => {
                (*token, op.op_id.bits())
            }
            (Reply::Evict(EvictReply::Evicted { token }), Op::Evict(op)) => (*token, op.op_id.bits()),
            _ => continue,
        };
        if *ids.entry(token).or_insert(id) != id {
            return Err(format!("token {token} was granted twice, the second time here:\n{}", a.entry));
        }
        if !a.stamped.stamp.changed {
            continue;
        }
        if let Some((larger, before)) =
            drawn.iter().find(|(t, b)| *t >= token && b.returned < a.entry.invoked)
        {
            return Err(format!("token {token} was drawn after {larger}:\n{}\n{}", before.entry, a.entry));
        }
        drawn.push((token, a));
    }
    Ok(())
}

struct Replay<'a> {
    address: &'a Address,
    end: &'a End,
    unanswered: Vec<&'a Entry>,
    record: Record,
    events: Vec<Event>,
    /// What the record was, and how many events it had, from each rev on.
    revisions: Vec<(usize, Record)>,
}

impl Replay<'_> {
    fn all(&mut self, ordered: &[Answered<'_>]) -> Result<(), String> {
        for a in ordered {
            let before = a.stamped.stamp.rev.saturating_sub(u64::from(a.stamped.stamp.changed));
            if !self.up_to(before) {
                return Ok(());
            }
            let at = self.reading(a.stamped.stamp.now);
            let outcome = a.entry.op.apply(&mut self.record, at).map_err(|invalid| invalid.to_string())?;
            if outcome.stamped != *a.stamped {
                return Err(format!("{}{}", a.entry, diff(&outcome.stamped, a.stamped)));
            }
            self.events.extend(outcome.event);
            self.note_revision();
        }
        if !self.up_to(self.end.record.rev) {
            return Ok(());
        }
        if self.record != self.end.record {
            return Err(format!("the record at the end{}", diff(&self.record, &self.end.record)));
        }
        if self.events != self.end.events {
            return Err(format!("the events{}", diff(&self.events, &self.end.events)));
        }
        Ok(())
    }

    /// Fills a gap in the revs with requests that were never answered: one that brings about the event of that rev, at
    /// the event's time. False: a heartbeat is in the gap, at an unknown time, and what follows cannot be checked. The
    /// next comparison detects a gap that nothing fills.
    fn up_to(&mut self, rev: u64) -> bool {
        while self.record.rev < rev {
            let next = self.record.rev + 1;
            let Some(event) = self.end.events.iter().find(|event| event.rev == next) else {
                return !self.unanswered.iter().any(|entry| matches!(entry.op, Op::Heartbeat(_)));
            };
            let at = self.reading(event.at);
            let brings = |entry: &&Entry| {
                let mut record = self.record.clone();
                let outcome = entry.op.apply(&mut record, at).ok()?;
                (outcome.event.as_ref() == Some(event)).then_some(record)
            };
            let Some(record) = self.unanswered.iter().find_map(brings) else { return true };
            self.record = record;
            self.events.push(event.clone());
            self.note_revision();
        }
        true
    }

    fn note_revision(&mut self) {
        if self.revisions.last().is_none_or(|(_, record)| record.rev < self.record.rev) {
            self.revisions.push((self.events.len(), self.record.clone()));
        }
    }

    /// A read returned what the record was at one moment between its invocation and its return.
    fn explains(&self, read: &Read, answered: &[Answered<'_>]) -> Result<(), String> {
        let changes = answered.iter().filter(|a| a.stamped.stamp.changed);
        let before = changes.clone().filter(|a| a.returned < read.invoked).map(|a| a.stamped.stamp.rev).max();
        let after = changes.filter(|a| a.entry.invoked > read.returned).map(|a| a.stamped.stamp.rev).min();
        let mut then = self.revisions.iter().filter(|(_, record)| {
            record.rev >= before.unwrap_or_default() && after.is_none_or(|rev| record.rev < rev)
        });
        let explained = match &read.result {
            ReadResult::Record(inspection) => then.any(|(_, record)| {
                inspection.record.as_ref() == (record.rev > 0).then_some(record)
                    && inspection.now >= record.last_now
            }),
            ReadResult::Events(newest) => then.any(|(events, _)| self.events[..*events].ends_with(newest)),
        };
        // Where the replay had to stop, the later states are unknown.
        if explained || self.record.rev < self.end.record.rev {
            return Ok(());
        }
        Err(format!("at no moment between its invocation and its return could a read return this: {read:#?}"))
    }

    fn reading(&self, now: sentinel_core::StoreTime) -> Reading {
        Reading { kind: self.address.kind, now, floor: Token::NONE }
    }
}

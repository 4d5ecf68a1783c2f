//! The events of a key, divided into grants, and runs of equal grants.

use sentinel_core::{Change, Kind, State};

use super::catalogue::Id;
use super::log::Entry;

/// A part of the log that is reported together.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// One event after the other.
    Each(&'a [Entry<'a>]),
    /// Several grants that went alike.
    Folded {
        /// The events of all of them.
        entries: &'a [Entry<'a>],
        /// How many grants there are.
        count: u64,
        /// The sentence that reports them.
        id: Id,
        /// What each of them is called.
        what: &'static str,
    },
}

/// Up to this many equal grants in a row are reported one by one.
const MOST_ALIKE: usize = 2;

/// Divides a log into parts. Grants to which an operator did something, those whose outcome became unknown, and the
/// last grant are reported event by event.
pub(super) fn parts<'a>(entries: &'a [Entry<'a>], kind: Kind) -> Vec<Part<'a>> {
    let grants = grants(entries);
    let ends: Vec<Option<End>> = grants
        .iter()
        .enumerate()
        .map(|(at, grant)| grants.get(at + 1).and_then(|next| end(grant, next, kind)))
        .collect();
    let mut parts = Vec::new();
    let mut at = 0;
    let mut start = 0;
    while at < grants.len() {
        let alike = ends[at..].iter().take_while(|end| **end == ends[at] && end.is_some()).count();
        let length: usize = grants[at..at + alike.max(1)].iter().map(|grant| grant.len()).sum();
        let entries = &entries[start..start + length];
        parts.push(match ends[at] {
            Some(end) if alike > MOST_ALIKE => {
                let count = u64::try_from(alike).unwrap_or(u64::MAX);
                let (id, what) = end.sentence(kind);
                Part::Folded { entries, count, id, what }
            }
            _ => Part::Each(entries),
        });
        at += alike.max(1);
        start += length;
    }
    parts
}

/// A grant begins with its claim. Events outside of a grant are parts of their own.
fn grants<'a>(entries: &'a [Entry<'a>]) -> Vec<&'a [Entry<'a>]> {
    entries.chunk_by(|before, after| !after.is_claim() && !is_alone(before) && !is_alone(after)).collect()
}

/// A purge, and the withdrawal of a call that held nothing.
fn is_alone(entry: &Entry<'_>) -> bool {
    let event = entry.event;
    match event.change {
        Change::Purged => true,
        Change::Cancelled => matches!(event.from, None | Some(State::Free)),
        _ => false,
    }
}

/// How a grant ended that can be folded with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Vouched,
    Released,
    Withdrawn,
    WithdrawnBefore,
    Lapsed,
    Completed,
}

impl End {
    fn sentence(self, kind: Kind) -> (Id, &'static str) {
        let claim = if kind == Kind::Lease { "lease" } else { "claim" };
        match self {
            Self::Vouched => (Id::FoldedVouched, "run"),
            Self::Released if kind == Kind::Lease => (Id::FoldedLeases, claim),
            Self::Released => (Id::FoldedReleased, claim),
            Self::Withdrawn => (Id::FoldedWithdrawn, "call"),
            Self::WithdrawnBefore => (Id::FoldedWithdrawn, "call without a claim"),
            Self::Lapsed => (Id::FoldedLapsed, claim),
            Self::Completed => (Id::FoldedCompleted, "run"),
        }
    }
}

fn end(grant: &[Entry<'_>], next: &[Entry<'_>], kind: Kind) -> Option<End> {
    let first = grant.first()?;
    let last = grant.last()?.event;
    if first.is_claim() {
        let is_plain =
            |entry: &Entry<'_>| matches!(entry.event.change, Change::Claimed { .. } | Change::Begun);
        let only_began = grant[..grant.len() - 1].iter().all(is_plain);
        if first.before.after_reset || first.event.base.is_some() || !only_began {
            return None;
        }
    }
    let takes_over = first.event.from == Some(State::Claimed);
    let follows = next.first().map(|entry| entry.event.from);
    match last.change {
        Change::Claimed { .. } if follows == Some(Some(State::Claimed)) => Some(End::Lapsed),
        Change::Cancelled if !first.is_claim() => Some(End::WithdrawnBefore),
        // Its sentence also reports the claim that lapsed before.
        _ if takes_over => None,
        Change::Released { vouched: true } => Some(End::Vouched),
        Change::Released { vouched: false } => Some(End::Released),
        Change::Cancelled => Some(End::Withdrawn),
        Change::Completed { late: false, .. } if kind == Kind::Execution => {
            (follows == Some(Some(State::Completed))).then_some(End::Completed)
        }
        _ => None,
    }
}

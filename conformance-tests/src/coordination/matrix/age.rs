//! How old a start state is: before, at and after each deadline that a rule reads.

use std::fmt;
use std::time::Duration;

use sentinel_core::{Record, State, StoreTime};

use crate::coordination::fixtures::REST;

/// When a record gets the request. A clock that only the test moves meets each instant exactly; one that runs meets it
/// or a little later, and the kernel is run with the instant in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    AsItIs,
    Before(Deadline),
    At(Deadline),
    /// Long after all deadlines.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deadline {
    Lease,
    Hard,
    Retention,
}

impl Age {
    /// Oldest last. A microsecond before the hard deadline the lease has lapsed, unless both end at once.
    const ALL: [Self; 8] = [
        Self::AsItIs,
        Self::Before(Deadline::Lease),
        Self::At(Deadline::Lease),
        Self::Before(Deadline::Hard),
        Self::At(Deadline::Hard),
        Self::Before(Deadline::Retention),
        Self::At(Deadline::Retention),
        Self::Later,
    ];

    /// The instant, for a record to which it means something.
    pub(super) fn instant(self, record: &Record, now: StoreTime) -> Option<StoreTime> {
        match self {
            Self::AsItIs => Some(now),
            Self::Before(deadline) => {
                let before = deadline.of(record)?.as_micros().saturating_sub(1);
                Some(StoreTime::from_micros(before))
            }
            Self::At(deadline) => deadline.of(record),
            Self::Later if record.is_absent() => None,
            Self::Later => {
                let deadlines = [Deadline::Lease, Deadline::Hard, Deadline::Retention];
                let last = deadlines.into_iter().filter_map(|deadline| deadline.of(record)).max();
                Some(last.unwrap_or(now).max(now).plus(REST))
            }
        }
    }
}

impl Deadline {
    /// The deadline, if a rule about this state reads it.
    fn of(self, record: &Record) -> Option<StoreTime> {
        match (self, record.state) {
            (Self::Lease, State::Claimed | State::Executing) => Some(record.lease_until),
            (Self::Hard, State::Claimed | State::Executing | State::Reconciling) => Some(record.hard_until),
            (Self::Retention, State::Completed) => Some(record.completed_at?.plus(record.retention?)),
            _ => None,
        }
    }
}

/// The ages at which a record gets requests: those that are still to come.
pub(super) fn of(record: &Record, now: StoreTime) -> Vec<Age> {
    let to_come = |age: &Age| {
        let instant = age.instant(record, now);
        *age == Age::AsItIs || instant.is_some_and(|at| at.since(now) > Duration::ZERO)
    };
    Age::ALL.into_iter().filter(to_come).collect()
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deadline = |deadline: &Deadline| match deadline {
            Deadline::Lease => "the end of its lease",
            Deadline::Hard => "its hard deadline",
            Deadline::Retention => "the end of its retention",
        };
        match self {
            Self::AsItIs => f.write_str("at once"),
            Self::Before(border) => write!(f, "a microsecond before {}", deadline(border)),
            Self::At(border) => write!(f, "exactly at {}", deadline(border)),
            Self::Later => f.write_str("long after all deadlines"),
        }
    }
}

//! The input of a rule, and its decision.

use crate::address::Kind;
use crate::event::Event;
use crate::operation::Stamped;
use crate::record::Record;
use crate::time::StoreTime;
use crate::token::Token;

/// The input of a rule besides the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Execution or lease, as in the address.
    pub kind: Kind,
    /// The store's clock, read once, after the record's lock was taken. If it is earlier than the record's last
    /// reading, the kernel uses that one.
    pub now: StoreTime,
    /// The namespace's floor: every new token is greater.
    pub floor: Token,
}

/// The table's decision for (state, operation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule<R> {
    /// The operation takes effect.
    Change,
    /// The operation took effect before: it gets the same reply, and nothing changes.
    Repeat,
    /// The operation does not apply: nothing changes.
    Refuse(R),
}

/// The effect of an operation on a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition<R> {
    /// The reply and its stamp.
    pub stamped: Stamped<R>,
    /// The event to write in the same transaction; a heartbeat has none.
    pub event: Option<Event>,
}

/// `max(row.token, namespace floor, store clock in microseconds) + 1`, drawn under the record's lock.
pub(super) fn next_token(record: &Record, at: &Reading) -> u64 {
    record.token.get().max(at.floor.get()).max(at.now.as_micros()).saturating_add(1)
}

//! The kernel, with any operation on any record; and records, rebuilt from their events.

use arbitrary::{Result, Unstructured};
use sentinel_core::kernel::{self, Rebuilt};
use sentinel_core::{Event, Record, Token};

use crate::{made, sound};

/// A step from any record, a life from its beginning, and events that no life has.
pub(crate) fn kernel(data: &[u8]) {
    // The sequence ends when the bytes run out; that is no finding.
    let _ = step(&mut Unstructured::new(data));
    let _ = life(&mut Unstructured::new(data));
    let _ = strangers(&mut Unstructured::new(data));
}

/// A refusal changes nothing; a change is sound, later, and never draws an old token.
fn step(u: &mut Unstructured<'_>) -> Result<()> {
    let before = made::record(u)?;
    let (op, at) = (made::op(u, &before)?, made::reading(u)?);
    let mut after = before.clone();
    match op.apply(&mut after, at) {
        Ok(outcome) if outcome.stamped.stamp.changed => {
            sound::record(&after);
            assert!(after.token >= before.token && after.last_now >= before.last_now, "{op:?}");
            assert!(after.token <= Token::MAX && after.rev > before.rev, "{op:?}");
            outcome.event.iter().for_each(sound::event);
        }
        _ => assert_eq!(after, before, "{op:?}"),
    }
    Ok(())
}

/// The record is what its events describe.
fn life(u: &mut Unstructured<'_>) -> Result<()> {
    let mut record = Record::absent();
    let mut log: Vec<Event> = Vec::new();
    let kind = made::reading(u)?.kind;
    while !u.is_empty() {
        let (op, at) = (made::op(u, &record)?, made::reading(u)?);
        let at = kernel::Reading { kind, ..at };
        if let Ok(outcome) = op.apply(&mut record, at) {
            log.extend(outcome.event);
            assert_eq!(kernel::rebuild(&log), Rebuilt::from(&record), "after {op:?}");
        }
    }
    Ok(())
}

fn strangers(u: &mut Unstructured<'_>) -> Result<()> {
    let mut log = Vec::new();
    while !u.is_empty() {
        log.push(made::event(u)?);
        let _ = kernel::rebuild(&log);
    }
    Ok(())
}

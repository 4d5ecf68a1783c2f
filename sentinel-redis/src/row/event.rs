//! An event as bytes: what all of them have, then what its change has.

use bytes::{Buf as _, Bytes};
use sentinel_core::kernel::Rebuilt;
use sentinel_core::{Change, ClaimId, Event, OpId, Terms};

use super::{Cursor, Packed, Unreadable, accepts, digest, fingerprint, origin, state, unreadable, verdict};

/// Reads events in a row, each after its length.
pub(crate) fn events(log: Bytes) -> Result<Vec<Event>, Unreadable> {
    let mut c = Cursor(log);
    let mut read = Vec::new();
    while !c.0.is_empty() {
        read.push(event(c.short()?)?);
    }
    Ok(read)
}

/// The mark of an event that holds the state before it, because earlier events were dropped.
const BASE: u8 = b'X';

/// An event, with the state that the dropped events before it led to.
pub(crate) fn with_base(base: &Rebuilt, event: &Bytes) -> Result<Bytes, Unreadable> {
    let base = serde_json::to_vec(base).map_err(|error| Unreadable(error.to_string()))?;
    Ok(Packed::default().bytes(&[BASE]).long(&base).bytes(event).done())
}

fn base(c: &mut Cursor) -> Result<Option<Box<Rebuilt>>, Unreadable> {
    if c.0.first() != Some(&BASE) {
        return Ok(None);
    }
    c.take(1)?;
    let length = c.take(4)?.get_u32() as usize;
    let base = serde_json::from_slice(&c.take(length)?);
    base.map(|base| Some(Box::new(base))).map_err(|error| Unreadable(error.to_string()))
}

/// Reads one event.
pub(crate) fn event(stored: Bytes) -> Result<Event, Unreadable> {
    let mut c = Cursor(stored);
    let base = base(&mut c)?;
    let letter = c.char()?;
    let (from, to) = (state(c.char()?)?, state(c.char()?)?);
    let (rev, at, token, id) = (c.u64()?, c.instant()?, c.token()?, c.id()?);
    let (worker, operator, reason) = (c.label()?, c.label()?, c.label()?);
    let decided = matches!(letter, 'R' | 'F' | 'Z' | 'E');
    Ok(Event {
        rev,
        change: change(letter, &mut c)?,
        from,
        to,
        token,
        claim_id: (!decided && letter != 'P').then(|| ClaimId::from_bits(id)),
        op_id: decided.then(|| OpId::from_bits(id)),
        worker,
        operator,
        reason,
        at,
        base,
    })
}

fn change(letter: char, c: &mut Cursor) -> Result<Change, Unreadable> {
    Ok(match letter {
        'C' => claimed(c)?,
        'B' => Change::Begun,
        'D' => {
            let (verdict, code) = verdict(c)?;
            Change::Completed { verdict, code, late: c.flag()? }
        }
        'N' => Change::Cancelled,
        'L' => Change::Released { vouched: c.flag()? },
        'A' => Change::Abandoned { effects_until: c.instant()? },
        'R' => Change::Reconciling,
        'F' => {
            let (verdict, code) = verdict(c)?;
            Change::ForceCompleted { verdict, code, digest: digest(c)? }
        }
        'Z' => Change::ResetToClaimed,
        'E' => Change::Evicted,
        'P' => Change::Purged,
        other => return unreadable(format!("{other:?} is not a change")),
    })
}

fn claimed(c: &mut Cursor) -> Result<Change, Unreadable> {
    let begun = c.char()? == 'x';
    let (ttl, hard_ttl, late) = (c.micros()?, c.micros()?, c.micros()?);
    let (kept, retention) = (c.flag()?, c.micros()?);
    let accepts = accepts(c.text()?)?;
    let (cause, about) = origin(c.short()?)?;
    let incarnation = c.digits()?;
    let text = String::from_utf8(c.rest().to_vec()).map_err(|error| Unreadable(error.to_string()))?;
    Ok(Change::Claimed {
        terms: Terms::new(ttl, hard_ttl)
            .and_then(|terms| terms.with_late_effects(late))
            .map_err(|invalid| Unreadable(invalid.to_string()))?,
        retention: kept.then_some(retention),
        fingerprint: fingerprint(Some(text).filter(|text| !text.is_empty()))?,
        accepts,
        incarnation,
        begun,
        cause,
        about,
    })
}

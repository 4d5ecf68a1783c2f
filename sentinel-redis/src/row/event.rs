//! An event as bytes: what all of them have, then what its change has.

use bytes::Bytes;
use sentinel_core::{Change, ClaimId, Event, OpId, Terms};

use super::{Cursor, Unreadable, digest, fingerprint, state, unreadable, verdict};

/// Reads events that stand one behind the other, each behind its length.
pub(crate) fn events(log: Bytes) -> Result<Vec<Event>, Unreadable> {
    let mut c = Cursor(log);
    let mut read = Vec::new();
    while !c.0.is_empty() {
        read.push(event(c.short()?)?);
    }
    Ok(read)
}

/// Reads one event.
pub(crate) fn event(stored: Bytes) -> Result<Event, Unreadable> {
    let mut c = Cursor(stored);
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
        base: None,
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
        'A' => Change::Abandoned { effects_until: sentinel_core::StoreTime::ZERO },
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
    let (ttl, hard_ttl) = (c.micros()?, c.micros()?);
    let (kept, retention) = (c.flag()?, c.micros()?);
    let incarnation = c.digits()?;
    let text = String::from_utf8(c.rest().to_vec()).map_err(|error| Unreadable(error.to_string()))?;
    Ok(Change::Claimed {
        terms: Terms::new(ttl, hard_ttl).map_err(|invalid| Unreadable(invalid.to_string()))?,
        retention: kept.then_some(retention),
        fingerprint: fingerprint(Some(text).filter(|text| !text.is_empty()))?,
        accepts: sentinel_core::Accepts::any(),
        incarnation,
        begun,
    })
}

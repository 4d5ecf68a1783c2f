//! A record and an event as bytes, in the format of `lua/parts/constants.lua` and `lua/parts/after.lua`. What is read
//! is checked: bytes that no record can be are `Corrupt`.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use sentinel_core::{
    Accepts, Cause, ClaimId, Decision, DecisionKind, Digest, Fingerprint, Label, OpId, PastClaims, Payload,
    Record, RecordedResult, State, Terms, Verdict,
};

mod cursor;
mod event;

pub(crate) use cursor::{Cursor, Packed, Unreadable, unreadable};
pub(crate) use event::{event, events, with_base};

/// How many bytes of a record are fixed: what a heartbeat reads.
const HEAD: usize = 134;

/// A record, with the bytes of its result.
pub(crate) fn record(stored: Bytes) -> Result<Record, Unreadable> {
    decode(stored, true)
}

/// A record whose result may have been cut off behind its description.
pub(crate) fn record_without_bytes(stored: Bytes) -> Result<Record, Unreadable> {
    decode(stored, false)
}

fn decode(stored: Bytes, with_bytes: bool) -> Result<Record, Unreadable> {
    let mut cursor = Cursor(stored);
    let (mut record, _has_doubt) = head(&mut cursor)?;
    (record.effects_until, record.terms) = (cursor.instant()?, late(record.terms, cursor.micros()?)?);
    record.past_claims = past_claims(cursor.short()?)?;
    record.worker = cursor.label()?;
    record.fingerprint = fingerprint(cursor.text()?)?;
    record.accepts = accepts(cursor.text()?)?;
    (record.cause, record.about) = origin(cursor.short()?)?;
    record.doubt = cursor.label()?;
    let decided = cursor.short()?;
    record.decision = if decided.is_empty() { None } else { Some(decision(Cursor(decided))?) };
    let length = cursor.take(4)?.get_u32() as usize;
    // Events follow it; or it is cut off.
    let result = if with_bytes { cursor.take(length)? } else { cursor.rest() };
    record.result = if length == 0 { None } else { Some(recorded(Cursor(result), with_bytes)?) };
    match record.flaw() {
        Some(flaw) => unreadable(flaw),
        None => Ok(record),
    }
}

/// What a heartbeat has read of a record. It knows whether there is a cause of doubt, and not which. None: there is no
/// record.
pub(crate) fn record_head(stored: Bytes) -> Result<Option<Record>, Unreadable> {
    match stored.len() {
        0 => Ok(None),
        HEAD => {
            let (record, has_doubt) = head(&mut Cursor(stored))?;
            let doubt = has_doubt.then(|| Label::lossy("unknown here"));
            Ok(Some(Record { doubt, ..record }))
        }
        length => unreadable(format!("a record of {length} bytes")),
    }
}

/// The terms of a claim; late effects are stored apart from the other terms.
fn late(terms: Option<Terms>, at_most: Duration) -> Result<Option<Terms>, Unreadable> {
    let terms = terms.map(|terms| terms.with_late_effects(at_most)).transpose();
    terms.map_err(|invalid| Unreadable(invalid.to_string()))
}

/// The fixed part that heartbeats read, and whether there is a cause of doubt.
fn head(c: &mut Cursor) -> Result<(Record, bool), Unreadable> {
    let state = state(c.char()?)?.ok_or_else(|| Unreadable("no state".into()))?;
    let (held, after_reset, kept, _spilled) = (c.flag()?, c.flag()?, c.flag()?, c.flag()?);
    let has_doubt = c.flag()?;
    let (token, claim, incarnation) = (c.token()?, c.id()?, c.digits()?);
    let (rev, last_now, lease_until, hard_until) = (c.u64()?, c.instant()?, c.instant()?, c.instant()?);
    let (claimed_at, begun_at, completed_at) = (c.time()?, c.time()?, c.time()?);
    let (ttl, hard_ttl, retention) = (c.micros()?, c.micros()?, c.micros()?);
    let terms = if ttl.is_zero() { None } else { Some(Terms::new(ttl, hard_ttl)) };
    let record = Record {
        state,
        token,
        claim_id: held.then(|| ClaimId::from_bits(claim)),
        incarnation,
        after_reset,
        terms: terms.transpose().map_err(|invalid| Unreadable(invalid.to_string()))?,
        retention: kept.then_some(retention),
        claimed_at,
        lease_until,
        hard_until,
        begun_at,
        completed_at,
        rev,
        last_now,
        ..Record::absent()
    };
    Ok((record, has_doubt))
}

/// The state that a letter means; `-`: there is no record.
fn state(letter: char) -> Result<Option<State>, Unreadable> {
    Ok(Some(match letter {
        'f' => State::Free,
        'c' => State::Claimed,
        'x' => State::Executing,
        'd' => State::Completed,
        'r' => State::Reconciling,
        '-' => return Ok(None),
        other => return unreadable(format!("{other:?} is not a state")),
    }))
}

fn past_claims(mut ids: Bytes) -> Result<PastClaims, Unreadable> {
    if !ids.len().is_multiple_of(16) {
        return unreadable("a claim id is cut off");
    }
    let mut past = Vec::new();
    while ids.has_remaining() {
        past.push(ClaimId::from_bits(ids.get_u128()));
    }
    Ok(past.into())
}

fn fingerprint(text: Option<String>) -> Result<Option<Fingerprint>, Unreadable> {
    text.map(Fingerprint::new).transpose().map_err(|invalid| Unreadable(invalid.to_string()))
}

/// What callers can decode; empty means any type.
fn accepts(text: Option<String>) -> Result<Accepts, Unreadable> {
    let accepts = text.map_or(Ok(Accepts::any()), Accepts::try_from);
    accepts.map_err(|invalid| Unreadable(invalid.to_string()))
}

/// The same as it is kept.
pub(crate) fn packed_accepts(accepts: &Accepts) -> &str {
    if *accepts == Accepts::any() { "" } else { accepts.as_str() }
}

/// Why a claim was made and what it is about; empty means neither.
fn origin(packed: Bytes) -> Result<(Option<Cause>, Option<Label>), Unreadable> {
    if packed.is_empty() {
        return Ok((None, None));
    }
    let mut c = Cursor(packed);
    let cause = c.text()?.map(Cause::try_from).transpose();
    let origin = (cause.map_err(|invalid| Unreadable(invalid.to_string()))?, c.label()?);
    if c.0.is_empty() { Ok(origin) } else { unreadable("an origin that does not end") }
}

/// The same as it is kept.
pub(crate) fn packed_origin(cause: Option<&Cause>, about: Option<&Label>) -> Bytes {
    if cause.is_none() && about.is_none() {
        return Bytes::new();
    }
    let cause = cause.map(ToString::to_string).unwrap_or_default();
    Packed::default().text(&cause).text(about.map_or("", Label::as_str)).done()
}

fn decision(mut c: Cursor) -> Result<Decision, Unreadable> {
    let (token, at) = (c.token()?, c.instant()?);
    let op_id = OpId::from_bits(c.id()?);
    let kind = match c.char()? {
        'r' => DecisionKind::Reconcile,
        'f' => DecisionKind::ForceComplete,
        'z' => DecisionKind::ResetToClaimed,
        'e' => DecisionKind::Evict,
        other => return unreadable(format!("{other:?} is not a decision")),
    };
    let presented = c.token()?;
    let (digested, digest) = (c.flag()?, digest(&mut c)?);
    let operator = c.label()?.ok_or_else(|| Unreadable("a decision without an operator".into()))?;
    Ok(Decision {
        op_id,
        kind,
        token,
        presented,
        digest: digested.then_some(digest),
        operator,
        reason: c.label()?,
        at,
    })
}

fn digest(c: &mut Cursor) -> Result<Digest, Unreadable> {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&c.take(32)?);
    Ok(Digest::from_bytes(bytes))
}

/// A verdict, and a code if the letter marks one.
fn verdict(c: &mut Cursor) -> Result<(Verdict, Option<i32>), Unreadable> {
    let letter = c.char()?;
    let code = c.take(4)?.get_i32();
    match letter {
        's' => Ok((Verdict::Success, None)),
        'f' => Ok((Verdict::Failure, None)),
        'S' => Ok((Verdict::Success, Some(code))),
        'F' => Ok((Verdict::Failure, Some(code))),
        other => unreadable(format!("{other:?} is not a verdict")),
    }
}

fn recorded(mut c: Cursor, with_bytes: bool) -> Result<RecordedResult, Unreadable> {
    let (verdict, code) = verdict(&mut c)?;
    let omitted = c.flag()?;
    let content_type = c.label()?.ok_or_else(|| Unreadable("a result of no content type".into()))?;
    // Copied: a slice would keep all that was read with it.
    let bytes = if with_bytes { Bytes::copy_from_slice(&c.rest()) } else { Bytes::new() };
    Ok(RecordedResult { verdict, code, payload: Payload { content_type, bytes }, omitted })
}

/// A result as the scripts keep it: verdict and code in the first five bytes, which the log keeps too.
pub(crate) fn packed_result(result: &RecordedResult) -> Bytes {
    let letter = match (result.verdict, result.code) {
        (Verdict::Success, None) => 's',
        (Verdict::Failure, None) => 'f',
        (Verdict::Success, Some(_)) => 'S',
        (Verdict::Failure, Some(_)) => 'F',
    };
    Packed::default()
        .char(letter)
        .bytes(&result.code.unwrap_or_default().to_be_bytes())
        .flag(result.omitted)
        .text(result.payload.content_type.as_str())
        .bytes(&result.payload.bytes)
        .done()
}

/// What an operator sends with each decision, kept in the record as it is.
pub(crate) fn packed_decision(
    op_id: OpId,
    kind: DecisionKind,
    presented: sentinel_core::Token,
    digest: Option<Digest>,
    by: (&Label, Option<&Label>),
) -> Packed {
    let letter = match kind {
        DecisionKind::Reconcile => 'r',
        DecisionKind::ForceComplete => 'f',
        DecisionKind::ResetToClaimed => 'z',
        DecisionKind::Evict => 'e',
    };
    Packed::default()
        .id(op_id.bits())
        .char(letter)
        .token(presented)
        .flag(digest.is_some())
        .bytes(&digest.map_or([0; 32], |digest| *digest.as_bytes()))
        .text(by.0.as_str())
        .text(by.1.map_or("", Label::as_str))
}

//! Bytes that a server holds.

use arbitrary::{Result, Unstructured};
use bytes::{BufMut as _, Bytes, BytesMut};
use sentinel_core::{Accepts, Label, Record, State, StoreTime};
use sentinel_redis::fuzzing::{
    events as read_events, packed_result, record, record_head, record_without_bytes,
};

use crate::{made, sound};

/// Bytes as they come; and a record as the scripts pack it, whole and with bytes that are something else.
pub(crate) fn records(data: &[u8]) {
    any(&Bytes::copy_from_slice(data));
    let _ = changed(&mut Unstructured::new(data));
}

fn any(bytes: &Bytes) {
    let read = [record(bytes.clone()), record_without_bytes(bytes.clone())];
    read.into_iter().flatten().for_each(|read| sound::record(&read));
    let _ = record_head(bytes.clone());
}

fn changed(u: &mut Unstructured<'_>) -> Result<()> {
    let mut made = made::record(u)?;
    // Zero means that there is no such instant.
    for at in [&mut made.claimed_at, &mut made.begun_at, &mut made.completed_at] {
        *at = at.filter(|at| *at > StoreTime::ZERO);
    }
    let packed = pack(&made);
    // The decision is an operator's own packing: its reading is tried with the bytes that are changed.
    let expected = Record { decision: None, ..made };
    if expected.flaw().is_none() {
        assert_eq!(record(packed.clone()).ok(), Some(expected));
    }
    let mut bytes = packed.to_vec();
    while !u.is_empty() {
        let at = u.choose_index(bytes.len())?;
        bytes[at] = u.arbitrary()?;
        any(&Bytes::copy_from_slice(&bytes[..u.int_in_range(at..=bytes.len())?]));
        any(&Bytes::copy_from_slice(&bytes));
    }
    Ok(())
}

/// As `lua/parts/after.lua` has it; without the decision.
fn pack(r: &Record) -> Bytes {
    let mut out = BytesMut::new();
    let flag = |is: bool| if is { b'1' } else { b'0' };
    let time = |at: Option<StoreTime>| at.unwrap_or_default().as_micros();
    let micros = |d: std::time::Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    out.put_u8(match r.state {
        State::Free => b'f',
        State::Claimed => b'c',
        State::Executing => b'x',
        State::Completed => b'd',
        State::Reconciling => b'r',
    });
    let flags = [r.claim_id.is_some(), r.after_reset, r.retention.is_some(), false, r.doubt.is_some()];
    flags.into_iter().for_each(|is| out.put_u8(flag(is)));
    out.put_slice(format!("{:016}", r.token.get()).as_bytes());
    out.put_u128(r.claim_id.map_or(0, |id| id.bits()));
    out.put_slice(format!("{:016}", r.incarnation).as_bytes());
    out.put_u64(r.rev);
    let times = [Some(r.last_now), Some(r.lease_until), Some(r.hard_until)];
    let times = times.into_iter().chain([r.claimed_at, r.begun_at, r.completed_at]);
    times.for_each(|at| out.put_u64(time(at)));
    out.put_u64(r.terms.map_or(0, |terms| micros(terms.ttl())));
    out.put_u64(r.terms.map_or(0, |terms| micros(terms.hard_ttl())));
    out.put_u64(r.retention.map_or(0, micros));
    out.put_u64(time(Some(r.effects_until)));
    out.put_u64(r.terms.map_or(0, |terms| micros(terms.late_effects())));
    let past: Vec<u8> = r.past_claims.iter().flat_map(|id| id.bits().to_be_bytes()).collect();
    short(&mut out, &past);
    short(&mut out, text(r.worker.as_ref()));
    short(&mut out, r.fingerprint.as_ref().map_or("", |print| print.as_str()).as_bytes());
    short(&mut out, if r.accepts == Accepts::any() { b"" } else { r.accepts.as_str().as_bytes() });
    short(&mut out, &origin(r));
    short(&mut out, text(r.doubt.as_ref()));
    short(&mut out, b"");
    let result = r.result.as_ref().map(packed_result).unwrap_or_default();
    out.put_u32(u32::try_from(result.len()).unwrap_or(u32::MAX));
    out.put_slice(&result);
    out.freeze()
}

fn origin(r: &Record) -> BytesMut {
    let mut out = BytesMut::new();
    if r.cause.is_some() || r.about.is_some() {
        short(&mut out, r.cause.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        short(&mut out, text(r.about.as_ref()));
    }
    out
}

fn text(label: Option<&Label>) -> &[u8] {
    label.map_or(&[], |label| label.as_str().as_bytes())
}

fn short(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes);
}

/// Bytes as they come, as a log.
pub(crate) fn events(data: &[u8]) {
    let read = read_events(Bytes::copy_from_slice(data));
    read.iter().flatten().for_each(sound::event);
}

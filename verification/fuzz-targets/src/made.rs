//! Values out of bytes: any record, event and operation that is lawful by itself.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use sentinel_core::kernel::{Op, Reading};
use sentinel_core::operation::*;
use sentinel_core::*;

/// The largest number that stores keep.
const MOST: u64 = i64::MAX as u64;

/// A few ids, so that they meet.
fn claim_id(u: &mut Unstructured<'_>) -> Result<ClaimId> {
    Ok(ClaimId::from_bits(u.int_in_range(1..=12u128)?))
}

fn op_id(u: &mut Unstructured<'_>) -> Result<OpId> {
    Ok(OpId::from_bits(u.int_in_range(1..=3u128)?))
}

fn maybe<T>(u: &mut Unstructured<'_>, make: fn(&mut Unstructured<'_>) -> Result<T>) -> Result<Option<T>> {
    if u.arbitrary()? { make(u).map(Some) } else { Ok(None) }
}

/// Now and then at a border; else close to the others.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=15u8)? {
        0 => 0,
        1 => MOST,
        2 => Token::MAX.get(),
        3 => u.int_in_range(0..=MOST)?,
        _ => 1_700_000_000_000_000 + u.int_in_range(0..=5u64)? * 10_000,
    })
}

fn time(u: &mut Unstructured<'_>) -> Result<StoreTime> {
    number(u).map(StoreTime::from_micros)
}

fn token(u: &mut Unstructured<'_>) -> Result<Token> {
    number(u).map(Token::from_stored)
}

fn duration(u: &mut Unstructured<'_>) -> Result<Duration> {
    number(u).map(Duration::from_micros)
}

pub(crate) fn label(u: &mut Unstructured<'_>) -> Result<Label> {
    Ok(Label::lossy(u.arbitrary::<&str>()?))
}

fn fingerprint(u: &mut Unstructured<'_>) -> Result<Fingerprint> {
    let text: String = u.arbitrary::<&str>()?.chars().take(Fingerprint::MAX_BYTES / 4).collect();
    Ok(Fingerprint::new(if text.is_empty() { "f" } else { &text }).expect("it is of lawful length"))
}

fn terms(u: &mut Unstructured<'_>) -> Result<Terms> {
    let most = u64::try_from(Terms::MAX.as_micros()).unwrap_or(u64::MAX);
    let ttl = u.int_in_range(10_000..=most)?;
    let hard = u.int_in_range(ttl..=most)?;
    Ok(Terms::new(Duration::from_micros(ttl), Duration::from_micros(hard)).expect("they are within borders"))
}

fn verdict(u: &mut Unstructured<'_>) -> Result<Verdict> {
    Ok(*u.choose(&[Verdict::Success, Verdict::Failure])?)
}

pub(crate) fn result(u: &mut Unstructured<'_>) -> Result<RecordedResult> {
    let payload = Payload { content_type: label(u)?, bytes: u.arbitrary::<Vec<u8>>()?.into() };
    Ok(RecordedResult { verdict: verdict(u)?, code: u.arbitrary()?, payload, omitted: u.arbitrary()? })
}

fn state(u: &mut Unstructured<'_>) -> Result<State> {
    let all = [State::Free, State::Claimed, State::Executing, State::Completed, State::Reconciling];
    Ok(*u.choose(&all)?)
}

fn decision(u: &mut Unstructured<'_>) -> Result<Decision> {
    let kinds = [
        DecisionKind::Reconcile,
        DecisionKind::ForceComplete,
        DecisionKind::ResetToClaimed,
        DecisionKind::Evict,
    ];
    Ok(Decision {
        op_id: op_id(u)?,
        kind: *u.choose(&kinds)?,
        token: token(u)?,
        presented: token(u)?,
        digest: maybe(u, |u| Ok(Digest::from_bytes(u.arbitrary()?)))?,
        operator: label(u)?,
        reason: maybe(u, label)?,
        at: time(u)?,
    })
}

fn accepts(u: &mut Unstructured<'_>) -> Result<Accepts> {
    let texts = ["*/*", Payload::JSON, "text/plain,image/png"];
    Accepts::try_from((*u.choose(&texts)?).to_owned()).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn cause(u: &mut Unstructured<'_>) -> Result<Cause> {
    let invalid = |_| arbitrary::Error::IncorrectFormat;
    let first = Cause::new(Root::new(*u.choose(&["order-42", "a \"b\", 100% \\ €"])?).map_err(invalid)?);
    let first = match u.arbitrary()? {
        true => first.with_trace(TraceId::from_bits(u.arbitrary()?).map_err(invalid)?),
        false => first,
    };
    (0..u.int_in_range(0..=Cause::MAX_HOPS)?).try_fold(first, |cause, _| {
        let address = Address::execution(
            Namespace::new("orders").map_err(invalid)?,
            Key::new(*u.choose(&["a", "a/b c"])?).map_err(invalid)?,
        );
        cause.child(By { address, token: token(u)? }).map_err(invalid)
    })
}

/// A record without a flaw.
pub(crate) fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let past = (0..u.int_in_range(0..=PastClaims::KEPT)?).map(|_| claim_id(u)).collect::<Result<Vec<_>>>()?;
    let record = Record {
        state: state(u)?,
        token: token(u)?,
        claim_id: maybe(u, claim_id)?,
        past_claims: past.into(),
        incarnation: token(u)?.get(),
        after_reset: u.arbitrary()?,
        worker: maybe(u, label)?,
        terms: maybe(u, terms)?,
        retention: maybe(u, duration)?,
        claimed_at: maybe(u, time)?,
        lease_until: time(u)?,
        hard_until: time(u)?,
        effects_until: time(u)?,
        begun_at: maybe(u, time)?,
        completed_at: maybe(u, time)?,
        fingerprint: maybe(u, fingerprint)?,
        accepts: accepts(u)?,
        result: maybe(u, result)?,
        rev: number(u)?,
        last_now: time(u)?,
        doubt: maybe(u, label)?,
        decision: maybe(u, decision)?,
        cause: maybe(u, cause)?,
        about: maybe(u, label)?,
    };
    if record.flaw().is_none() { Ok(record) } else { Err(arbitrary::Error::IncorrectFormat) }
}

fn change(u: &mut Unstructured<'_>) -> Result<Change> {
    Ok(match u.int_in_range(0..=10u8)? {
        0 => Change::Claimed {
            terms: terms(u)?,
            retention: maybe(u, duration)?,
            fingerprint: maybe(u, fingerprint)?,
            accepts: accepts(u)?,
            incarnation: token(u)?.get(),
            begun: u.arbitrary()?,
            cause: maybe(u, cause)?,
            about: maybe(u, label)?,
        },
        1 => Change::Begun,
        2 => Change::Completed { verdict: verdict(u)?, code: u.arbitrary()?, late: u.arbitrary()? },
        3 => Change::Cancelled,
        4 => Change::Released { vouched: u.arbitrary()? },
        5 => Change::Abandoned { effects_until: time(u)? },
        6 => Change::Reconciling,
        7 => {
            let digest = Digest::from_bytes(u.arbitrary()?);
            Change::ForceCompleted { verdict: verdict(u)?, code: u.arbitrary()?, digest }
        }
        8 => Change::ResetToClaimed,
        9 => Change::Evicted,
        _ => Change::Purged,
    })
}

/// An event by itself, which need not be able to follow another.
pub(crate) fn event(u: &mut Unstructured<'_>) -> Result<Event> {
    Ok(Event {
        base: None,
        rev: number(u)?,
        change: change(u)?,
        from: maybe(u, state)?,
        to: maybe(u, state)?,
        token: token(u)?,
        claim_id: maybe(u, claim_id)?,
        op_id: maybe(u, op_id)?,
        worker: maybe(u, label)?,
        operator: maybe(u, label)?,
        reason: maybe(u, label)?,
        at: time(u)?,
    })
}

/// An operation. Half of the time it presents what the record has.
pub(crate) fn op(u: &mut Unstructured<'_>, r: &Record) -> Result<Op> {
    let right: bool = u.arbitrary()?;
    let claim_id = if right { r.claim_id.unwrap_or(ClaimId::from_bits(1)) } else { claim_id(u)? };
    let token = if right { r.token } else { token(u)? };
    let (grant, op_id) = (Grant { token, claim_id }, op_id(u)?);
    let (operator, reason) = (label(u)?, maybe(u, label)?);
    Ok(match u.int_in_range(0..=10u8)? {
        0 => {
            let phase = *u.choose(&[Phase::Claimed, Phase::Executing])?;
            let (retention, fingerprint) = (maybe(u, duration)?, maybe(u, fingerprint)?);
            Claim {
                claim_id,
                terms: terms(u)?,
                retention,
                fingerprint,
                worker: operator,
                phase,
                accepts: sentinel_core::Accepts::any(),
                cause: maybe(u, cause)?,
                about: None,
            }
            .into()
        }
        1 => Begin { grant }.into(),
        2 => Heartbeat { grant }.into(),
        3 => Complete { grant, result: result(u)? }.into(),
        4 => Cancel { claim_id }.into(),
        5 => Release { grant, vouched: u.arbitrary()? }.into(),
        6 => Abandon { grant, cause: operator, late_effects: std::time::Duration::ZERO }.into(),
        7 => {
            let (even_if_alive, steal) = (u.arbitrary()?, u.arbitrary()?);
            Reconcile { op_id, operator, reason, expect: token, even_if_alive, steal }.into()
        }
        8 => ForceComplete { op_id, token, operator, reason, result: result(u)?, as_is: false }.into(),
        9 => ResetToClaimed { op_id, token, operator, reason, accept_overlap: u.arbitrary()? }.into(),
        _ => Evict { op_id, operator, reason, expect: token }.into(),
    })
}

pub(crate) fn reading(u: &mut Unstructured<'_>) -> Result<Reading> {
    let kind = *u.choose(&[Kind::Execution, Kind::Lease])?;
    Ok(Reading { kind, now: time(u)?, floor: token(u)? })
}

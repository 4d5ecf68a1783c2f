//! What a record or an event must be after it was read, whatever was read.

use std::time::Duration;

use sentinel_core::kernel::{self, Op, Reading};
use sentinel_core::operation::{Claim, Heartbeat, Phase};
use sentinel_core::{
    Cause, Change, ClaimId, Event, Fingerprint, Grant, Kind, Label, Record, StoreTime, Terms, Token,
};

/// A record that the kernel may be asked about, and that does not make it panic.
pub(crate) fn record(record: &Record) {
    assert_eq!(record.flaw(), None);
    assert!(record.token <= Token::MAX);
    record.terms.iter().for_each(terms);
    [&record.worker, &record.doubt].into_iter().flatten().for_each(label);
    record.fingerprint.iter().for_each(fingerprint);
    if let Some(decision) = &record.decision {
        assert!(decision.token <= Token::MAX && decision.presented <= Token::MAX);
        label(&decision.operator);
        decision.reason.iter().for_each(label);
    }
    record.cause.iter().for_each(cause);
    record.about.iter().for_each(label);
    record.result.iter().for_each(|result| label(&result.payload.content_type));
    for now in [StoreTime::ZERO, record.last_now, record.hard_until, StoreTime::from_micros(u64::MAX)] {
        survives(record, now);
    }
}

/// Asks it this and that.
fn survives(record: &Record, now: StoreTime) {
    let at = Reading { kind: Kind::Execution, now, floor: Token::NONE };
    let grant = Grant { token: record.token, claim_id: record.claim_id.unwrap_or(ClaimId::from_bits(1)) };
    let second = Duration::from_secs(1);
    let claim = Claim {
        claim_id: ClaimId::from_bits(2),
        terms: Terms::new(second, second).expect("a second is lawful"),
        retention: record.retention,
        fingerprint: None,
        worker: Label::lossy("w"),
        phase: Phase::Claimed,
        accepts: sentinel_core::Accepts::any(),
        cause: record.cause.clone(),
        about: record.about.clone(),
    };
    for op in [Op::Claim(claim), Op::Heartbeat(Heartbeat { grant })] {
        let _ = op.apply(&mut record.clone(), at);
    }
    let _ = kernel::purge(record, now);
}

/// An event that could have been appended.
pub(crate) fn event(event: &Event) {
    assert!(event.token <= Token::MAX);
    [&event.worker, &event.operator, &event.reason].into_iter().flatten().for_each(label);
    if let Change::Claimed { terms: found, fingerprint: print, cause: why, about, .. } = &event.change {
        terms(found);
        print.iter().for_each(fingerprint);
        why.iter().for_each(cause);
        about.iter().for_each(label);
    }
}

/// A cause within its limits, which is read back from both of its texts.
pub(crate) fn cause(cause: &Cause) {
    assert!(cause.hop() <= Cause::MAX_HOPS && cause.by().is_some() == (cause.hop() > 0), "{cause:?}");
    assert!(cause.by().is_none_or(|by| by.token > Token::NONE), "{cause:?}");
    assert_eq!(cause.to_string().parse().as_ref(), Ok(cause));
    assert_eq!(Cause::from_header(&cause.to_header(), cause.trace()).as_ref(), Ok(cause));
}

fn terms(found: &Terms) {
    let same = Terms::new(found.ttl(), found.hard_ttl());
    let same = same.and_then(|terms| terms.with_late_effects(found.late_effects()));
    assert_eq!(same.as_ref(), Ok(found));
}

fn label(label: &Label) {
    assert_eq!(Label::new(label.as_str()).as_ref(), Ok(label));
}

fn fingerprint(print: &Fingerprint) {
    assert_eq!(Fingerprint::new(print.as_str()).as_ref(), Ok(print));
}

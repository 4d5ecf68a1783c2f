//! What callers and workers ask: who they are, what they present, what they say.

use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Grant, Payload, RecordedResult, Terms, Token, Verdict};

use super::Ask;
use super::record_under_test::{REQUEST, RecordUnderTest, receipt};
use crate::coordination::fixtures::*;

/// Any call, new or known, about the same or another request, in both forms.
pub(super) fn claims(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let requests =
        [("about the same", about(REQUEST)), ("about another", about("a refund")), ("about nothing", None)];
    let mut asks = Vec::new();
    for (who, claim_id) in calls(stage) {
        for (what, fingerprint) in &requests {
            let claim = Claim { claim_id, fingerprint: fingerprint.clone(), ..call("bob") };
            asks.push(Ask::new(format!("by {who}, {what}"), claim.clone()));
            if fingerprint.is_none() {
                continue;
            }
            let terms = Terms::new(HALF, TTL).unwrap_or(claim.terms);
            let fused = Claim { phase: Phase::Executing, terms, retention: Some(KEPT), ..claim };
            asks.push(Ask::new(format!("by {who}, {what}, fused"), fused));
        }
    }
    asks
}

/// Any call is withdrawn.
pub(super) fn cancels(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    calls(stage)
        .into_iter()
        .map(|(who, claim_id)| Ask::new(format!("of {who}"), Cancel { claim_id }))
        .collect()
}

/// The side effect is about to start.
pub(super) fn begins(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    grants(stage).into_iter().map(|(who, grant)| Ask::new(format!("by {who}"), Begin { grant })).collect()
}

/// The worker is still there.
pub(super) fn heartbeats(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    grants(stage).into_iter().map(|(who, grant)| Ask::new(format!("by {who}"), Heartbeat { grant })).collect()
}

/// The same result as is recorded, or another in one respect.
pub(super) fn completions(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    let results = results(stage);
    for (who, grant) in grants(stage) {
        // A grant that is refused for what it is needs no more than two results to show it.
        let told = if stage.record().matches(&grant) { results.len() } else { 2 };
        for (what, result) in results.iter().take(told).cloned() {
            asks.push(Ask::new(format!("by {who}, {what}"), Complete { grant, result }));
        }
    }
    asks
}

/// Vouched or not.
pub(super) fn releases(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (who, grant) in grants(stage) {
        asks.push(Ask::new(format!("by {who}"), Release { grant, vouched: false }));
        asks.push(Ask::new(format!("by {who}, vouched"), Release { grant, vouched: true }));
    }
    asks
}

/// For the cause that was given before, or another.
pub(super) fn abandonments(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (who, grant) in grants(stage) {
        for (cause, late_effects) in [("lost contact", NONE_LATE), ("a panic", LATE)] {
            let abandon = Abandon { grant, cause: label(cause), late_effects };
            asks.push(Ask::new(format!("by {who}, for {cause}"), abandon));
        }
    }
    asks
}

/// The calls that a claim or a cancel may come from.
fn calls(stage: &RecordUnderTest<'_>) -> Vec<(&'static str, ClaimId)> {
    let record = stage.record();
    let mut calls = vec![("a fresh call", ClaimId::random())];
    calls.extend(record.claim_id.map(|id| ("the call that holds it", id)));
    let mut past = record.past_claims.iter();
    calls.extend(past.next().map(|id| ("the last call before", id)));
    calls.extend(past.last().map(|id| ("the oldest call that is remembered", id)));
    let forgotten = stage.past_grants().into_iter().find(|(_, grant)| !record.knows(grant.claim_id));
    calls.extend(forgotten.map(|(_, grant)| ("a call long forgotten", grant.claim_id)));
    calls
}

/// What workers may present: the right, halves of it, and what was right before.
fn grants(stage: &RecordUnderTest<'_>) -> Vec<(&'static str, Grant)> {
    let record = stage.record();
    let mut grants = Vec::new();
    if let Some(claim_id) = record.claim_id {
        let with = |token| Grant { token, claim_id };
        let next = Token::from_stored(record.token.get() + 1);
        grants.push(("the holder", with(record.token)));
        grants.push(("the holder's claim id with an older token", older(with(record.token))));
        grants.push(("the holder's claim id with a newer token", with(next)));
    }
    let right = Grant { token: record.token, claim_id: ClaimId::random() };
    grants.push(("another claim id with the right token", right));
    for (who, grant) in stage.past_grants() {
        grants.push((who, grant));
        grants.push(("a past claim id with the right token", Grant { token: record.token, ..grant }));
        grants.push(("a past claim id with an older token", older(grant)));
    }
    grants.push(RecordUnderTest::stranger());
    grants
}

/// The result that is recorded, or would be, and others that differ from it in one respect.
pub(super) fn results(stage: &RecordUnderTest<'_>) -> Vec<(&'static str, RecordedResult)> {
    let same = stage.record().result.clone().unwrap_or_else(receipt);
    let payload = |payload| RecordedResult { payload, ..same.clone() };
    let kind = same.payload.content_type.as_str();
    let verdict = match same.verdict {
        Verdict::Success => Verdict::Failure,
        Verdict::Failure => Verdict::Success,
    };
    vec![
        ("the same result", same.clone()),
        ("other bytes", payload(Payload::new(kind, "another"))),
        ("another content type", payload(Payload::new("text/html", same.payload.bytes.clone()))),
        ("another code", RecordedResult { code: Some(-1), ..same.clone() }),
        ("the other verdict", RecordedResult { verdict, ..same.clone() }),
        ("the bytes left out or not", RecordedResult { omitted: !same.omitted, ..same.clone() }),
    ]
}

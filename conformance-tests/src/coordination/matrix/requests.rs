//! The requests of callers and workers: claim ids, grants, results.

use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Grant, Payload, RecordedResult, Terms, Token, Verdict};

use super::Request;
use super::record_under_test::{REQUEST, RecordUnderTest, receipt};
use crate::coordination::fixtures::*;

/// Any call, new or known, about the same or another request, in both forms.
pub(super) fn claims(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let fingerprints =
        [("about the same", about(REQUEST)), ("about another", about("a refund")), ("about nothing", None)];
    let mut requests = Vec::new();
    for (who, claim_id) in calls(under_test) {
        for (what, fingerprint) in &fingerprints {
            let claim = Claim { claim_id, fingerprint: fingerprint.clone(), ..call("bob") };
            requests.push(Request::new(format!("by {who}, {what}"), claim.clone()));
            if fingerprint.is_none() {
                continue;
            }
            let terms = Terms::new(HALF, TTL).unwrap_or(claim.terms);
            let fused = Claim { phase: Phase::Executing, terms, retention: Some(KEPT), ..claim };
            requests.push(Request::new(format!("by {who}, {what}, fused"), fused));
        }
    }
    requests
}

/// Any call is withdrawn.
pub(super) fn cancels(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    calls(under_test)
        .into_iter()
        .map(|(who, claim_id)| Request::new(format!("of {who}"), Cancel { claim_id }))
        .collect()
}

/// The side effect is about to start.
pub(super) fn begins(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    grants(under_test)
        .into_iter()
        .map(|(who, grant)| Request::new(format!("by {who}"), Begin { grant }))
        .collect()
}

/// The worker is still there.
pub(super) fn heartbeats(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    grants(under_test)
        .into_iter()
        .map(|(who, grant)| Request::new(format!("by {who}"), Heartbeat { grant }))
        .collect()
}

/// The same result as is recorded, or another in one respect.
pub(super) fn completions(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    let results = results(under_test);
    for (who, grant) in grants(under_test) {
        // A grant that is refused anyway is tried with two results only.
        let count = if under_test.record().matches(&grant) { results.len() } else { 2 };
        for (what, result) in results.iter().take(count).cloned() {
            requests.push(Request::new(format!("by {who}, {what}"), Complete { grant, result }));
        }
    }
    requests
}

/// Vouched or not.
pub(super) fn releases(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    for (who, grant) in grants(under_test) {
        requests.push(Request::new(format!("by {who}"), Release { grant, vouched: false }));
        requests.push(Request::new(format!("by {who}, vouched"), Release { grant, vouched: true }));
    }
    requests
}

/// For the cause that was given before, or another.
pub(super) fn abandonments(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    for (who, grant) in grants(under_test) {
        for (cause, late_effects) in [("lost contact", NONE_LATE), ("a panic", LATE)] {
            let abandon = Abandon { grant, cause: label(cause), late_effects };
            requests.push(Request::new(format!("by {who}, for {cause}"), abandon));
        }
    }
    requests
}

/// The calls that a claim or a cancel may come from.
fn calls(under_test: &RecordUnderTest<'_>) -> Vec<(&'static str, ClaimId)> {
    let record = under_test.record();
    let mut calls = vec![("a fresh call", ClaimId::random())];
    calls.extend(record.claim_id.map(|id| ("the call that holds it", id)));
    let mut past = record.past_claims.iter();
    calls.extend(past.next().map(|id| ("the last call before", id)));
    calls.extend(past.last().map(|id| ("the oldest call that is remembered", id)));
    let forgotten = under_test.past_grants().into_iter().find(|(_, grant)| !record.knows(grant.claim_id));
    calls.extend(forgotten.map(|(_, grant)| ("a call that is no longer remembered", grant.claim_id)));
    calls
}

/// What workers may present: the grant, one half of it, and earlier grants.
fn grants(under_test: &RecordUnderTest<'_>) -> Vec<(&'static str, Grant)> {
    let record = under_test.record();
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
    for (who, grant) in under_test.past_grants() {
        grants.push((who, grant));
        grants.push(("a past claim id with the right token", Grant { token: record.token, ..grant }));
        grants.push(("a past claim id with an older token", older(grant)));
    }
    grants.push(RecordUnderTest::stranger());
    grants
}

/// The result that is recorded, or would be, and others that differ from it in one respect.
pub(super) fn results(under_test: &RecordUnderTest<'_>) -> Vec<(&'static str, RecordedResult)> {
    let same = under_test.record().result.clone().unwrap_or_else(receipt);
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

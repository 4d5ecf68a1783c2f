//! The requests of operators: about which token, under which op id, with which flags.

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::{OpId, Record, Token};

use super::Request;
use super::record_under_test::{RecordUnderTest, receipt};
use super::requests::results;
use crate::coordination::fixtures::*;

/// An earlier decision, and the ids that a decision of any kind would reuse.
struct Decided<'a> {
    which: &'static str,
    op: &'a Op,
    op_id: OpId,
    presented: Token,
}

/// The last two decisions on the record.
fn decided<'a>(under_test: &'a RecordUnderTest<'_>) -> Vec<Decided<'a>> {
    let name = |(which, op): (&'static str, &'a Op)| {
        let (op_id, presented) = match op {
            Op::Reconcile(op) => (op.op_id, op.expect),
            Op::ForceComplete(op) => (op.op_id, op.token),
            Op::ResetToClaimed(op) => (op.op_id, op.token),
            Op::Evict(op) => (op.op_id, op.expect),
            other => unreachable!("{} is no decision", other.name()),
        };
        Decided { which, op, op_id, presented }
    };
    ["the last decision", "the decision before"].into_iter().zip(under_test.decisions()).map(name).collect()
}

/// Tokens that an operator may have read.
fn tokens(record: &Record) -> [(&'static str, Token); 4] {
    let by = |step: i64| Token::from_stored(record.token.get().saturating_add_signed(step));
    [
        ("the current token", record.token),
        ("an older token", by(-1)),
        ("a newer token", by(1)),
        ("a token that was never drawn", Token::from_stored(7)),
    ]
}

/// Alive or not, held or not.
pub(super) fn reconciliations(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let flags = [
        ("", false, false),
        (", even if alive", true, false),
        (", to steal", false, true),
        (", even if alive and to steal", true, true),
    ];
    let mut requests = Vec::new();
    for (which, expect) in tokens(under_test.record()) {
        for (how, even_if_alive, steal) in flags {
            let op = Reconcile { even_if_alive, steal, ..reconcile("omar", expect) };
            requests.push(Request::new(format!("of {which}{how}"), op));
        }
    }
    for Decided { which, op, op_id, presented } in decided(under_test) {
        let same = match op {
            Op::Reconcile(op) => op.clone(),
            _ => Reconcile { op_id, ..reconcile("olga", presented) },
        };
        let other = Reconcile { operator: label("omar"), reason: None, ..same.clone() };
        let flagged = Reconcile { even_if_alive: true, steal: true, ..same.clone() };
        let current = Reconcile { expect: under_test.record().token, ..same.clone() };
        let steals = Reconcile { steal: true, even_if_alive: true, ..current.clone() };
        requests.push(Request::new(format!("as {which}"), same));
        requests.push(Request::new(format!("as {which}, sent by another operator"), other));
        requests.push(Request::new(format!("as {which}, with both flags"), flagged));
        requests.push(Request::new(format!("as {which}, of the current token"), current));
        requests.push(Request::new(format!("as {which}, of the current token, with both flags"), steals));
    }
    requests
}

/// With any result.
pub(super) fn force_completions(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    for (which, token) in tokens(under_test.record()) {
        let count = if token == under_test.record().token { usize::MAX } else { 2 };
        for (what, result) in results(under_test).into_iter().take(count) {
            requests.push(Request::new(format!("under {which}, {what}"), force("omar", token, &result)));
        }
        let undecodable = force("omar", token, &picture());
        let as_is = ForceComplete { as_is: true, ..undecodable.clone() };
        requests.push(Request::new(format!("under {which}, bytes that callers cannot decode"), undecodable));
        requests.push(Request::new(format!("under {which}, the same as it is"), as_is));
    }
    for Decided { which, op, op_id, presented } in decided(under_test) {
        let same = match op {
            Op::ForceComplete(op) => op.clone(),
            _ => ForceComplete { op_id, ..force("olga", presented, &receipt()) },
        };
        for (what, result) in results(under_test) {
            let op = ForceComplete { result, ..same.clone() };
            requests.push(Request::new(format!("as {which}, {what}"), op));
        }
        let other = ForceComplete { operator: label("omar"), reason: None, ..same.clone() };
        let current = ForceComplete { token: under_test.record().token, ..same };
        requests.push(Request::new(format!("as {which}, sent by another operator"), other));
        requests.push(Request::new(format!("as {which}, under the current token"), current));
    }
    requests
}

/// Waiting for the hard deadline or not.
pub(super) fn resets(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut both = |words: String, op: ResetToClaimed| {
        let overlap = ResetToClaimed { accept_overlap: !op.accept_overlap, ..op.clone() };
        requests.push(Request::new(words.clone(), op));
        requests.push(Request::new(format!("{words}, with the other choice about the overlap"), overlap));
    };
    for (which, token) in tokens(under_test.record()) {
        both(format!("under {which}"), reset("omar", token));
    }
    for Decided { which, op, op_id, presented } in decided(under_test) {
        let same = match op {
            Op::ResetToClaimed(op) => op.clone(),
            _ => ResetToClaimed { op_id, ..reset("olga", presented) },
        };
        let other = ResetToClaimed { operator: label("omar"), reason: Some(label("why")), ..same.clone() };
        let current = ResetToClaimed { token: under_test.record().token, ..same.clone() };
        both(format!("as {which}"), same);
        both(format!("as {which}, sent by another operator"), other);
        both(format!("as {which}, under the current token"), current);
    }
    requests
}

/// With a reason or without.
pub(super) fn evictions(under_test: &RecordUnderTest<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    for (which, token) in tokens(under_test.record()) {
        let op = evict("omar", token);
        let reasoned = Evict { reason: Some(label("its host is gone")), ..evict("omar", token) };
        requests.push(Request::new(format!("of {which}"), op));
        requests.push(Request::new(format!("of {which}, with a reason"), reasoned));
    }
    for Decided { which, op, op_id, presented } in decided(under_test) {
        let same = match op {
            Op::Evict(op) => op.clone(),
            _ => Evict { op_id, ..evict("olga", presented) },
        };
        let other = Evict { operator: label("omar"), reason: Some(label("why")), ..same.clone() };
        let current = Evict { expect: under_test.record().token, ..same.clone() };
        requests.push(Request::new(format!("as {which}"), same));
        requests.push(Request::new(format!("as {which}, sent by another operator"), other));
        requests.push(Request::new(format!("as {which}, of the current token"), current));
    }
    requests
}

//! What operators ask: about which token, under which op id, with which flags.

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::{OpId, Record, Token};

use super::Ask;
use super::asks::results;
use super::record_under_test::{RecordUnderTest, receipt};
use crate::coordination::fixtures::*;

/// An earlier decision: what it was, and what a decision of any kind would take from it.
struct Decided<'a> {
    which: &'static str,
    op: &'a Op,
    op_id: OpId,
    presented: Token,
}

/// The last two decisions on the record.
fn decided<'a>(stage: &'a RecordUnderTest<'_>) -> Vec<Decided<'a>> {
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
    ["the last decision", "the decision before"].into_iter().zip(stage.decisions()).map(name).collect()
}

/// Tokens that an operator may have seen.
fn tokens(record: &Record) -> [(&'static str, Token); 4] {
    let by = |step: i64| Token::from_stored(record.token.get().saturating_add_signed(step));
    [
        ("the current token", record.token),
        ("an older token", by(-1)),
        ("a newer token", by(1)),
        ("the token of nobody", Token::from_stored(7)),
    ]
}

/// Alive or not, held or not.
pub(super) fn reconciliations(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let flags = [
        ("", false, false),
        (", even if alive", true, false),
        (", to steal", false, true),
        (", even if alive and to steal", true, true),
    ];
    let mut asks = Vec::new();
    for (which, expect) in tokens(stage.record()) {
        for (how, even_if_alive, steal) in flags {
            let op = Reconcile { even_if_alive, steal, ..reconcile("omar", expect) };
            asks.push(Ask::new(format!("of {which}{how}"), op));
        }
    }
    for Decided { which, op, op_id, presented } in decided(stage) {
        let same = match op {
            Op::Reconcile(op) => op.clone(),
            _ => Reconcile { op_id, ..reconcile("olga", presented) },
        };
        let other = Reconcile { operator: label("omar"), reason: None, ..same.clone() };
        let flagged = Reconcile { even_if_alive: true, steal: true, ..same.clone() };
        let current = Reconcile { expect: stage.record().token, ..same.clone() };
        let steals = Reconcile { steal: true, even_if_alive: true, ..current.clone() };
        asks.push(Ask::new(format!("as {which}"), same));
        asks.push(Ask::new(format!("as {which}, said by another operator"), other));
        asks.push(Ask::new(format!("as {which}, with both flags"), flagged));
        asks.push(Ask::new(format!("as {which}, of the current token"), current));
        asks.push(Ask::new(format!("as {which}, of the current token, with both flags"), steals));
    }
    asks
}

/// With any result.
pub(super) fn force_completions(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (which, token) in tokens(stage.record()) {
        let told = if token == stage.record().token { usize::MAX } else { 2 };
        for (what, result) in results(stage).into_iter().take(told) {
            asks.push(Ask::new(format!("under {which}, {what}"), force("omar", token, &result)));
        }
        let undecodable = force("omar", token, &picture());
        let as_is = ForceComplete { as_is: true, ..undecodable.clone() };
        asks.push(Ask::new(format!("under {which}, bytes that callers cannot decode"), undecodable));
        asks.push(Ask::new(format!("under {which}, the same as it is"), as_is));
    }
    for Decided { which, op, op_id, presented } in decided(stage) {
        let same = match op {
            Op::ForceComplete(op) => op.clone(),
            _ => ForceComplete { op_id, ..force("olga", presented, &receipt()) },
        };
        for (what, result) in results(stage) {
            let op = ForceComplete { result, ..same.clone() };
            asks.push(Ask::new(format!("as {which}, {what}"), op));
        }
        let other = ForceComplete { operator: label("omar"), reason: None, ..same.clone() };
        let current = ForceComplete { token: stage.record().token, ..same };
        asks.push(Ask::new(format!("as {which}, said by another operator"), other));
        asks.push(Ask::new(format!("as {which}, under the current token"), current));
    }
    asks
}

/// Waiting for the hard deadline or not.
pub(super) fn resets(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    let mut both = |words: String, op: ResetToClaimed| {
        let overlap = ResetToClaimed { accept_overlap: !op.accept_overlap, ..op.clone() };
        asks.push(Ask::new(words.clone(), op));
        asks.push(Ask::new(format!("{words}, the other way about the overlap"), overlap));
    };
    for (which, token) in tokens(stage.record()) {
        both(format!("under {which}"), reset("omar", token));
    }
    for Decided { which, op, op_id, presented } in decided(stage) {
        let same = match op {
            Op::ResetToClaimed(op) => op.clone(),
            _ => ResetToClaimed { op_id, ..reset("olga", presented) },
        };
        let other = ResetToClaimed { operator: label("omar"), reason: Some(label("why")), ..same.clone() };
        let current = ResetToClaimed { token: stage.record().token, ..same.clone() };
        both(format!("as {which}"), same);
        both(format!("as {which}, said by another operator"), other);
        both(format!("as {which}, under the current token"), current);
    }
    asks
}

/// With a reason or without.
pub(super) fn evictions(stage: &RecordUnderTest<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for (which, token) in tokens(stage.record()) {
        let op = evict("omar", token);
        let reasoned = Evict { reason: Some(label("its host is gone")), ..evict("omar", token) };
        asks.push(Ask::new(format!("of {which}"), op));
        asks.push(Ask::new(format!("of {which}, with a reason"), reasoned));
    }
    for Decided { which, op, op_id, presented } in decided(stage) {
        let same = match op {
            Op::Evict(op) => op.clone(),
            _ => Evict { op_id, ..evict("olga", presented) },
        };
        let other = Evict { operator: label("omar"), reason: Some(label("why")), ..same.clone() };
        let current = Evict { expect: stage.record().token, ..same.clone() };
        asks.push(Ask::new(format!("as {which}"), same));
        asks.push(Ask::new(format!("as {which}, said by another operator"), other));
        asks.push(Ask::new(format!("as {which}, of the current token"), current));
    }
    asks
}

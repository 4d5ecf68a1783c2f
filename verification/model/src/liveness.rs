//! L3: from every state, expiry or an operator leads to claimable or completed. Each new record is driven there.

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{OpId, Record, State};

use crate::request::{Parts, fingerprint};
use crate::setup::Mutation;
use crate::store::apply;

/// A claim id and op id that no worker or operator has.
const STRANGER: u8 = 200;

/// Waits for the deadlines, then lets an operator decide it, and then a stranger claims: does that work out?
pub(crate) fn leads_on(mutation: Option<Mutation>, parts: &Parts, record: &Record, at: Reading) -> bool {
    let mut record = record.clone();
    let end = at.now.max(record.lease_until).max(record.effects_until).max(record.last_now);
    let at = Reading { now: end, ..at };
    if record.state == State::Completed && !record.is_past_retention(at.now) {
        return true;
    }
    if record.state == State::Executing && !decide(mutation, parts, &mut record, at, false) {
        return false;
    }
    if record.state == State::Reconciling && !decide(mutation, parts, &mut record, at, true) {
        return false;
    }
    // Whatever request comes next.
    [None, Some(1), Some(2)].into_iter().all(|print| {
        let claim = parts.claim_as(STRANGER, Phase::Claimed, print.map(fingerprint));
        let applied = apply(mutation, &mut record.clone(), &Op::Claim(claim), at);
        applied.is_some_and(|it| matches!(it.reply, Reply::Claim(ClaimReply::Granted(_))))
    })
}

fn decide(mutation: Option<Mutation>, parts: &Parts, record: &mut Record, at: Reading, steal: bool) -> bool {
    let (op_id, operator, reason) = (OpId::from_bits(STRANGER.into()), parts.label(), None);
    let expect = record.token;
    let take = Reconcile { op_id, operator, reason, expect, even_if_alive: false, steal };
    let reply = apply(mutation, record, &Op::Reconcile(take), at).map(|applied| applied.reply);
    let Some(Reply::Reconcile(ReconcileReply::Taken { token, .. })) = reply else { return false };
    let (operator, reason) = (parts.label(), None);
    let reset = ResetToClaimed { op_id, token, operator, reason, accept_overlap: false };
    let applied = apply(mutation, record, &Op::ResetToClaimed(reset), at);
    applied.is_some_and(|it| matches!(it.reply, Reply::ResetToClaimed(ResetReply::Reset { .. })))
}

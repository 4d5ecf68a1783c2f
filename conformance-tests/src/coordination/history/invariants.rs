//! Invariants of any history, checked without the kernel.

use std::collections::{HashMap, HashSet};

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, Change, Event, PastClaims, State};

use super::actor::Completed;
use super::recorder::Entry;

/// Sent once or ten times, now or late, a request has the effect of once: no claim id is granted twice, nothing begins,
/// completes or is decided twice. Callers draw fresh ids for each call and decision. A record remembers eight claim
/// ids: a duplicate that comes after eight other calls is new to it.
pub(super) fn effect_of_once(address: &Address, events: &[Event]) -> Result<(), String> {
    let mut seen: HashMap<_, usize> = HashMap::new();
    for (n, event) in events.iter().enumerate() {
        let id = event.claim_id.map(|id| id.bits()).or(event.op_id.map(|id| id.bits()));
        let Some(first) = seen.insert((event.change.name(), id), n) else { continue };
        let others = events[first..n].iter().filter_map(|event| event.claim_id);
        let others: HashSet<_> = others.filter(|other| Some(*other) != event.claim_id).collect();
        if event.claim_id.is_none() || others.len() < PastClaims::KEPT {
            return Err(format!(
                "a request on {address} took effect twice:\n{event:#?}\nall events: {events:#?}"
            ));
        }
    }
    Ok(())
}

/// The last reply that a caller received was really given to this request.
pub(super) fn explained(address: &Address, completed: &[Completed], entries: &[Entry]) -> Result<(), String> {
    for completed in completed.iter().filter(|completed| completed.address == *address) {
        let given = |entry: &&Entry| {
            let reply = entry.reply.as_ref().and_then(|reply| reply.as_ref().ok());
            entry.address == *address && entry.op == completed.op && reply == Some(&completed.stamped)
        };
        if !entries.iter().any(|entry| given(&entry)) {
            return Err(format!(
                "the store never replied to {:?} with {:?}",
                completed.op, completed.stamped
            ));
        }
    }
    Ok(())
}

/// How many runs the log of an address authorises: one, and one more for each reset, each vouched end, each withdrawal
/// by a call that never ran, and each claim of a result that is past its retention. The whole log, without a purge.
pub fn authorised_runs(events: &[Event]) -> usize {
    let more = events.iter().filter(|event| match event.change {
        Change::ResetToClaimed | Change::Released { vouched: true } => true,
        Change::Cancelled => event.from == Some(State::Executing),
        Change::Claimed { .. } => event.from == Some(State::Completed),
        _ => false,
    });
    1 + more.count()
}

/// No more calls were allowed to start their function than the log authorises.
pub(super) fn single_run<'a>(
    address: &Address,
    completed: impl IntoIterator<Item = &'a Completed>,
    events: &[Event],
) -> Result<(), String> {
    let mut started = HashSet::new();
    for completed in completed.into_iter().filter(|completed| completed.address == *address) {
        match (&completed.op, &completed.stamped.reply) {
            (Op::Begin(begin), Reply::Begin(BeginReply::Begun(_))) => started.insert(begin.grant.claim_id),
            (Op::Claim(claim), Reply::Claim(ClaimReply::Granted(granted)))
                if granted.state == State::Executing =>
            {
                started.insert(claim.claim_id)
            }
            _ => false,
        };
    }
    let most = authorised_runs(events);
    if started.len() > most {
        return Err(format!(
            "{address} was started by {} calls where {most} were authorised: {started:?}\n{events:#?}",
            started.len()
        ));
    }
    Ok(())
}

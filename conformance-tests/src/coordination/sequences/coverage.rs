//! What the sequences reached: (start state, operation, rule that applied).

use std::collections::BTreeMap;
use std::fmt;

use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Record, State, StoreTime};

/// The start state of a record, as far as the rules distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the state, and which of its deadlines have passed")]
pub enum StartState {
    Absent,
    Free,
    ClaimedLive,
    ClaimedLapsed,
    ClaimedPastHard,
    ExecutingLive,
    ExecutingLapsed,
    ExecutingPastHard,
    CompletedKept,
    CompletedPastRetention,
    ReconcilingWithinHard,
    ReconcilingPastHard,
}

impl StartState {
    /// The start state of `record` at `now`.
    pub fn of(record: &Record, now: StoreTime) -> Self {
        let (live, within) = (record.is_live(now), record.is_within_hard(now));
        match record.state {
            State::Free if record.is_absent() => Self::Absent,
            State::Free => Self::Free,
            State::Claimed if live => Self::ClaimedLive,
            State::Claimed if within => Self::ClaimedLapsed,
            State::Claimed => Self::ClaimedPastHard,
            State::Executing if live => Self::ExecutingLive,
            State::Executing if within => Self::ExecutingLapsed,
            State::Executing => Self::ExecutingPastHard,
            State::Completed if record.is_past_retention(now) => Self::CompletedPastRetention,
            State::Completed => Self::CompletedKept,
            State::Reconciling if within => Self::ReconcilingWithinHard,
            State::Reconciling => Self::ReconcilingPastHard,
        }
    }
}

/// How often each (start state, operation, rule) came up. The rule is `change`, `repeat`, or the name of the refusal.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    cells: BTreeMap<(StartState, &'static str, &'static str), u64>,
}

impl Coverage {
    pub(crate) fn count(&mut self, start_state: StartState, op: &'static str, rule: &'static str) {
        *self.cells.entry((start_state, op, rule)).or_default() += 1;
    }

    /// How often a cell came up.
    pub fn of(&self, start_state: StartState, op: &str, rule: &str) -> u64 {
        let found = self.cells.iter().find(|((s, o, r), _)| (*s, *o, *r) == (start_state, op, rule));
        found.map_or(0, |(_, count)| *count)
    }

    /// The cells that came up.
    pub fn cells(&self) -> impl Iterator<Item = (StartState, &'static str, &'static str, u64)> + '_ {
        self.cells.iter().map(|((start_state, op, rule), count)| (*start_state, *op, *rule, *count))
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (start_state, op, rule, count) in self.cells() {
            writeln!(f, "{:>22}  {op:<16}  {rule:<22}  {count}", format!("{start_state:?}"))?;
        }
        Ok(())
    }
}

/// The rule behind a reply: what took effect, now or before, or why not.
pub(crate) fn rule(reply: &Reply, changed: bool) -> &'static str {
    refusal(reply).unwrap_or(if changed { "change" } else { "repeat" })
}

fn refusal(reply: &Reply) -> Option<&'static str> {
    let name = match reply {
        Reply::Claim(reply) => match reply {
            ClaimReply::Granted(_) => return None,
            ClaimReply::AlreadyReleased => "AlreadyReleased",
            ClaimReply::InProgress { .. } => "InProgress",
            ClaimReply::Uncertain { .. } => "Uncertain",
            ClaimReply::Completed { .. } => "Completed",
            ClaimReply::Reconciling { .. } => "Reconciling",
            ClaimReply::FingerprintMismatch => "FingerprintMismatch",
        },
        Reply::Begin(reply) => match reply {
            BeginReply::Begun(_) => return None,
            BeginReply::Superseded(_) => "Superseded",
            BeginReply::Expired => "Expired",
            BeginReply::Completed => "Completed",
        },
        Reply::Heartbeat(reply) => match reply {
            HeartbeatReply::Kept { .. } => return None,
            HeartbeatReply::Lost(LostReason::Superseded(_)) => "Superseded",
            HeartbeatReply::Lost(LostReason::Completed) => "Completed",
            HeartbeatReply::Lost(LostReason::HardDeadline) => "HardDeadline",
            HeartbeatReply::Lost(LostReason::Lapsed) => "Lapsed",
            HeartbeatReply::Lost(LostReason::Abandoned) => "Abandoned",
            HeartbeatReply::Unknown => "Unknown",
        },
        Reply::Complete(reply) => match reply {
            CompleteReply::Recorded { .. } => return None,
            CompleteReply::Conflict => "Conflict",
            CompleteReply::NotBegun => "NotBegun",
            CompleteReply::Superseded(_) => "Superseded",
        },
        Reply::Cancel(CancelReply::Untouched(_)) => "Untouched",
        Reply::Release(ReleaseReply::MayHaveRun) => "MayHaveRun",
        Reply::Release(ReleaseReply::Superseded(_)) => "Superseded",
        Reply::Abandon(AbandonReply::Superseded(_)) => "Superseded",
        other => return refused_decision(other),
    };
    Some(name)
}

fn refused_decision(reply: &Reply) -> Option<&'static str> {
    let name = match reply {
        Reply::Reconcile(reply) => match reply {
            ReconcileReply::Taken { .. } => return None,
            ReconcileReply::StaleDecision(_) => "StaleDecision",
            ReconcileReply::HeldBy { .. } => "HeldBy",
            ReconcileReply::StillAlive { .. } => "StillAlive",
            ReconcileReply::AlreadyCompleted => "AlreadyCompleted",
            ReconcileReply::NotExecuting(_) => "NotExecuting",
        },
        Reply::ForceComplete(ForceCompleteReply::StaleDecision(_)) => "StaleDecision",
        Reply::ForceComplete(ForceCompleteReply::NotDecodable { .. }) => "NotDecodable",
        Reply::ResetToClaimed(ResetReply::StaleDecision(_)) => "StaleDecision",
        Reply::ResetToClaimed(ResetReply::EffectsMayLand { .. }) => "EffectsMayLand",
        Reply::Evict(EvictReply::StaleDecision(_)) => "StaleDecision",
        Reply::Evict(EvictReply::Executing) => "Executing",
        Reply::Evict(EvictReply::NotClaimed(_)) => "NotClaimed",
        _ => return None,
    };
    Some(name)
}

//! Rebuilding a record from its events: the proof that the log is complete (SPEC invariant I12).

use std::time::Duration;

use crate::event::{Change, Event};
use crate::payload::Verdict;
use crate::record::{PastClaims, Record, State};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// What events tell of a record: all but the bytes of the result and what heartbeats move (lease, rev, last reading).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the record's")]
pub struct Rebuilt {
    pub state: State,
    pub token: Token,
    pub claim_id: Option<ClaimId>,
    pub past_claims: PastClaims,
    pub incarnation: u64,
    pub after_reset: bool,
    pub worker: Option<Label>,
    pub terms: Option<Terms>,
    pub retention: Option<Duration>,
    pub claimed_at: Option<StoreTime>,
    pub hard_until: StoreTime,
    pub begun_at: Option<StoreTime>,
    pub completed_at: Option<StoreTime>,
    pub fingerprint: Option<Fingerprint>,
    pub result: Option<(Verdict, Option<i32>)>,
    pub doubt: Option<Label>,
    pub decided: Option<(OpId, Label, Option<Label>)>,
}

impl From<&Record> for Rebuilt {
    fn from(r: &Record) -> Self {
        Self {
            state: r.state,
            token: r.token,
            claim_id: r.claim_id,
            past_claims: r.past_claims,
            incarnation: r.incarnation,
            after_reset: r.after_reset,
            worker: r.worker.clone(),
            terms: r.terms,
            retention: r.retention,
            claimed_at: r.claimed_at,
            hard_until: r.hard_until,
            begun_at: r.begun_at,
            completed_at: r.completed_at,
            fingerprint: r.fingerprint.clone(),
            result: r.result.as_ref().map(|result| (result.verdict, result.code)),
            doubt: r.doubt.clone(),
            decided: r.decision.as_ref().map(|d| (d.op_id, d.operator.clone(), d.reason.clone())),
        }
    }
}

/// Rebuilds a record from all its events, oldest first. A purge begins a new life.
pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Rebuilt {
    let absent = || Rebuilt::from(&Record::absent());
    events.into_iter().fold(absent(), |before, event| match event.change {
        Change::Purged => absent(),
        _ => step(before, event),
    })
}

fn step(mut r: Rebuilt, e: &Event) -> Rebuilt {
    r.token = e.token;
    match &e.change {
        Change::Claimed { terms, retention, fingerprint, incarnation, begun } => {
            r = Rebuilt { after_reset: r.after_reset && r.incarnation == *incarnation, ..free(r) };
            r.incarnation = *incarnation;
            r.claim_id = e.claim_id;
            r.worker.clone_from(&e.worker);
            (r.terms, r.retention) = (Some(*terms), *retention);
            r.fingerprint.clone_from(fingerprint);
            r.claimed_at = Some(e.at);
            r.begun_at = begun.then_some(e.at);
            r.hard_until = e.at.plus(terms.hard_ttl());
        }
        Change::Begun => r.begun_at = Some(e.at),
        Change::Completed { verdict, code, .. } => {
            r.result = Some((*verdict, *code));
            r.completed_at = Some(e.at);
        }
        Change::Cancelled => {
            r = free(r);
            e.claim_id.into_iter().for_each(|id| r.past_claims.remember(id));
        }
        Change::Released { vouched } => {
            r = free(r);
            if *vouched {
                (r.incarnation, r.after_reset) = (0, false);
            }
        }
        Change::Abandoned => {
            r.hard_until = r.hard_until.min(e.at);
            r.doubt.clone_from(&e.reason);
        }
        Change::Reconciling => fence_out(&mut r),
        Change::ForceCompleted { verdict, code, .. } => {
            r.result = Some((*verdict, *code));
            r.completed_at = Some(e.at);
        }
        Change::ResetToClaimed => r = Rebuilt { after_reset: true, ..free(r) },
        Change::Evicted => r = free(r),
        Change::Purged => {}
    }
    if let (Some(op_id), Some(operator)) = (e.op_id, &e.operator) {
        r.decided = Some((op_id, operator.clone(), e.reason.clone()));
    }
    r.state = e.to.unwrap_or(State::Free);
    r
}

fn free(mut r: Rebuilt) -> Rebuilt {
    fence_out(&mut r);
    Rebuilt {
        past_claims: r.past_claims,
        token: r.token,
        incarnation: r.incarnation,
        after_reset: r.after_reset,
        decided: r.decided,
        ..Rebuilt::from(&Record::absent())
    }
}

fn fence_out(r: &mut Rebuilt) {
    if let Some(id) = r.claim_id.take() {
        r.past_claims.remember(id);
    }
}

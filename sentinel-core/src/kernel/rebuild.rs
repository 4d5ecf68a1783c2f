//! Rebuilds a record from its events, which proves that the log is complete (spec §5, I12).

use crate::event::{Change, Event, EventLimit, Rebuilt};
use crate::record::{Record, State};

/// Rebuilds a record from the events that are kept, oldest first. A purge starts a new life of the record. An event
/// with a base starts from that base.
pub fn rebuild<'a>(events: impl IntoIterator<Item = &'a Event>) -> Rebuilt {
    let absent = || Rebuilt::from(&Record::absent());
    events.into_iter().fold(absent(), |before, event| match (&event.change, &event.base) {
        (Change::Purged, _) => absent(),
        (_, Some(base)) => step((**base).clone(), event),
        (_, None) => step(before, event),
    })
}

/// If a record has more events than the limit, drops the oldest and gives the oldest one that is kept its base. Returns
/// how many were dropped. `events` must be in order, oldest first.
pub fn trim(events: &mut Vec<Event>, limit: EventLimit) -> usize {
    if events.len() <= limit.max() {
        return 0;
    }
    let dropped = events.len() - limit.kept();
    let base = rebuild(events.drain(..dropped).as_slice());
    if let Some(oldest) = events.first_mut() {
        oldest.base = Some(Box::new(base));
    }
    dropped
}

fn step(mut r: Rebuilt, e: &Event) -> Rebuilt {
    r.token = e.token;
    match &e.change {
        Change::Claimed { terms, retention, fingerprint, accepts, incarnation, begun, cause, about } => {
            r = Rebuilt { after_reset: r.after_reset && r.incarnation == *incarnation, ..free(r) };
            r.incarnation = *incarnation;
            r.claim_id = e.claim_id;
            r.worker.clone_from(&e.worker);
            (r.terms, r.retention) = (Some(*terms), *retention);
            r.fingerprint.clone_from(fingerprint);
            r.claimed_at = Some(e.at);
            r.begun_at = begun.then_some(e.at);
            r.accepts.clone_from(accepts);
            r.cause.clone_from(cause);
            r.about.clone_from(about);
            r.hard_until = e.at.plus(terms.hard_ttl());
            r.effects_until = r.hard_until.plus(terms.late_effects());
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
        Change::Abandoned { effects_until } => {
            r.hard_until = r.hard_until.min(e.at);
            r.effects_until = *effects_until;
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
        cause: r.cause,
        about: r.about,
        ..Rebuilt::from(&Record::absent())
    }
}

fn fence_out(r: &mut Rebuilt) {
    if let Some(id) = r.claim_id.take() {
        r.past_claims.remember(id);
    }
}

//! The rules about late effects, decodable results and bounded events, taken away one by one.

use sentinel_core::kernel::Op;
use sentinel_core::{Accepts, ClaimId, State};

use super::mutation::{Mutation, Snapshot, StorageFault, Written};
use super::workers::{END, only, written};

pub(super) fn all() -> Vec<Mutation> {
    [abandons(), effects(), decodable(), events(), ids()].concat()
}

fn abandons() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, abandon");
    vec![
        s("revives an abandoned run").guard(only!(Heartbeat, |s| if s.record.doubt.take().is_some() {
            s.record.hard_until = END;
        })),
        s("takes an abandoned run for one past its hard deadline")
            .guard(only!(Heartbeat, |s| s.record.doubt = None)),
        s("releases an abandoned run on a vouch").guard(only!(Release, |s| s.record.doubt = None)),
        s("cancels an abandoned run").guard(only!(Cancel, |s| s.record.doubt = None)),
        s("takes no completion after an abandon").guard(only!(Complete, |s| if s.record.doubt.is_some() {
            s.record.claim_id = None;
        })),
        s("moves effects until by a repeated abandon").guard(only!(Abandon, |s| s.record.doubt = None)),
        s("moves the hard deadline for late effects").write(written!(Abandon, |w| {
            w.after.hard_until = w.after.effects_until;
        })),
        s("leaves the hard deadline of an abandoned run").write(written!(Abandon, |w| {
            w.after.hard_until = w.before.hard_until;
        })),
        s("lengthens a lease by an abandon").write(written!(Abandon, |w| w.after.lease_until = w.at.now)),
        s("lengthens a hard deadline by an abandon")
            .write(written!(Abandon, |w| w.after.hard_until = w.at.now)),
    ]
}

fn effects() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, effects until");
    vec![
        s("ends effects with the hard deadline")
            .write(written!(Claim, |w| w.after.effects_until = w.after.hard_until)),
        s("counts late effects from the lease").write(written!(Claim, |w| {
            let late = w.after.terms.map(|terms| terms.late_effects()).unwrap_or_default();
            w.after.effects_until = w.after.lease_until.plus(late);
        })),
        s("ends effects at an abandon").write(written!(Abandon, |w| w.after.effects_until = w.at.now)),
        s("keeps until when effects may land at an abandon").write(written!(Abandon, |w| {
            w.after.effects_until = w.before.effects_until;
        })),
        s("never ends effects earlier by an abandon").write(written!(Abandon, |w| {
            w.after.effects_until = w.after.effects_until.max(w.before.effects_until);
        })),
        s("never ends effects later by an abandon").write(written!(Abandon, |w| {
            w.after.effects_until = w.after.effects_until.min(w.before.effects_until);
        })),
        s("takes the late effects of the claim for those of the abandon").write(written!(Abandon, |w| {
            let late = w.after.terms.map(|terms| terms.late_effects()).unwrap_or_default();
            w.after.effects_until = w.at.now.plus(late);
        })),
        s("moves until when effects may land by heartbeats").write(written!(Heartbeat, |w| {
            w.after.effects_until = w.after.lease_until;
        })),
        s("resets from the hard deadline on").guard(only!(ResetToClaimed, |s| {
            s.record.effects_until = s.record.hard_until;
        })),
        s("resets what was abandoned at once").guard(only!(
            ResetToClaimed,
            |s| if s.record.doubt.is_some() {
                s.record.effects_until = s.at.now;
            }
        )),
        s("resets a microsecond after the instant").guard(only!(ResetToClaimed, |s| {
            s.record.effects_until = s.record.effects_until.plus(std::time::Duration::from_micros(1));
        })),
        s("ends late effects when an operator takes the key").write(written!(Reconcile, |w| {
            w.after.effects_until = w.at.now;
        })),
        s("keeps effects through a reset").write(written!(ResetToClaimed, |w| {
            w.after.effects_until = w.before.effects_until;
        })),
    ]
}

fn decodable() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, force_complete, decodable");
    fn force(s: &mut Snapshot) -> Option<&mut sentinel_core::operation::ForceComplete> {
        match &mut s.op {
            Op::ForceComplete(op) => Some(op),
            _ => None,
        }
    }
    vec![
        s("forces results that no caller can decode").guard(|s| {
            if let Some(op) = force(s) {
                op.as_is = true;
            }
        }),
        s("refuses what an operator forces as it is").guard(|s| {
            if let Some(op) = force(s) {
                op.as_is = false;
            }
        }),
        s("holds failures to what callers decode").guard(|s| {
            if let Some(op) = force(s) {
                op.result.verdict = sentinel_core::Verdict::Success;
            }
        }),
        s("holds omitted results to what callers decode").guard(|s| {
            if let Some(op) = force(s) {
                op.result.omitted = false;
            }
        }),
        s("compares content types with their parameters").guard(|s| {
            let accepts = s.record.accepts.clone();
            if let Some(op) = force(s).filter(|op| op.result.payload.content_type.as_str().contains(';')) {
                let exact = op.result.payload.content_type.as_str().to_owned();
                if !accepts.as_str().split(',').any(|one| one == exact || one == "*/*") {
                    op.result.payload.content_type = sentinel_core::Label::lossy("never/accepted");
                }
            }
        }),
        s("reports a refused decision as stale, although its token is current").guard(only!(
            ForceComplete,
            |s| {
                if let Op::ForceComplete(op) = &mut s.op
                    && op.to_decode().is_some_and(|kind| !s.record.accepts.accepts(&kind))
                {
                    s.record.state = State::Free;
                }
            }
        )),
        s("forgets what callers decode").write(written!(Claim, |w| w.after.accepts = Accepts::any())),
        s("forgets what callers decode when a run begins")
            .write(written!(Begin, |w| w.after.accepts = Accepts::any())),
        s("forgets what callers decode when an operator takes the key")
            .write(written!(Reconcile, |w| w.after.accepts = Accepts::json())),
        s("leaves what callers decode in a tombstone").write(written!(Release, |w| {
            w.after.accepts = w.before.accepts.clone();
        })),
    ]
}

fn events() -> Vec<Mutation> {
    let s = |name, flaw| Mutation::new(name, "spec §3, events are bounded").flaw(flaw);
    vec![
        s("keeps every event", StorageFault::EventsAreNeverTrimmed),
        s("drops events without a base", StorageFault::EventsAreTrimmedWithoutABase),
        s("keeps half of the events", StorageFault::HalfOfTheEventsAreKept),
        s("gives the oldest event the present state for a base", StorageFault::TheBaseIsThePresent),
        s("drops events before there are too many", StorageFault::EventsAreTrimmedEarly),
    ]
}

/// Calls and decisions that this store treats as the recorded ones.
fn mistaken(s: &mut Snapshot, shown: fn(u128) -> u128) {
    let own = s.record.claim_id;
    let alike = |id: ClaimId| own.filter(|own| shown(own.bits()) == shown(id.bits())).unwrap_or(id);
    match &mut s.op {
        Op::Claim(op) => op.claim_id = alike(op.claim_id),
        Op::Begin(op) => op.grant.claim_id = alike(op.grant.claim_id),
        Op::Heartbeat(op) => op.grant.claim_id = alike(op.grant.claim_id),
        Op::Cancel(op) => op.claim_id = alike(op.claim_id),
        Op::Reconcile(op) => {
            let last = s.record.decision.as_ref().map(|decision| decision.op_id);
            op.op_id = last.filter(|id| shown(id.bits()) == shown(op.op_id.bits())).unwrap_or(op.op_id);
        }
        _ => {}
    }
}

fn ids() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, claim id and op id");
    vec![
        s("compares the low halves of ids").guard(|s| mistaken(s, |id| id & u128::from(u64::MAX))),
        s("compares the high halves of ids").guard(|s| mistaken(s, |id| id >> 64)),
        s("keeps ids without their first bit").guard(|s| mistaken(s, |id| id << 1)),
        s("keeps the halves of ids as floating numbers").guard(|s| {
            mistaken(s, |id| {
                ((((id >> 64) as u64) as f64).to_bits() as u128) << 64 | (id as u64 as f64).to_bits() as u128
            })
        }),
    ]
}

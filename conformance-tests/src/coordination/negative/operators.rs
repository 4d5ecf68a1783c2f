//! The guards and writes of operators' decisions, taken away one by one.

use sentinel_core::State::{Claimed, Completed, Executing, Reconciling};
use sentinel_core::StoreTime;
use sentinel_core::kernel::Op;

use super::mutation::{Mutation, Snapshot, Written};
use super::workers::{only, written};

pub(super) fn all() -> Vec<Mutation> {
    [reconciles(), settles(), evicts()].concat()
}

fn reconciles() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, reconcile");
    vec![
        s("reconciles without the token seen").guard(only!(Reconcile, |s| {
            if let Op::Reconcile(op) = &mut s.op {
                op.expect = s.record.token;
            }
        })),
        s("takes a live execution").guard(only!(Reconcile, |s| s.record.lease_until = StoreTime::ZERO)),
        s("never takes a live execution").guard(only!(Reconcile, |s| {
            if let Op::Reconcile(op) = &mut s.op {
                op.even_if_alive = false;
            }
        })),
        s("takes the key that another operator holds").guard(only!(Reconcile, |s| {
            if let Op::Reconcile(op) = &mut s.op {
                op.steal = true;
            }
        })),
        s("never lets an operator steal").guard(only!(Reconcile, |s| {
            if let Op::Reconcile(op) = &mut s.op {
                op.steal = false;
            }
        })),
        s("does not know a repeated reconcile").guard(only!(Reconcile, |s| if let (
            Reconciling,
            Some(decision),
        ) =
            (s.record.state, &mut s.record.decision)
        {
            decision.op_id = sentinel_core::OpId::from_bits(0);
        })),
        s("reconciles under the worker's token")
            .write(written!(Reconcile, |w| w.after.token = w.before.token)),
        s("does not fence the worker out")
            .write(written!(Reconcile, |w| w.after.claim_id = w.before.claim_id)),
        s("reconciles what is completed").guard(only!(Reconcile, |s| if s.record.state == Completed {
            s.record.state = Executing;
        })),
        s("reconciles what has not begun").guard(only!(Reconcile, |s| if s.record.state == Claimed {
            (s.record.state, s.record.lease_until) = (Executing, StoreTime::ZERO);
        })),
        s("does not record who decided").write(written!(Reconcile, |w| w.after.decision = None)),
    ]
}

fn settles() -> Vec<Mutation> {
    let force = |name| Mutation::new(name, "spec §3, force_complete");
    let reset = |name| Mutation::new(name, "spec §3, reset_to_claimed");
    vec![
        force("forces a result without the token").guard(only!(ForceComplete, |s| {
            if let Op::ForceComplete(op) = &mut s.op {
                op.token = s.record.token;
            }
        })),
        force("forces a result of a key that is not reconciling").guard(only!(ForceComplete, |s| {
            if s.record.state == Executing {
                s.record.state = Reconciling;
            }
        })),
        force("replaces a result by force").guard(only!(ForceComplete, |s| if s.record.state == Completed {
            (s.record.state, s.record.decision) = (Reconciling, None);
        })),
        force("does not know a repeated force-complete")
            .guard(only!(ForceComplete, |s| s.record.decision = None)),
        force("accepts any repeated force-complete as the same").guard(only!(ForceComplete, |s| {
            if let (Op::ForceComplete(op), Some(d)) = (&s.op, &mut s.record.decision) {
                (d.digest, d.presented) = (Some(op.result.digest()), op.token);
            }
        })),
        reset("resets without the token").guard(only!(ResetToClaimed, |s| {
            if let Op::ResetToClaimed(op) = &mut s.op {
                op.token = s.record.token;
            }
        })),
        reset("resets before effects have landed").guard(only!(ResetToClaimed, |s| {
            s.record.effects_until = StoreTime::ZERO;
        })),
        reset("never resets before effects have landed").guard(only!(ResetToClaimed, |s| {
            if let Op::ResetToClaimed(op) = &mut s.op {
                op.accept_overlap = false;
            }
        })),
        reset("resets a key that is not reconciling").guard(only!(ResetToClaimed, |s| if s.record.state
            == Executing
        {
            s.record.state = Reconciling;
        })),
        reset("resets a result").guard(only!(ResetToClaimed, |s| if s.record.state == Completed {
            (s.record.state, s.record.decision) = (Reconciling, None);
        })),
        reset("does not know a repeated reset").guard(only!(ResetToClaimed, |s| s.record.decision = None)),
        reset("draws no token for a reset")
            .write(written!(ResetToClaimed, |w| w.after.token = w.before.token)),
        reset("ends the incarnation at a reset").write(written!(ResetToClaimed, |w| w.after.incarnation = 0)),
        reset("leaves a reset key to the operator").write(written!(ResetToClaimed, |w| {
            w.after.state = Reconciling;
        })),
        reset("forgets the claim ids at a reset").write(written!(ResetToClaimed, |w| {
            w.after.past_claims = Default::default();
        })),
    ]
}

fn evicts() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, evict");
    vec![
        s("evicts without the token seen").guard(only!(Evict, |s| {
            if let Op::Evict(op) = &mut s.op {
                op.expect = s.record.token;
            }
        })),
        s("evicts an execution").guard(only!(Evict, |s| if s.record.state == Executing {
            s.record.state = Claimed;
        })),
        s("evicts a result").guard(only!(Evict, |s| if s.record.state == Completed {
            s.record.state = Claimed;
        })),
        s("does not know a repeated eviction").guard(only!(Evict, |s| s.record.decision = None)),
        s("draws no token for an eviction").write(written!(Evict, |w| w.after.token = w.before.token)),
        s("evicts only what has lapsed").guard(only!(Evict, |s| if s.record.is_live(s.at.now) {
            s.record.state = Executing;
        })),
    ]
}

//! The guards and writes of workers' requests, taken away one by one.

use std::time::Duration;

use sentinel_core::State::{Claimed, Completed, Executing, Free, Reconciling};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Grant, Kind, PastClaims, StoreTime};

use super::mutation::{Mutation, Snapshot, Written};

pub(super) const END: StoreTime = StoreTime::from_micros(u64::MAX);

/// The grant that a worker's request presents.
fn grant(op: &mut Op) -> Option<&mut Grant> {
    match op {
        Op::Begin(op) => Some(&mut op.grant),
        Op::Heartbeat(op) => Some(&mut op.grant),
        Op::Complete(op) => Some(&mut op.grant),
        Op::Release(op) => Some(&mut op.grant),
        Op::Abandon(op) => Some(&mut op.grant),
        _ => None,
    }
}

fn any_token(s: &mut Snapshot) {
    if let Some(grant) = grant(&mut s.op) {
        grant.token = s.record.token;
    }
}

fn any_claim_id(s: &mut Snapshot) {
    if let (Some(grant), Some(id)) = (grant(&mut s.op), s.record.claim_id) {
        grant.claim_id = id;
    }
}

/// Changed input for one operation only.
macro_rules! only {
    ($op:ident, $lie:expr) => {
        |s: &mut Snapshot| {
            if matches!(s.op, Op::$op(_)) {
                let lie: fn(&mut Snapshot) = $lie;
                lie(s);
            }
        }
    };
}
pub(super) use only;

/// A changed write of one operation only.
macro_rules! written {
    ($op:ident, $lie:expr) => {
        |w: &mut Written<'_>| {
            if matches!(w.op, Op::$op(_)) {
                let lie: fn(&mut Written<'_>) = $lie;
                lie(w);
            }
        }
    };
}
pub(super) use written;

pub(super) fn all() -> Vec<Mutation> {
    [claims(), begins(), heartbeats(), completes(), gives_back()].concat()
}

fn claims() -> Vec<Mutation> {
    const RULE: &str = "spec §3, claim";
    let s = |name| Mutation::new(name, RULE);
    vec![
        s("takes over a live claim").guard(only!(Claim, |s| s.record.lease_until = StoreTime::ZERO)),
        s("never takes over a lapsed claim").guard(only!(Claim, |s| s.record.lease_until = END)),
        s("takes over a lapsed execution").guard(only!(Claim, |s| if s.record.is_uncertain(s.at.now) {
            s.record.state = Claimed;
        })),
        s("takes over a live execution").guard(only!(Claim, |s| if s.record.is_live(s.at.now) {
            (s.record.state, s.record.lease_until) = (Claimed, s.record.lease_until);
            if s.record.begun_at.is_some() {
                s.record.lease_until = StoreTime::ZERO;
            }
        })),
        s("runs a completed key again").guard(only!(Claim, |s| if s.record.state == Completed {
            s.record.state = Free;
        })),
        s("claims what an operator holds").guard(only!(Claim, |s| if s.record.state == Reconciling {
            s.record.state = Free;
        })),
        s("forgets the claim ids of the past")
            .guard(only!(Claim, |s| s.record.past_claims = PastClaims::default())),
        s("forgets who completed").guard(only!(Claim, |s| if s.record.state == Completed {
            s.record.claim_id = None;
        })),
        s("keeps results past their retention").guard(only!(Claim, |s| s.record.retention = None)),
        s("keeps no result").guard(only!(Claim, |s| s.record.retention = Some(Duration::ZERO))),
        s("ignores fingerprints").guard(only!(Claim, |s| s.record.fingerprint = None)),
        s("wedges a lapsed claim by its fingerprint").guard(only!(Claim, |s| {
            let Op::Claim(c) = &s.op else { return };
            if s.record.state == Claimed && c.fingerprint.is_some() && c.fingerprint != s.record.fingerprint {
                s.record.lease_until = END;
            }
        })),
        s("keeps the fingerprint of the claim before").write(written!(Claim, |w| {
            w.after.fingerprint = w.before.fingerprint.clone().or(w.after.fingerprint.take());
        })),
        s("does not recognise the caller").guard(only!(Claim, |s| s.record.claim_id = None)),
        s("grants a repeated claim a new token").guard(only!(Claim, |s| if s.record.state == Claimed {
            (s.record.state, s.record.claim_id) = (Free, None);
        })),
        s("does not fuse claim and begin").write(written!(Claim, |w| w.after.state = Claimed)),
        s("keeps the deadline of the claim before at a take-over").write(written!(Claim, |w| {
            if w.before.hard_until > StoreTime::ZERO {
                w.after.hard_until = w.before.hard_until;
            }
        })),
        s("does not remember whom it superseded")
            .write(written!(Claim, |w| w.after.past_claims = w.before.past_claims)),
        s("treats the boundary as live").guard(|s| {
            s.at.now = StoreTime::from_micros(s.at.now.as_micros() - 1);
            s.record.last_now = StoreTime::ZERO;
        }),
        s("expires a microsecond early").guard(|s| s.at.now = s.at.now.plus(Duration::from_micros(1))),
        s("reports the wrong holder of the reconcile token").reply(|_, stamped| {
            if let Reply::Claim(ClaimReply::Reconciling { since, .. }) = &mut stamped.reply {
                *since = StoreTime::ZERO;
            }
        }),
    ]
}

fn begins() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, begin");
    vec![
        s("begins late").guard(only!(Begin, |s| if s.record.state == Claimed {
            (s.record.lease_until, s.record.hard_until) = (END, END);
        })),
        s("begins again after the lapse").guard(only!(Begin, |s| if s.record.state == Executing {
            s.record.lease_until = END;
        })),
        s("begins under any token").guard(only!(Begin, any_token)),
        s("begins under any claim id").guard(only!(Begin, any_claim_id)),
        s("refuses a repeated begin").guard(only!(Begin, |s| if s.record.state == Executing {
            s.record.state = Free;
        })),
        s("extends the lease at the begin")
            .write(written!(Begin, |w| w.after.lease_until = w.after.hard_until)),
        s("begins twice").guard(only!(Begin, |s| if s.record.state == Executing {
            s.record.state = Claimed;
        })),
        s("does not record the begin").write(written!(Begin, |w| w.after.state = Claimed)),
    ]
}

fn heartbeats() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, heartbeat");
    vec![
        s("keeps alive by key only").guard(only!(Heartbeat, |s| {
            any_token(s);
            any_claim_id(s);
        })),
        s("keeps alive under any token").guard(only!(Heartbeat, any_token)),
        s("keeps alive under any claim id").guard(only!(Heartbeat, any_claim_id)),
        s("revives a lapsed lease").guard(only!(Heartbeat, |s| s.at.kind = Kind::Execution)),
        s("never revives an execution").guard(only!(Heartbeat, |s| if !s.record.is_live(s.at.now) {
            s.at.kind = Kind::Lease;
            s.record.state = Claimed;
        })),
        s("extends past the hard deadline").write(written!(Heartbeat, |w| {
            let ttl = w.after.terms.map(|terms| terms.ttl()).unwrap_or_default();
            w.after.lease_until = w.at.now.plus(ttl);
        })),
        s("keeps alive past the hard deadline").guard(only!(Heartbeat, |s| s.record.hard_until = END)),
        s("shortens leases")
            .guard(only!(Heartbeat, |s| s.record.lease_until = s.at.now))
            .write(written!(Heartbeat, |w| w.after.lease_until = w.at.now.plus(Duration::from_secs(1)))),
        s("moves the hard deadline").write(written!(Heartbeat, |w| w.after.hard_until = w.after.lease_until)),
        s("does not extend").write(written!(Heartbeat, |w| w.after.lease_until = w.before.lease_until)),
        s("does not count heartbeats").write(written!(Heartbeat, |w| w.after.rev = w.before.rev)),
    ]
}

fn completes() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, complete");
    vec![
        s("completes under any token").guard(only!(Complete, any_token)),
        s("completes under any claim id").guard(only!(Complete, any_claim_id)),
        s("completes from claimed").guard(only!(Complete, |s| if s.record.state == Claimed {
            s.record.state = Executing;
        })),
        s("completes twice").guard(only!(Complete, |s| if s.record.state == Completed {
            s.record.state = Executing;
        })),
        s("refuses a late completion").guard(only!(Complete, |s| if s.record.is_uncertain(s.at.now) {
            s.record.state = Reconciling;
        })),
        s("reports a repeated completion as a conflict").guard(only!(Complete, |s| s.record.result = None)),
        s("accepts any repeated completion as the same").guard(only!(Complete, |s| {
            if let (Op::Complete(op), Some(kept)) = (&mut s.op, &s.record.result) {
                op.result = kept.clone();
            }
        })),
        s("does not report that a completion is late").reply(|_, stamped| {
            if let Reply::Complete(CompleteReply::Recorded { late }) = &mut stamped.reply {
                *late = false;
            }
        }),
    ]
}

fn gives_back() -> Vec<Mutation> {
    let cancel = |name| Mutation::new(name, "spec §3, cancel");
    let release = |name| Mutation::new(name, "spec §3, release");
    let abandon = |name| Mutation::new(name, "spec §3, abandon");
    vec![
        cancel("cancels the claim of any caller").guard(only!(Cancel, |s| {
            if let (Op::Cancel(op), Some(id)) = (&mut s.op, s.record.claim_id) {
                op.claim_id = id;
            }
        })),
        cancel("cancels a completed result").guard(only!(Cancel, |s| if s.record.state == Completed {
            s.record.state = Executing;
        })),
        cancel("forgets which call it cancelled")
            .write(written!(Cancel, |w| w.after.past_claims = PastClaims::default())),
        cancel("cancels again and again").guard(only!(Cancel, |s| if s.record.state == Free {
            s.record.past_claims = PastClaims::default();
        })),
        cancel("does not know a repeated cancel").guard(only!(Cancel, |s| if s.record.state != Free {
            s.record.past_claims = PastClaims::default();
        })),
        cancel("frees an operator's key").guard(only!(Cancel, |s| if s.record.state == Reconciling {
            (s.record.state, s.record.past_claims) = (Free, PastClaims::default());
        })),
        release("releases under any token").guard(only!(Release, any_token)),
        release("releases under any claim id").guard(only!(Release, any_claim_id)),
        release("releases what may have run").guard(only!(Release, |s| {
            if let Op::Release(op) = &mut s.op {
                op.vouched = true;
            }
        })),
        release("releases a completed result").guard(only!(Release, |s| if s.record.state == Completed {
            s.record.state = Claimed;
        })),
        release("does not know a repeated release").guard(only!(Release, |s| if s.record.state == Free {
            s.record.past_claims = PastClaims::default();
        })),
        release("keeps the incarnation of a vouched run").write(written!(Release, |w| {
            w.after.incarnation = w.before.incarnation;
        })),
        release("ends the incarnation of any release").write(written!(Release, |w| w.after.incarnation = 0)),
        release("deletes the row instead of keeping a tombstone").write(written!(Release, |w| {
            w.after.token = sentinel_core::Token::NONE;
        })),
        abandon("abandons under any token").guard(only!(Abandon, any_token)),
        abandon("abandons under any claim id").guard(only!(Abandon, any_claim_id)),
        abandon("abandons a claim").guard(only!(Abandon, |s| if s.record.state == Claimed {
            s.record.state = Executing;
        })),
        abandon("leaves the lease of what was abandoned").write(written!(Abandon, |w| {
            w.after.lease_until = w.before.lease_until;
        })),
        abandon("leaves the hard deadline of what was abandoned").write(written!(Abandon, |w| {
            w.after.hard_until = w.before.hard_until;
        })),
        abandon("abandons again and again").guard(only!(Abandon, |s| s.record.doubt = None)),
        abandon("frees what was abandoned").write(written!(Abandon, |w| w.after.state = Free)),
    ]
}

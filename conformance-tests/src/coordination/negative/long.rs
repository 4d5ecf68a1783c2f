//! Stores whose memory or arithmetic ends after a while.

use std::time::Duration;

use sentinel_core::State::{Completed, Executing, Free, Reconciling};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Record, StoreTime, Token};

use super::mutation::{Mutation, Snapshot, StorageFault, Written};
use super::workers::{only, written};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn all() -> Vec<Mutation> {
    [clocks(), terms(), retentions(), memories(), tokens(), replies()].concat()
}

/// How long a record has not been written.
fn idle(s: &Snapshot) -> Duration {
    s.at.now.since(s.record.last_now)
}

/// Makes a guard read the clock wrongly, whatever the record's last reading.
fn misread(s: &mut Snapshot, micros: impl Fn(u64) -> u64) {
    s.at.now = StoreTime::from_micros(micros(s.at.now.as_micros()));
    s.record.last_now = StoreTime::ZERO;
}

fn clocks() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, store now");
    vec![
        s("counts seconds in 32 bits").guard(|s| misread(s, |now| now % ((1 << 32) * 1_000_000))),
        s("keeps the ends of leases in floating seconds").write(|w| {
            let seconds = w.after.lease_until.as_micros() as f64 / 1e6;
            w.after.lease_until = StoreTime::from_micros((seconds * 1e6) as u64);
        }),
        s("counts seconds in 31 bits and stops").guard(|s| {
            misread(s, |now| now.min(u64::from(i32::MAX.unsigned_abs()) * 1_000_000));
        }),
        s("counts seconds in 32 bits and stops")
            .guard(|s| misread(s, |now| now.min(u64::from(u32::MAX) * 1_000_000))),
        s("knows no year after 2099").guard(|s| misread(s, |now| now.min(4_102_444_800_000_000))),
        s("computes deadlines in 32 bits of milliseconds").guard(|s| {
            let age = s.at.now.since(s.record.claimed_at.unwrap_or_default());
            let wrapped = Duration::from_millis(age.as_millis() as u64 % (1 << 32));
            if s.record.claimed_at.is_some() && age > Duration::from_millis(1 << 32) {
                s.at.now = s.record.claimed_at.unwrap_or_default().plus(wrapped);
                s.record.last_now = StoreTime::ZERO;
            }
        }),
    ]
}

/// Computes the ttl and the hard ttl of a claim wrongly.
fn with_terms(w: &mut Written<'_>, micros: impl Fn(u64) -> u64) {
    let (Op::Claim(claim), Some(at)) = (w.op, w.after.claimed_at) else { return };
    let term = |by: Duration| at.plus(Duration::from_micros(micros(by.as_micros() as u64)));
    w.after.lease_until = term(claim.terms.ttl());
    w.after.hard_until = term(claim.terms.hard_ttl());
}

fn terms() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, terms");
    vec![
        s("keeps terms in 32 bits of microseconds").write(|w| with_terms(w, |by| by % (1 << 32))),
        s("keeps terms in 31 bits of microseconds").write(|w| with_terms(w, |by| by.min((1 << 31) - 1))),
        s("keeps terms in 32 bits of milliseconds").write(|w| with_terms(w, |by| by % ((1 << 32) * 1000))),
        s("keeps terms in 31 bits of milliseconds")
            .write(|w| with_terms(w, |by| by.min(((1 << 31) - 1) * 1000))),
        s("keeps terms in 16 bits of seconds").write(|w| with_terms(w, |by| by % ((1 << 16) * 1_000_000))),
        s("keeps terms in 15 bits of seconds")
            .write(|w| with_terms(w, |by| by.min(((1 << 15) - 1) * 1_000_000))),
        s("keeps terms in single precision").write(|w| with_terms(w, |by| (by as f32) as u64)),
        s("grants no more than 30 days").write(|w| with_terms(w, |by| by.min(30 * 86_400_000_000))),
        s("grants no more than a year of 365 days")
            .write(|w| with_terms(w, |by| by.min(365 * 86_400_000_000))),
        s("extends leases by no more than a day").write(written!(Heartbeat, |w| {
            w.after.lease_until = w.before.lease_until.max(w.at.now.plus(DAY).min(w.after.lease_until));
        })),
        s("takes no heartbeat a month after the claim").guard(only!(Heartbeat, |s| {
            if s.at.now.since(s.record.claimed_at.unwrap_or_default()) > 30 * DAY {
                s.record.hard_until = StoreTime::ZERO;
            }
        })),
        s("takes no completion a month after the claim").guard(only!(Complete, |s| {
            if s.at.now.since(s.record.claimed_at.unwrap_or_default()) > 30 * DAY {
                s.record.claim_id = None;
            }
        })),
    ]
}

/// Computes the retention that a claim requests wrongly.
fn with_retention(w: &mut Written<'_>, micros: impl Fn(u64) -> u64) {
    if let (Op::Claim(_), Some(kept)) = (w.op, w.after.retention) {
        w.after.retention = Some(Duration::from_micros(micros(kept.as_micros() as u64)));
    }
}

fn retentions() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, claim, completed within retention");
    vec![
        s("keeps results for 30 days at most").write(|w| with_retention(w, |by| by.min(30 * 86_400_000_000))),
        s("keeps results for ten years at most")
            .write(|w| with_retention(w, |by| by.min(3650 * 86_400_000_000))),
        s("keeps a retention in 32 bits of milliseconds")
            .write(|w| with_retention(w, |by| by % ((1 << 32) * 1000))),
        s("keeps a retention in 32 bits of seconds")
            .write(|w| with_retention(w, |by| by % ((1 << 32) * 1_000_000))),
        s("keeps a retention in whole seconds").write(|w| with_retention(w, |by| by / 1_000_000 * 1_000_000)),
        s("keeps a retention in single precision").write(|w| with_retention(w, |by| (by as f32) as u64)),
        s("takes a long retention for none").write(|w| {
            if w.after.retention.is_some_and(|kept| kept > 3660 * DAY) {
                w.after.retention = None;
            }
        }),
        s("lets the end of a retention wrap").guard(only!(Claim, |s| {
            if let (Completed, Some(at), Some(kept)) =
                (s.record.state, s.record.completed_at, s.record.retention)
                && (at.as_micros() as i64).checked_add(kept.as_micros() as i64).is_none()
            {
                s.record.retention = Some(Duration::ZERO);
            }
        })),
        s("drops results without a retention after a year").guard(only!(Claim, |s| {
            if s.record.state == Completed && s.record.retention.is_none() && idle(s) > 365 * DAY {
                s.record.state = Free;
            }
        })),
        s("drops results without a retention after a century").guard(only!(Claim, |s| {
            if s.record.state == Completed && s.record.retention.is_none() && idle(s) > 36_500 * DAY {
                s.record.state = Free;
            }
        })),
    ]
}

fn memories() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, what is remembered");
    vec![
        s("lets uncertain executions lapse after a week").guard(only!(Claim, |s| {
            if s.record.state == Executing && s.at.now.since(s.record.lease_until) > 7 * DAY {
                s.record.state = Free;
            }
        })),
        s("lets uncertain executions lapse after a year").guard(only!(Claim, |s| {
            if s.record.state == Executing && s.at.now.since(s.record.lease_until) > 365 * DAY {
                s.record.state = Free;
            }
        })),
        s("lets abandoned executions lapse after a month").guard(only!(Claim, |s| {
            if s.record.state == Executing && s.record.doubt.is_some() && idle(s) > 30 * DAY {
                s.record.state = Free;
            }
        })),
        s("frees what an operator has held for a month").guard(only!(Claim, |s| {
            if s.record.state == Reconciling && idle(s) > 30 * DAY {
                s.record.state = Free;
            }
        })),
        s("lets others take what an operator has held for a day").guard(only!(Reconcile, |s| {
            if let Op::Reconcile(op) = &mut s.op
                && s.at.now.since(s.record.last_now) > DAY
            {
                op.steal = true;
            }
        })),
        s("takes no decision a month after the key was taken").guard(only!(ForceComplete, |s| {
            if s.record.state == Reconciling && idle(s) > 30 * DAY {
                s.record.token = Token::NONE;
            }
        })),
        s("forgets claim ids after an hour").guard(|s| {
            if idle(s) > HOUR && s.record.state == Free {
                s.record.past_claims = Default::default();
            }
        }),
        s("forgets claim ids after a day, whatever the state").guard(|s| {
            if idle(s) > DAY {
                s.record.past_claims = Default::default();
            }
        }),
        s("forgets claim ids after a year").guard(|s| {
            if idle(s) > 365 * DAY {
                s.record.past_claims = Default::default();
            }
        }),
        s("forgets claim ids of what another holds after a day").guard(|s| {
            if idle(s) > DAY && s.record.state != Free {
                s.record.past_claims = Default::default();
            }
        }),
        s("does not know an abandonment that is repeated after a day").guard(only!(Abandon, |s| {
            if idle(s) > DAY {
                s.record.doubt = None;
            }
        })),
        s("forgets op ids after a day").guard(|s| {
            if s.record.decision.as_ref().is_some_and(|d| s.at.now.since(d.at) > DAY) {
                s.record.decision = None;
            }
        }),
        s("forgets op ids after a year").guard(|s| {
            if s.record.decision.as_ref().is_some_and(|d| s.at.now.since(d.at) > 365 * DAY) {
                s.record.decision = None;
            }
        }),
        s("forgets fingerprints after a day").guard(only!(Claim, |s| {
            if idle(s) > DAY {
                s.record.fingerprint = None;
            }
        })),
        s("does not know a completion that is repeated after a day").guard(only!(Complete, |s| {
            if s.record.state == Completed && idle(s) > DAY {
                s.record.result = None;
            }
        })),
    ]
}

fn tokens() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, fencing token");
    vec![
        s("keeps tokens in single precision").write(|w| draw(w, |token| (token as f32) as u64)),
        s("keeps tokens in 32 bits").write(|w| draw(w, |token| token % (1 << 32))),
        s("keeps tokens in 52 bits").write(|w| draw(w, |token| token % (1 << 52))),
        s("keeps tokens in steps of two above 2^52").write(|w| {
            draw(w, |token| if token > 1 << 52 { token & !1 } else { token });
        }),
        s("draws the last token again and again").flaw(StorageFault::TokensNeverEnd),
        s("draws no token after 2^52").write(|w| draw(w, |token| token.min(1 << 52))),
    ]
}

fn draw(w: &mut Written<'_>, through: impl Fn(u64) -> u64) {
    if w.after.token > w.before.token {
        w.after.token = Token::from_stored(through(w.after.token.get()));
    }
}

fn replies() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, claim, replies");
    vec![
        s("reports at most a day of a lease").reply(|_, stamped| {
            if let Reply::Claim(ClaimReply::InProgress { remaining, .. }) = &mut stamped.reply {
                *remaining = (*remaining).min(DAY);
            }
        }),
        s("reports at most a month of a retention").reply(|_, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining: Some(left), .. }) = &mut stamped.reply {
                *left = (*left).min(30 * DAY);
            }
        }),
        s("reports at most 49 days of a retention").reply(|_: &Record, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining: Some(left), .. }) = &mut stamped.reply {
                *left = Duration::from_millis(left.as_millis() as u64 % (1 << 32));
            }
        }),
    ]
}

//! The store around the kernel, broken in one place each.

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::ClaimReply;
use sentinel_core::{Payload, Recorded, Token};

use super::sabotage::{Flaw, Sabotage, Seen, Written};
use super::workers::{only, spoils};

pub(super) fn all() -> Vec<Sabotage> {
    [tokens(), results(), stamps(), replays(), flaws()].concat()
}

fn tokens() -> Vec<Sabotage> {
    let s = |name| Sabotage::new(name, "spec §2, fencing token");
    vec![
        s("uses a token again").write(spoils!(Claim, |w| if w.before.rev > 0 {
            w.after.token = w.before.token;
        })),
        s("draws tokens from a counter of the row").write(spoils!(Claim, |w| {
            w.after.token = Token::from_stored(w.before.token.get() + 1);
        })),
        s("draws tokens from the clock alone").write(spoils!(Claim, |w| {
            w.after.token = Token::from_stored(w.at.now.as_micros() + 1);
        })),
        s("draws a token for a begin").write(spoils!(Begin, |w| {
            w.after.token = Token::from_stored(w.before.token.get() + 1);
        })),
    ]
}

/// The result that was just recorded.
fn recorded<'a>(w: &'a mut Written<'_>) -> Option<&'a mut Recorded> {
    match w.op {
        Op::Complete(_) | Op::ForceComplete(_) => w.after.result.as_mut(),
        _ => None,
    }
}

fn results() -> Vec<Sabotage> {
    let s = |name| Sabotage::new(name, "spec §1, replayed byte for byte");
    vec![
        s("cuts results at 64 KiB").write(|w| {
            if let Some(result) = recorded(w) {
                result.payload.bytes.truncate(1 << 16);
            }
        }),
        s("ends results at the first zero").write(|w| {
            if let Some(result) = recorded(w) {
                let end = result.payload.bytes.iter().position(|byte| *byte == 0);
                result.payload.bytes.truncate(end.unwrap_or(usize::MAX));
            }
        }),
        s("keeps results as text").write(|w| {
            if let Some(result) = recorded(w) {
                let text = String::from_utf8_lossy(&result.payload.bytes).into_owned();
                result.payload.bytes = text.into_bytes().into();
            }
        }),
        s("trims results").write(|w| {
            if let Some(result) = recorded(w) {
                let trimmed = result.payload.bytes.trim_ascii_end().to_vec();
                result.payload.bytes = trimmed.into();
            }
        }),
        s("drops the code").write(|w| {
            if let Some(result) = recorded(w) {
                result.code = None;
            }
        }),
        s("drops the content type").write(|w| {
            if let Some(result) = recorded(w) {
                result.payload.content_type = Payload::empty().content_type;
            }
        }),
        s("takes failures for successes").write(|w| {
            if let Some(result) = recorded(w) {
                result.verdict = sentinel_core::Verdict::Success;
            }
        }),
        s("forgets that a result was omitted").write(|w| {
            if let Some(result) = recorded(w) {
                result.omitted = false;
            }
        }),
    ]
}

fn stamps() -> Vec<Sabotage> {
    let s = |name| Sabotage::new(name, "spec §2, rev");
    vec![
        s("says that every request changed the record").reply(|_, stamped| stamped.stamp.changed = true),
        s("says that no request changed the record").reply(|_, stamped| stamped.stamp.changed = false),
        s("tells the rev before the change").reply(|_, stamped| {
            stamped.stamp.rev -= u64::from(stamped.stamp.changed);
        }),
        s("reads the clock twice").reply(|_, stamped| {
            stamped.stamp.now = stamped.stamp.now.plus(std::time::Duration::from_micros(1));
        }),
        s("counts a change twice").write(|w| w.after.rev += 1),
    ]
}

fn replays() -> Vec<Sabotage> {
    let s = |name| Sabotage::new(name, "spec §3, claim, completed");
    vec![
        s("tells a retention that is longer than what remains").reply(|record, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining, .. }) = &mut stamped.reply {
                *remaining = record.retention;
            }
        }),
        s("tells that every result is kept for ever").reply(|_, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining, .. }) = &mut stamped.reply {
                *remaining = None;
            }
        }),
        s("tells a retention by what the caller asks for").guard(only!(Claim, |s| {
            let Op::Claim(claim) = &s.op else { return };
            s.record.retention = claim.retention;
        })),
    ]
}

fn flaws() -> Vec<Sabotage> {
    let s = |name, rule, flaw| Sabotage::new(name, rule).flaw(flaw);
    let (address, events, reads, purge) =
        ("spec §2, address", "spec §3, event", "spec §3, inspect, list, history", "spec §3, purge");
    vec![
        s("keeps executions and leases in one record", address, Flaw::KindsShareARecord),
        s("joins namespace and key by a separator", address, Flaw::NamespaceAndKeyAreJoined),
        s("folds the case of keys", address, Flaw::KeysAreFolded),
        s("cuts keys at 255 letters", address, Flaw::KeysAreCut),
        s("checks and writes in two steps", "store contract, atomicity", Flaw::NotAtomic),
        s("lets its clock run backwards", "spec §2, store now", Flaw::ClockOfItsOwn),
        s("forgets events", events, Flaw::EventsAreForgotten),
        s("doubles events", events, Flaw::EventsAreDoubled),
        s("logs heartbeats", events, Flaw::HeartbeatsAreLogged),
        s("logs refusals", events, Flaw::RefusalsAreLogged),
        s("returns the oldest events", reads, Flaw::HistoryIsTheOldest),
        s("returns events newest first", reads, Flaw::HistoryIsNewestFirst),
        s("orders pages by a collation", reads, Flaw::PagesAreUnordered),
        s("begins every page at the start", reads, Flaw::PagesIgnoreAfter),
        s("ignores the limit of a page", reads, Flaw::PagesIgnoreTheirLimit),
        s("shows tombstones", reads, Flaw::PagesShowTombstones),
        s("lists doubts as executing", reads, Flaw::PagesKnowNoDoubt),
        s("lists the bytes of results", reads, Flaw::PagesCarryBytes),
        s("rewrites records when they are read", reads, Flaw::ReadsSweep),
        s("rewrites records when they are waited for", reads, Flaw::WaitsSweep),
        s("waits for a change until there is one", "store contract, changed", Flaw::WaitsForEver),
        s("stops a batch at the first loss", "spec §3, heartbeat", Flaw::BatchStopsAtALoss),
        s("answers a batch in the order of keys", "spec §3, heartbeat", Flaw::BatchIsSorted),
        s("loses its tokens at a purge", purge, Flaw::FloorIsForgotten),
        s("purges what has not rested", purge, Flaw::PurgeIsHasty),
        s("purges within retention", purge, Flaw::PurgeIgnoresRetention),
        s("purges executions", purge, Flaw::PurgeTakesExecutions),
        s("purges what an operator holds", purge, Flaw::PurgeTakesDoubts),
        s("purges claims", purge, Flaw::PurgeTakesClaims),
        s("purges the tombstone of a reset", purge, Flaw::PurgeTakesResets),
        s("purges beyond its limit", purge, Flaw::PurgeIgnoresItsLimit),
        s("leaves no event of a purge", purge, Flaw::PurgeLeavesNoEvent),
        s("leaves the events of a purged record", purge, Flaw::PurgeKeepsEvents),
        s("purges other namespaces", purge, Flaw::PurgeTakesAllNamespaces),
        s("deletes in a dry run", purge, Flaw::DryRunsDelete),
    ]
}

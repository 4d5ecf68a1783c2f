//! The store around the kernel, with one flaw each.

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::ClaimReply;
use sentinel_core::{Payload, RecordedResult, Token};

use super::mutation::{Mutation, Snapshot, StorageFault, Written};
use super::workers::{only, written};

pub(super) fn all() -> Vec<Mutation> {
    [tokens(), results(), stamps(), replays(), flaws()].concat()
}

fn tokens() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, fencing token");
    vec![
        s("uses a token again").write(written!(Claim, |w| if w.before.rev > 0 {
            w.after.token = w.before.token;
        })),
        s("draws tokens from a counter of the row").write(written!(Claim, |w| {
            w.after.token = Token::from_stored(w.before.token.get() + 1);
        })),
        s("draws tokens from the clock alone").write(written!(Claim, |w| {
            w.after.token = Token::from_stored(w.at.now.as_micros() + 1);
        })),
        s("draws a token for a begin").write(written!(Begin, |w| {
            w.after.token = Token::from_stored(w.before.token.get() + 1);
        })),
    ]
}

/// The result that was just recorded.
fn recorded<'a>(w: &'a mut Written<'_>) -> Option<&'a mut RecordedResult> {
    match w.op {
        Op::Complete(_) | Op::ForceComplete(_) => w.after.result.as_mut(),
        _ => None,
    }
}

fn results() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §1, replayed byte for byte");
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
        s("records failures as successes").write(|w| {
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

fn stamps() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, rev");
    vec![
        s("reports that every request changed the record").reply(|_, stamped| stamped.stamp.changed = true),
        s("reports that no request changed the record").reply(|_, stamped| stamped.stamp.changed = false),
        s("reports the rev before the change").reply(|_, stamped| {
            stamped.stamp.rev -= u64::from(stamped.stamp.changed);
        }),
        s("reads the clock twice").reply(|_, stamped| {
            stamped.stamp.now = stamped.stamp.now.plus(std::time::Duration::from_micros(1));
        }),
        s("counts a change twice").write(|w| w.after.rev += 1),
    ]
}

fn replays() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §3, claim, completed");
    vec![
        s("reports a longer retention than what is left").reply(|record, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining, .. }) = &mut stamped.reply {
                *remaining = record.retention;
            }
        }),
        s("reports that every result has no retention").reply(|_, stamped| {
            if let Reply::Claim(ClaimReply::Completed { remaining, .. }) = &mut stamped.reply {
                *remaining = None;
            }
        }),
        s("reports the retention that the caller requests").guard(only!(Claim, |s| {
            let Op::Claim(claim) = &s.op else { return };
            s.record.retention = claim.retention;
        })),
    ]
}

fn flaws() -> Vec<Mutation> {
    let s = |name, rule, flaw| Mutation::new(name, rule).flaw(flaw);
    let (address, events, reads, purge) =
        ("spec §2, address", "spec §3, event", "spec §3, inspect, list, history", "spec §3, purge");
    vec![
        s("keeps executions and leases in one record", address, StorageFault::KindsShareARecord),
        s("joins namespace and key by a separator", address, StorageFault::NamespaceAndKeyAreJoined),
        s("folds the case of keys", address, StorageFault::KeysAreFolded),
        s("cuts keys at 255 letters", address, StorageFault::KeysAreCut),
        s("checks and writes in two steps", "store contract, atomicity", StorageFault::NotAtomic),
        s("lets its clock run backwards", "spec §2, store now", StorageFault::ClockOfItsOwn),
        s("forgets events", events, StorageFault::EventsAreForgotten),
        s("doubles events", events, StorageFault::EventsAreDoubled),
        s("logs heartbeats", events, StorageFault::HeartbeatsAreLogged),
        s("logs refusals", events, StorageFault::RefusalsAreLogged),
        s("returns the oldest events", reads, StorageFault::HistoryIsTheOldest),
        s("returns events newest first", reads, StorageFault::HistoryIsNewestFirst),
        s("orders pages by a collation", reads, StorageFault::PagesAreUnordered),
        s("begins every page at the start", reads, StorageFault::PagesIgnoreAfter),
        s("ignores the limit of a page", reads, StorageFault::PagesIgnoreTheirLimit),
        s("shows tombstones", reads, StorageFault::PagesShowTombstones),
        s("lists uncertain executions as executing", reads, StorageFault::PagesListUncertainAsExecuting),
        s("lists the bytes of results", reads, StorageFault::PagesCarryBytes),
        s("rewrites records when they are read", reads, StorageFault::ReadsSweep),
        s("rewrites records when they are waited for", reads, StorageFault::WaitsSweep),
        s("waits for a change until there is one", "store contract, changed", StorageFault::WaitsForAChange),
        s("stops a batch at the first loss", "spec §3, heartbeat", StorageFault::BatchStopsAtALoss),
        s(
            "returns the replies of a batch in the order of keys",
            "spec §3, heartbeat",
            StorageFault::BatchIsSorted,
        ),
        s("loses its tokens at a purge", purge, StorageFault::FloorIsForgotten),
        s("purges records within an hour of their last change", purge, StorageFault::PurgeIsHasty),
        s("purges within retention", purge, StorageFault::PurgeIgnoresRetention),
        s("purges executions", purge, StorageFault::PurgeTakesExecutions),
        s("purges what an operator holds", purge, StorageFault::PurgeDeletesUncertain),
        s("purges claims", purge, StorageFault::PurgeTakesClaims),
        s("purges the tombstone of a reset", purge, StorageFault::PurgeTakesResets),
        s("purges beyond its limit", purge, StorageFault::PurgeIgnoresItsLimit),
        s("leaves no event of a purge", purge, StorageFault::PurgeLeavesNoEvent),
        s("leaves the events of a purged record", purge, StorageFault::PurgeKeepsEvents),
        s("purges other namespaces", purge, StorageFault::PurgeTakesAllNamespaces),
        s("deletes in a dry run", purge, StorageFault::DryRunsDelete),
    ]
}

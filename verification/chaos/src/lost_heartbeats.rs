//! Heartbeats that a crash took back.
//!
//! Those of executions are the one thing that may be answered before it is durable (spec §3): no worker takes an
//! execution over, so no run is harmed. In a history they show as revs that are given a second time.

use sentinel::kernel::Op;
use sentinel::record::Address;
use sentinel::store::operation::Stamp;
use sentinel_conformance::Entry;

/// Takes the heartbeats of one record that were lost out of its history, and reads that saw them. `rev` is the record's
/// at the end. Nothing else is taken out: a lost grant, result or decision is left to be found.
pub(crate) fn remove_lost(entries: &mut Vec<Entry>, address: &Address, rev: u64) {
    let of_it: Vec<Entry> = entries.iter().filter(|entry| entry.address == *address).cloned().collect();
    // What a heartbeat without an answer did may have been seen, too.
    let lost = of_it.iter().filter(|e| is_heartbeat(e) && (e.returned.is_none() || is_gone(e, &of_it, rev)));
    let lost: Vec<u64> = lost.map(|beat| beat.invoked).collect();
    let saw_lost = |entry: &Entry| lost.iter().any(|beat| entry.returned.is_some_and(|at| at > *beat));
    let none_of_it = |entry: &Entry| {
        is_gone(entry, &of_it, rev) && (is_heartbeat(entry) || is_read(entry) && saw_lost(entry))
    };
    entries.retain(|entry| entry.address != *address || !none_of_it(entry));
}

/// Whether the rev that it was answered with was given again, or is not there at the end, or is higher than a later
/// reply shows.
fn is_gone(entry: &Entry, all: &[Entry], rev: u64) -> bool {
    let Some((stamp, returned)) = stamp(entry).zip(entry.returned) else { return false };
    let proves = |other: &Entry| {
        let Some(theirs) = self::stamp(other) else { return false };
        let again = theirs.changed && theirs.rev == stamp.rev;
        // A reply that did not read the record has no rev.
        let went_back = again || theirs.rev > 0 && theirs.rev < stamp.rev;
        // Of two that were under way at once, the one that lasts has the rev.
        let at_once = other.invoked < returned && other.returned.is_some_and(|at| at > entry.invoked);
        other.invoked > returned && went_back
            || at_once && again && is_heartbeat(entry) && !is_heartbeat(other)
    };
    stamp.rev > rev || all.iter().any(proves)
}

fn is_heartbeat(entry: &Entry) -> bool {
    matches!(entry.op, Op::Heartbeat(_))
}

fn is_read(entry: &Entry) -> bool {
    stamp(entry).is_some_and(|stamp| !stamp.changed)
}

fn stamp(entry: &Entry) -> Option<Stamp> {
    Some(entry.reply.as_ref()?.as_ref().ok()?.stamp)
}

#[cfg(test)]
mod tests {
    use sentinel::kernel::Reply;
    use sentinel::record::{ClaimId, Grant, State, Token};
    use sentinel::store::StoreTime;
    use sentinel::store::operation::*;
    use sentinel::{Key, Namespace};

    use super::*;

    const GRANT: Grant = Grant { token: Token::NONE, claim_id: ClaimId::from_bits(1) };

    fn address() -> Address {
        Address::execution(Namespace::new("test").unwrap(), Key::new("key").unwrap())
    }

    /// Sent at an instant, and answered soon after.
    fn entry(op: impl Into<Op>, at: u64, rev: u64, changed: bool) -> Entry {
        let stamp = Stamp { rev, changed, ..Stamp::unseen(StoreTime::ZERO) };
        let reply = Reply::Begin(BeginReply::Superseded(Current { state: State::Free, token: Token::NONE }));
        let reply = Some(Ok(Stamped { reply, stamp }));
        Entry { caller: 0, address: address(), op: op.into(), invoked: at, returned: Some(at + 1), reply }
    }

    fn beat(at: u64, rev: u64) -> Entry {
        entry(Heartbeat { grant: GRANT }, at, rev, true)
    }

    fn begin(at: u64, rev: u64, changed: bool) -> Entry {
        entry(Begin { grant: GRANT }, at, rev, changed)
    }

    fn left(mut entries: Vec<Entry>, rev: u64) -> Vec<u64> {
        remove_lost(&mut entries, &address(), rev);
        entries.iter().map(|entry| entry.invoked).collect()
    }

    #[test]
    fn a_heartbeat_whose_rev_was_given_again_is_removed_with_the_reads_of_it() {
        let (first, seen, again) = (beat(10, 2), begin(20, 2, false), beat(30, 2));
        assert_eq!(left(vec![begin(0, 1, true), first.clone(), seen.clone(), again], 2), [0, 30]);
        assert_eq!(left(vec![begin(0, 1, true), first, seen], 1), [0]);
    }

    #[test]
    fn a_heartbeat_that_a_later_reply_does_not_show_is_removed() {
        let under_way = Entry { returned: Some(50), ..begin(15, 2, true) };
        assert_eq!(
            left(vec![begin(0, 1, true), beat(10, 2), begin(20, 1, false), under_way.clone()], 2),
            [0, 20, 15]
        );
        assert_eq!(
            left(vec![begin(0, 1, true), Entry { returned: Some(50), ..beat(10, 2) }, under_way], 2),
            [0, 15]
        );
    }

    #[test]
    fn other_lost_changes_stay_in_the_history() {
        let lost = vec![begin(0, 1, true), begin(10, 2, true), begin(20, 2, false), beat(30, 2)];
        assert_eq!(left(lost, 2), [0, 10, 20, 30]);
        let not_there = vec![begin(0, 1, true), begin(10, 2, true)];
        assert_eq!(left(not_there, 1), [0, 10]);
    }

    #[test]
    fn a_heartbeat_without_a_reply_stays_and_the_reads_of_it_are_removed() {
        let silent = Entry { returned: None, reply: None, ..beat(10, 2) };
        let (seen, again) = (begin(20, 2, false), begin(30, 2, true));
        assert_eq!(left(vec![begin(0, 1, true), silent, seen, again], 2), [0, 10, 30]);
    }
}

//! The judge that does not trust the stamps: is there any order of the requests that real time allows, and in which the
//! kernel gives these replies? It takes a reply's clock reading and nothing else of its stamp.

use std::fmt::Write as _;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, Kind, Record, StoreTime, Token};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::record::Entry;

/// What is asked of one record; the last of all is a read.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Op(Op),
    Read,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Reply { reply: Reply, now: StoreTime },
    Record(Box<Record>),
}

/// The kernel as a sequential object.
#[derive(Debug, Clone)]
struct Sequential {
    record: Record,
    kind: Kind,
}

impl SequentialSpec for Sequential {
    type Op = Asked;
    type Ret = Told;

    /// For a request without a reply, which the histories judged here do not have: it did nothing.
    fn invoke(&mut self, _: &Asked) -> Told {
        Told::Record(Box::new(self.record.clone()))
    }

    fn is_valid_step(&mut self, asked: &Asked, told: &Told) -> bool {
        match (asked, told) {
            (Asked::Op(op), Told::Reply { reply, now }) => {
                let at = Reading { kind: self.kind, now: *now, floor: Token::NONE };
                // A reading never goes below the record's last one.
                *now >= self.record.last_now
                    && op.apply(&mut self.record, at).is_ok_and(|outcome| outcome.stamped.reply == *reply)
            }
            (Asked::Read, Told::Record(record)) => **record == self.record,
            _ => false,
        }
    }
}

/// Judges all that was recorded of one address, whose namespace was never purged. The search is exponential in the
/// number of requests under way at once: for histories of a dozen or two. False: it has an unanswered request, and is
/// let pass.
pub(super) fn linearizable(address: &Address, entries: &[Entry], end: &Record) -> Result<bool, String> {
    enum Moment<'a> {
        Sent(&'a Op),
        Answered(&'a Stamped<Reply>),
    }
    let mut moments = Vec::new();
    for entry in entries.iter().filter(|entry| entry.address == *address) {
        let (Some(returned), Some(Ok(stamped))) = (entry.returned, &entry.answer) else { return Ok(false) };
        if stamped.reply == Reply::Heartbeat(HeartbeatReply::Unknown) {
            continue;
        }
        moments.push((entry.invoked, entry.caller, Moment::Sent(&entry.op)));
        moments.push((returned, entry.caller, Moment::Answered(stamped)));
    }
    moments.sort_by_key(|(order, _, _)| *order);
    let mut tester = LinearizabilityTester::new(Sequential { record: Record::absent(), kind: address.kind });
    for (_, caller, moment) in moments {
        let noted = match moment {
            Moment::Sent(op) => tester.on_invoke(caller, Asked::Op(op.clone())).map(drop),
            Moment::Answered(stamped) => {
                let told = Told::Reply { reply: stamped.reply.clone(), now: stamped.stamp.now };
                tester.on_return(caller, told).map(drop)
            }
        };
        noted?;
    }
    let reader = u32::MAX;
    tester.on_invoke(reader, Asked::Read)?.on_return(reader, Told::Record(Box::new(end.clone())))?;
    if tester.is_consistent() {
        return Ok(true);
    }
    let mut text = format!("no order of these requests explains the replies and the record of {address}:\n");
    for entry in entries.iter().filter(|entry| entry.address == *address) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{entry}");
    }
    let _ = writeln!(text, "at the end: {end:?}");
    Err(text)
}

//! The checker that does not use the stamps: is there any order of the requests that real time allows, and in which the
//! kernel gives these replies? Of a reply's stamp it uses only the clock reading.

use std::fmt::Write as _;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, Kind, Record, StoreTime, Token};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::recorder::Entry;

/// A request for one record; the last of all is a read.
#[derive(Debug, Clone, PartialEq)]
enum Request {
    Op(Op),
    Read,
}

#[derive(Debug, Clone, PartialEq)]
enum Return {
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
    type Op = Request;
    type Ret = Return;

    /// For a request without a reply, which the histories checked here do not have: it did nothing.
    fn invoke(&mut self, _: &Request) -> Return {
        Return::Record(Box::new(self.record.clone()))
    }

    fn is_valid_step(&mut self, request: &Request, returned_value: &Return) -> bool {
        match (request, returned_value) {
            (Request::Op(op), Return::Reply { reply, now }) => {
                let at = Reading { kind: self.kind, now: *now, floor: Token::NONE };
                // A reading is never before the record's last one.
                *now >= self.record.last_now
                    && op.apply(&mut self.record, at).is_ok_and(|outcome| outcome.stamped.reply == *reply)
            }
            (Request::Read, Return::Record(record)) => **record == self.record,
            _ => false,
        }
    }
}

/// Checks all that was recorded of one address, whose namespace was never purged. The search is exponential in the
/// number of concurrent requests: for histories of a dozen or two. False: it has an unanswered request, and is not
/// checked.
pub(super) fn linearizable(address: &Address, entries: &[Entry], end: &Record) -> Result<bool, String> {
    enum HistoryEvent<'a> {
        Invoked(&'a Op),
        Returned(&'a Stamped<Reply>),
    }
    let mut moments = Vec::new();
    for entry in entries.iter().filter(|entry| entry.address == *address) {
        let (Some(returned), Some(Ok(stamped))) = (entry.returned, &entry.reply) else { return Ok(false) };
        if stamped.reply == Reply::Heartbeat(HeartbeatReply::Unknown) {
            continue;
        }
        moments.push((entry.invoked, entry.caller, HistoryEvent::Invoked(&entry.op)));
        moments.push((returned, entry.caller, HistoryEvent::Returned(stamped)));
    }
    moments.sort_by_key(|(order, _, _)| *order);
    let mut tester = LinearizabilityTester::new(Sequential { record: Record::absent(), kind: address.kind });
    for (_, caller, moment) in moments {
        let noted = match moment {
            HistoryEvent::Invoked(op) => tester.on_invoke(caller, Request::Op(op.clone())).map(drop),
            HistoryEvent::Returned(stamped) => {
                let returned_value = Return::Reply { reply: stamped.reply.clone(), now: stamped.stamp.now };
                tester.on_return(caller, returned_value).map(drop)
            }
        };
        noted?;
    }
    let reader = u32::MAX;
    tester.on_invoke(reader, Request::Read)?.on_return(reader, Return::Record(Box::new(end.clone())))?;
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

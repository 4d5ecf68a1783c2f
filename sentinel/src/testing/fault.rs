//! The faults of a world, and the points at which they occur.

use std::fmt;

/// A point at which a fault can occur.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FaultPoint {
    /// A request to the store, by the name of its operation.
    Store(&'static str),
    /// An effect, by its key.
    Effect(String),
    /// A point that the function marked.
    Marked(String),
}

impl FaultPoint {
    /// The faults that can occur at this point.
    fn faults(&self) -> &'static [Fault] {
        use Fault::{CrashAfter, CrashBefore, LandLate, LateCopy, LoseReply, LoseRequest};
        match self {
            // A late copy of a batch of heartbeats is just another heartbeat.
            Self::Store("heartbeat") => &[CrashAfter, CrashBefore, LoseReply, LoseRequest],
            Self::Effect(_) => &[CrashAfter, CrashBefore, LoseReply, LoseRequest, LandLate],
            Self::Store(_) => &[CrashAfter, CrashBefore, LoseReply, LoseRequest, LateCopy],
            Self::Marked(_) => &[CrashBefore],
        }
    }
}

impl fmt::Display for FaultPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(operation) => f.write_str(operation),
            Self::Effect(key) => write!(f, "effect({key})"),
            Self::Marked(name) => write!(f, "place({name})"),
        }
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    CrashBefore,
    /// The request was carried out; its reply does not arrive.
    CrashAfter,
    LoseRequest,
    LoseReply,
    /// The request succeeds. A copy of it arrives when all deadlines are over, and another one later.
    LateCopy,
    /// The caller gets no answer in time, and the effect lands later.
    LandLate,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::LoseRequest => "lose-request",
            Self::LoseReply => "lose-reply",
            Self::LateCopy => "late-copy",
            Self::LandLate => "land-late",
        })
    }
}

/// The nth visit of a process to a fault point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visit {
    pub(super) process: u32,
    pub(super) point: FaultPoint,
    pub(super) nth: u32,
}

/// A fault, and the visit at which it occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Injection {
    pub(super) visit: Visit,
    pub(super) fault: Fault,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Visit { process, point, nth } = &self.visit;
        write!(f, "{process}:{point}#{nth}={}", self.fault)
    }
}

/// All faults of a world, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan(pub(super) Vec<Injection>);

impl Plan {
    /// The fault at a visit, if there is one.
    pub(super) fn at(&self, visit: &Visit) -> Option<Fault> {
        self.0.iter().find(|injection| injection.visit == *visit).map(|injection| injection.fault)
    }

    /// The plans with one more fault, at one of the visits after the last fault of this plan.
    pub(super) fn followed_by(&self, visits: &[Visit]) -> Vec<Self> {
        let last = self.0.last().and_then(|last| visits.iter().position(|visit| *visit == last.visit));
        let mut next = Vec::new();
        for (at, visit) in visits.iter().enumerate().skip(last.map_or(0, |at| at + 1)) {
            if is_one_of_many(visits, at) {
                continue;
            }
            for fault in visit.point.faults() {
                let injection = Injection { visit: visit.clone(), fault: *fault };
                next.push(Self(self.0.iter().cloned().chain([injection]).collect()));
            }
        }
        next
    }

    /// Whether this is the named plan or a prefix of it.
    pub(super) fn leads_to(&self, named: &str) -> bool {
        named.strip_prefix(&self.to_string()).is_some_and(|rest| rest.is_empty() || rest.starts_with(JOINT))
    }
}

/// Whether a visit is a heartbeat between two heartbeats. A fault there has the same consequences as at the first or
/// the last of them.
fn is_one_of_many(visits: &[Visit], at: usize) -> bool {
    let process = visits[at].process;
    let beats = |at: Option<usize>| {
        let visit = at.and_then(|at| visits.get(at));
        visit.is_some_and(|visit| visit.point == FaultPoint::Store("heartbeat") && visit.process == process)
    };
    beats(at.checked_sub(1)) && beats(Some(at)) && beats(Some(at + 1))
}

const JOINT: &str = " + ";

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, injection) in self.0.iter().enumerate() {
            write!(f, "{}{injection}", if n == 0 { "" } else { JOINT })?;
        }
        Ok(())
    }
}

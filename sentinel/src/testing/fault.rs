//! The faults of a world, and the points at which they occur.

use std::fmt;

/// A place at which a fault can occur.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A request to the store, by the name of its operation.
    Store(&'static str),
    /// An effect, by its key.
    Effect(String),
    /// A point that the function marked.
    Here(String),
}

impl Place {
    /// The faults that can occur at this place.
    fn faults(&self) -> &'static [Fault] {
        use Fault::{CrashAfter, CrashBefore, LandLate, LateCopy, LoseReply, LoseRequest};
        match self {
            // A late copy of a batch of heartbeats is just another heartbeat.
            Self::Store("heartbeat") => &[CrashAfter, CrashBefore, LoseReply, LoseRequest],
            Self::Effect(_) => &[CrashAfter, CrashBefore, LoseReply, LoseRequest, LandLate],
            Self::Store(_) => &[CrashAfter, CrashBefore, LoseReply, LoseRequest, LateCopy],
            Self::Here(_) => &[CrashBefore],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(operation) => f.write_str(operation),
            Self::Effect(key) => write!(f, "effect({key})"),
            Self::Here(name) => write!(f, "place({name})"),
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

/// The nth visit of a process to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) process: u32,
    pub(super) place: Place,
    pub(super) nth: u32,
}

/// A fault, and the point at which it occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) point: Point,
    pub(super) fault: Fault,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { process, place, nth } = &self.point;
        write!(f, "{process}:{place}#{nth}={}", self.fault)
    }
}

/// All faults of a world, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan(pub(super) Vec<Strike>);

impl Plan {
    /// The fault at a point, if there is one.
    pub(super) fn at(&self, point: &Point) -> Option<Fault> {
        self.0.iter().find(|strike| strike.point == *point).map(|strike| strike.fault)
    }

    /// The plans with one more fault, at one of the points after the last fault of this plan.
    pub(super) fn followed_by(&self, points: &[Point]) -> Vec<Self> {
        let struck = self.0.last().and_then(|last| points.iter().position(|point| *point == last.point));
        let mut next = Vec::new();
        for (at, point) in points.iter().enumerate().skip(struck.map_or(0, |at| at + 1)) {
            if is_one_of_many(points, at) {
                continue;
            }
            for fault in point.place.faults() {
                let strike = Strike { point: point.clone(), fault: *fault };
                next.push(Self(self.0.iter().cloned().chain([strike]).collect()));
            }
        }
        next
    }

    /// Whether this is the named plan or a prefix of it.
    pub(super) fn leads_to(&self, named: &str) -> bool {
        named.strip_prefix(&self.to_string()).is_some_and(|rest| rest.is_empty() || rest.starts_with(JOINT))
    }
}

/// Whether a point is a heartbeat between two heartbeats. A fault there has the same consequences as at the first or
/// the last of them.
fn is_one_of_many(points: &[Point], at: usize) -> bool {
    let process = points[at].process;
    let beats = |at: Option<usize>| {
        let point = at.and_then(|at| points.get(at));
        point.is_some_and(|point| point.place == Place::Store("heartbeat") && point.process == process)
    };
    beats(at.checked_sub(1)) && beats(Some(at)) && beats(Some(at + 1))
}

const JOINT: &str = " + ";

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, strike) in self.0.iter().enumerate() {
            write!(f, "{}{strike}", if n == 0 { "" } else { JOINT })?;
        }
        Ok(())
    }
}

//! What can go wrong, and where.

use std::fmt;

/// Where something can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A request to the store, by its name.
    Store(&'static str),
    /// An effect, by its key.
    Effect(String),
    /// A place that the function names.
    Here(String),
}

impl Place {
    /// What can go wrong there.
    fn faults(&self) -> &'static [Fault] {
        use Fault::{CrashAfter, CrashBefore, LandLate, LateCopy, LoseReply, LoseRequest};
        match self {
            // A batch of heartbeats that arrives again is a heartbeat.
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

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    CrashBefore,
    /// It was carried out; nobody hears the reply.
    CrashAfter,
    LoseRequest,
    LoseReply,
    /// Nothing goes wrong now; the same request arrives again when all deadlines are over, and once more later.
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

/// The nth time that a process came to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) process: u32,
    pub(super) place: Place,
    pub(super) nth: u32,
}

/// A fault, and where it strikes.
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

/// All that goes wrong in a world, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan(pub(super) Vec<Strike>);

impl Plan {
    /// What goes wrong at a point.
    pub(super) fn at(&self, point: &Point) -> Option<Fault> {
        self.0.iter().find(|strike| strike.point == *point).map(|strike| strike.fault)
    }

    /// The plans with one more fault, at one of the points that came after the last fault of this one.
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

    /// Whether it was named, or begins what was named.
    pub(super) fn leads_to(&self, named: &str) -> bool {
        named.strip_prefix(&self.to_string()).is_some_and(|rest| rest.is_empty() || rest.starts_with(JOINT))
    }
}

/// Whether a point is a heartbeat between two heartbeats: what goes wrong there differs in nothing from the same at the
/// first or the last of them.
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

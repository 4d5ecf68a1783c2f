//! The price list. Whoever makes something cheaper lowers its line: the failing test says to what.

use sentinel_testbed::{Price, Unit};

/// What is counted. A call of a script is a round trip, and the commands include those that scripts give.
pub(crate) const UNITS: [Unit; 3] = [
    Unit { name: "calls of scripts", slack: 0 },
    Unit { name: "commands of the server", slack: 0 },
    Unit { name: "bytes of the append-only file", slack: 4 },
];

type Line = Price<3>;

pub(crate) const CLAIM: Line = Price::new("a fresh claim", [1, 7, 686]);
pub(crate) const CLAIM_64: Line = Price::new("64 fresh claims in company", [1, 7, 30637]);
pub(crate) const COMPLETE: Line = Price::new("a completion", [1, 7, 726]);
pub(crate) const COMPLETE_64: Line = Price::new("64 completions in company", [1, 70, 38706]);
pub(crate) const REPLAY: Line = Price::new("a replay", [1, 4, 0]);
pub(crate) const REPLAY_64: Line = Price::new("64 replays in company", [1, 4, 0]);
pub(crate) const CONTENDED: Line = Price::new("a claim of what somebody executes", [1, 4, 0]);
pub(crate) const CONTENDED_64: Line = Price::new("64 claims of what somebody executes", [1, 4, 0]);
pub(crate) const BEGIN: Line = Price::new("a begin", [1, 5, 443]);
pub(crate) const BEGIN_64: Line = Price::new("64 begins in company", [1, 5, 27434]);
pub(crate) const LEASE: Line = Price::new("a claim of a free lease", [1, 7, 850]);
pub(crate) const LEASE_64: Line = Price::new("64 claims of free leases in company", [1, 7, 42110]);
pub(crate) const RELEASE: Line = Price::new("a release", [1, 8, 757]);
pub(crate) const RELEASE_64: Line = Price::new("64 releases in company", [1, 71, 36170]);
pub(crate) const CANCEL: Line = Price::new("a cancel", [1, 8, 756]);
pub(crate) const CANCEL_64: Line = Price::new("64 cancels in company", [1, 71, 36104]);
pub(crate) const ABANDON: Line = Price::new("an abandon", [1, 6, 459]);
pub(crate) const ABANDON_64: Line = Price::new("64 abandons in company", [1, 69, 28479]);
pub(crate) const BEAT: Line = Price::new("a heartbeat of an execution", [1, 5, 157]);
pub(crate) const BEAT_LEASE: Line = Price::new("a heartbeat of a lease", [1, 5, 157]);
pub(crate) const BEAT_1000: Line = Price::new("a heartbeat of 1,000 executions", [4, 2012, 156179]);
pub(crate) const BEAT_LEASE_1000: Line = Price::new("a heartbeat of 1,000 leases", [4, 2012, 156179]);

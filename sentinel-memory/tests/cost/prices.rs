//! The price list. Whoever makes something cheaper lowers its line: the failing test says to what.

use sentinel_testbed::{Price, Unit};

/// What is counted, in a build without optimisation: a build with it takes away some allocations, and adds none.
pub(crate) const UNITS: [Unit; 2] =
    [Unit { name: "allocations", slack: 0 }, Unit { name: "bytes allocated", slack: 2 }];

type Line = Price<2>;

pub(crate) const CLAIM: Line = Price::new("a fresh claim", [3, 1293]);
pub(crate) const COMPLETE: Line = Price::new("a completion", [2, 57]);
pub(crate) const REPLAY: Line = Price::new("a replay", [1, 32]);
pub(crate) const CONTENDED: Line = Price::new("a claim of what somebody executes", [1, 32]);
pub(crate) const BEGIN: Line = Price::new("a begin", [1, 32]);
pub(crate) const LEASE: Line = Price::new("a claim of a free lease", [2, 1131]);
pub(crate) const RELEASE: Line = Price::new("a release", [1, 32]);
pub(crate) const CANCEL: Line = Price::new("a cancel", [1, 32]);
pub(crate) const BEAT: Line = Price::new("a heartbeat of one lease", [2, 227]);
pub(crate) const BEAT_1000: Line = Price::new("a heartbeat of 1,000 leases", [10, 99126]);
pub(crate) const INSPECT: Line = Price::new("an inspection", [1, 24]);
pub(crate) const ONCE: Line = Price::new("a fresh once", [12, 4684]);
pub(crate) const ONCE_REPLAYED: Line = Price::new("a replayed once", [3, 96]);
pub(crate) const LEASE_HELD: Line = Price::new("a lease acquired and released", [6, 1608]);

//! The price list. Whoever makes something cheaper lowers its line: the failing test says to what.

use sentinel_testbed::{Price, Unit};

/// What is counted. Each commit is one sync of the log; what it writes are whole pages, a frame of the log for each.
pub(crate) const UNITS: [Unit; 2] =
    [Unit { name: "commits", slack: 0 }, Unit { name: "bytes of the log", slack: 3 }];

type Line = Price<2>;

pub(crate) const CLAIM: Line = Price::new("a fresh claim", [1, 19570]);
pub(crate) const CLAIM_64: Line = Price::new("64 fresh claims in company", [1, 131840]);
pub(crate) const COMPLETE: Line = Price::new("a completion", [1, 6180]);
pub(crate) const COMPLETE_64: Line = Price::new("64 completions in company", [1, 82400]);
pub(crate) const REPLAY: Line = Price::new("a replay", [0, 0]);
pub(crate) const REPLAY_64: Line = Price::new("64 replays in company", [0, 0]);
pub(crate) const CONTENDED: Line = Price::new("a claim of what somebody executes", [0, 0]);
pub(crate) const CONTENDED_64: Line = Price::new("64 claims of what somebody executes", [0, 0]);
pub(crate) const BEGIN: Line = Price::new("a begin", [1, 8498]);
pub(crate) const BEGIN_64: Line = Price::new("64 begins in company", [1, 74160]);
pub(crate) const LEASE: Line = Price::new("a claim of a free lease", [1, 18283]);
pub(crate) const LEASE_64: Line = Price::new("64 claims of free leases in company", [1, 123600]);
pub(crate) const RELEASE: Line = Price::new("a release", [1, 10558]);
pub(crate) const RELEASE_64: Line = Price::new("64 releases in company", [1, 70040]);
pub(crate) const CANCEL: Line = Price::new("a cancel", [1, 10558]);
pub(crate) const CANCEL_64: Line = Price::new("64 cancels in company", [1, 70040]);
pub(crate) const ABANDON: Line = Price::new("an abandon", [1, 8498]);
pub(crate) const ABANDON_64: Line = Price::new("64 abandons in company", [1, 74160]);
pub(crate) const BEAT: Line = Price::new("a heartbeat of an execution", [1, 4182]);
pub(crate) const BEAT_LEASE: Line = Price::new("a heartbeat of a lease", [1, 4182]);
pub(crate) const BEAT_1000: Line = Price::new("a heartbeat of 1,000 executions", [1, 593280]);
pub(crate) const BEAT_LEASE_1000: Line = Price::new("a heartbeat of 1,000 leases", [1, 593280]);

//! The cost budgets. A change that makes an operation cheaper lowers its line: the failing test prints the new one.

use sentinel_testbed::{CostBudget, Unit};

/// What is counted. Each commit is one sync of the log; what it writes are whole pages, a frame of the log for each.
pub(crate) const UNITS: [Unit; 2] =
    [Unit { name: "commits", slack: 0 }, Unit { name: "bytes of the log", slack: 3 }];

type Budget = CostBudget<2>;

pub(crate) const CLAIM: Budget = CostBudget::new("a fresh claim", [1, 19570]);
pub(crate) const CLAIM_64: Budget = CostBudget::new("64 fresh claims in a batch", [1, 131840]);
pub(crate) const COMPLETE: Budget = CostBudget::new("a completion", [1, 6180]);
pub(crate) const COMPLETE_64: Budget = CostBudget::new("64 completions in a batch", [1, 82400]);
pub(crate) const REPLAY: Budget = CostBudget::new("a replay", [0, 0]);
pub(crate) const REPLAY_64: Budget = CostBudget::new("64 replays in a batch", [0, 0]);
pub(crate) const CONTENDED: Budget = CostBudget::new("a claim of a key that is executing", [0, 0]);
pub(crate) const CONTENDED_64: Budget = CostBudget::new("64 claims of a key that is executing", [0, 0]);
pub(crate) const BEGIN: Budget = CostBudget::new("a begin", [1, 8498]);
pub(crate) const BEGIN_64: Budget = CostBudget::new("64 begins in a batch", [1, 74160]);
pub(crate) const LEASE: Budget = CostBudget::new("a claim of a free lease", [1, 18283]);
pub(crate) const LEASE_64: Budget = CostBudget::new("64 claims of free leases in a batch", [1, 123600]);
pub(crate) const RELEASE: Budget = CostBudget::new("a release", [1, 10558]);
pub(crate) const RELEASE_64: Budget = CostBudget::new("64 releases in a batch", [1, 70040]);
pub(crate) const CANCEL: Budget = CostBudget::new("a cancel", [1, 10558]);
pub(crate) const CANCEL_64: Budget = CostBudget::new("64 cancels in a batch", [1, 70040]);
pub(crate) const ABANDON: Budget = CostBudget::new("an abandon", [1, 8498]);
pub(crate) const ABANDON_64: Budget = CostBudget::new("64 abandons in a batch", [1, 74160]);
pub(crate) const BEAT: Budget = CostBudget::new("a heartbeat of an execution", [1, 4182]);
pub(crate) const BEAT_LEASE: Budget = CostBudget::new("a heartbeat of a lease", [1, 4182]);
pub(crate) const BEAT_1000: Budget = CostBudget::new("a heartbeat of 1,000 executions", [1, 593280]);
pub(crate) const BEAT_LEASE_1000: Budget = CostBudget::new("a heartbeat of 1,000 leases", [1, 593280]);

//! The cost budgets. A change that makes an operation cheaper lowers its line: the failing test prints the new one.

use sentinel_testbed::{CostBudget, Unit};

/// What is counted. A call of a script is a round trip, and the commands include those that scripts give.
pub(crate) const UNITS: [Unit; 3] = [
    Unit { name: "calls of scripts", slack: 0 },
    Unit { name: "commands of the server", slack: 0 },
    Unit { name: "bytes of the append-only file", slack: 4 },
];

type Budget = CostBudget<3>;

// A record has 19 bytes of late effects and accepted content types, the event of its claim 10, that of an abandon 8.
pub(crate) const CLAIM: Budget = CostBudget::new("a fresh claim", [1, 7, 715]);
pub(crate) const CLAIM_64: Budget = CostBudget::new("64 fresh claims in a batch", [1, 7, 32530]);
pub(crate) const COMPLETE: Budget = CostBudget::new("a completion", [1, 7, 755]);
pub(crate) const COMPLETE_64: Budget = CostBudget::new("64 completions in a batch", [1, 70, 40599]);
pub(crate) const REPLAY: Budget = CostBudget::new("a replay", [1, 4, 0]);
pub(crate) const REPLAY_64: Budget = CostBudget::new("64 replays in a batch", [1, 4, 0]);
pub(crate) const CONTENDED: Budget = CostBudget::new("a claim of a key that is executing", [1, 4, 0]);
pub(crate) const CONTENDED_64: Budget = CostBudget::new("64 claims of a key that is executing", [1, 4, 0]);
pub(crate) const BEGIN: Budget = CostBudget::new("a begin", [1, 5, 472]);
pub(crate) const BEGIN_64: Budget = CostBudget::new("64 begins in a batch", [1, 5, 29327]);
pub(crate) const LEASE: Budget = CostBudget::new("a claim of a free lease", [1, 7, 889]);
pub(crate) const LEASE_64: Budget = CostBudget::new("64 claims of free leases in a batch", [1, 7, 44656]);
pub(crate) const RELEASE: Budget = CostBudget::new("a release", [1, 8, 786]);
pub(crate) const RELEASE_64: Budget = CostBudget::new("64 releases in a batch", [1, 71, 38062]);
pub(crate) const CANCEL: Budget = CostBudget::new("a cancel", [1, 8, 785]);
pub(crate) const CANCEL_64: Budget = CostBudget::new("64 cancels in a batch", [1, 71, 37997]);
pub(crate) const ABANDON: Budget = CostBudget::new("an abandon", [1, 6, 497]);
pub(crate) const ABANDON_64: Budget = CostBudget::new("64 abandons in a batch", [1, 69, 30894]);
pub(crate) const BEAT: Budget = CostBudget::new("a heartbeat of an execution", [1, 5, 157]);
pub(crate) const BEAT_LEASE: Budget = CostBudget::new("a heartbeat of a lease", [1, 5, 157]);
pub(crate) const BEAT_1000: Budget = CostBudget::new("a heartbeat of 1,000 executions", [4, 2012, 156179]);
pub(crate) const BEAT_LEASE_1000: Budget = CostBudget::new("a heartbeat of 1,000 leases", [4, 2012, 156179]);

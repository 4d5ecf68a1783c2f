//! The cost budgets. A change that makes an operation cheaper lowers its line: the failing test prints the new one.

use sentinel_testbed::{CostBudget, Unit};

/// What is counted. A transaction that writes is one commit, and one wait for the disk.
const UNITS: [Unit; 4] = [
    Unit { name: "round trips", slack: 0 },
    Unit { name: "statements", slack: 0 },
    Unit { name: "transactions that write", slack: 0 },
    // Of a row that was updated, the log has only the bytes that are different: of a time, one more where more time
    // went by. The budgets of a thousand heartbeats leave room for that.
    Unit { name: "bytes of WAL", slack: 5 },
];

/// The units of transactions that run at the same time: how many old row versions one of them prunes depends on which
/// others have ended by then, so their bytes differ from round to round by a fifth.
const UNITS_BESIDE: [Unit; 4] = [UNITS[0], UNITS[1], UNITS[2], Unit { name: "bytes of WAL", slack: 20 }];

/// The units in which a budget is measured.
pub(crate) fn units(budget: &Budget) -> &'static [Unit; 4] {
    let transactions = budget.figures()[2];
    if transactions > 1 { &UNITS_BESIDE } else { &UNITS }
}

type Budget = CostBudget<4>;

pub(crate) const CLAIM: Budget = CostBudget::new("a fresh claim", [1, 1, 1, 600]);
pub(crate) const CLAIM_64: Budget = CostBudget::new("64 fresh claims in a batch", [1, 1, 1, 35829]);
pub(crate) const COMPLETE: Budget = CostBudget::new("a completion", [1, 1, 1, 708]);
pub(crate) const COMPLETE_64: Budget = CostBudget::new("64 completions in a batch", [1, 1, 1, 43455]);
pub(crate) const REPLAY: Budget = CostBudget::new("a replay", [1, 1, 0, 0]);
pub(crate) const REPLAY_64: Budget = CostBudget::new("64 replays in a batch", [1, 1, 0, 0]);
pub(crate) const CONTENDED: Budget = CostBudget::new("a claim of a key that is executing", [2, 2, 0, 0]);
pub(crate) const CONTENDED_64: Budget = CostBudget::new("64 claims of a key that is executing", [2, 2, 0, 0]);
pub(crate) const BEGIN: Budget = CostBudget::new("a begin", [1, 1, 1, 1028]);
pub(crate) const BEGIN_64: Budget = CostBudget::new("64 begins in a batch", [1, 1, 1, 67676]);
pub(crate) const LEASE: Budget = CostBudget::new("a claim of a free lease", [2, 2, 1, 886]);
pub(crate) const LEASE_64: Budget = CostBudget::new("64 claims of free leases in a batch", [2, 2, 1, 54540]);
pub(crate) const RELEASE: Budget = CostBudget::new("a release", [1, 1, 1, 1287]);
pub(crate) const RELEASE_64: Budget = CostBudget::new("64 releases in a batch", [1, 1, 1, 83900]);
pub(crate) const CANCEL: Budget = CostBudget::new("a cancel", [1, 1, 1, 1287]);
pub(crate) const CANCEL_64: Budget = CostBudget::new("64 cancels together", [64, 64, 64, 92000]);
pub(crate) const ABANDON: Budget = CostBudget::new("an abandon", [1, 1, 1, 930]);
pub(crate) const ABANDON_64: Budget = CostBudget::new("64 abandons together", [64, 64, 64, 66900]);
pub(crate) const BEAT: Budget = CostBudget::new("a heartbeat of an execution", [1, 1, 1, 199]);
pub(crate) const BEAT_LEASE: Budget = CostBudget::new("a heartbeat of a lease", [1, 1, 1, 199]);
pub(crate) const BEAT_1000: Budget = CostBudget::new("a heartbeat of 1,000 executions", [1, 1, 1, 168500]);
pub(crate) const BEAT_LEASE_1000: Budget = CostBudget::new("a heartbeat of 1,000 leases", [1, 1, 1, 168500]);

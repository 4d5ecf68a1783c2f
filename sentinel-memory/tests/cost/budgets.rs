//! The cost budgets. A change that makes an operation cheaper lowers its line: the failing test prints the new one.

use sentinel_testbed::{CostBudget, Unit};

/// What is counted, in a build without optimisation: a build with it takes away some allocations, and adds none.
pub(crate) const UNITS: [Unit; 2] =
    [Unit { name: "allocations", slack: 0 }, Unit { name: "bytes allocated", slack: 2 }];

type Budget = CostBudget<2>;

pub(crate) const CLAIM: Budget = CostBudget::new("a fresh claim", [3, 1390]);
pub(crate) const COMPLETE: Budget = CostBudget::new("a completion", [2, 57]);
pub(crate) const REPLAY: Budget = CostBudget::new("a replay", [1, 32]);
pub(crate) const CONTENDED: Budget = CostBudget::new("a claim of a key that is executing", [1, 32]);
pub(crate) const BEGIN: Budget = CostBudget::new("a begin", [1, 32]);
pub(crate) const LEASE: Budget = CostBudget::new("a claim of a free lease", [2, 1260]);
pub(crate) const RELEASE: Budget = CostBudget::new("a release", [1, 32]);
pub(crate) const CANCEL: Budget = CostBudget::new("a cancel", [1, 32]);
pub(crate) const BEAT: Budget = CostBudget::new("a heartbeat of one lease", [2, 227]);
pub(crate) const BEAT_1000: Budget = CostBudget::new("a heartbeat of 1,000 leases", [10, 99126]);
pub(crate) const INSPECT: Budget = CostBudget::new("an inspection", [1, 24]);
pub(crate) const ONCE: Budget = CostBudget::new("a fresh once", [12, 5282]);
pub(crate) const ONCE_REPLAYED: Budget = CostBudget::new("a replayed once", [3, 96]);
pub(crate) const LEASE_HELD: Budget = CostBudget::new("a lease acquired and released", [6, 1834]);

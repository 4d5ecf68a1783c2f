//! What an exploration reached: each operation taking effect, confirmed again, and refused. A rule that no run reaches
//! is not checked, however clean the run is.

use std::sync::atomic::{AtomicU64, Ordering};

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;

use crate::store::{Applied, confirms};

/// The operations, in the order of the bits.
const OPERATIONS: [&str; 11] = [
    Named::<Claim>::NAME,
    Named::<Begin>::NAME,
    Named::<Heartbeat>::NAME,
    Named::<Complete>::NAME,
    Named::<Cancel>::NAME,
    Named::<Release>::NAME,
    Named::<Abandon>::NAME,
    Named::<Reconcile>::NAME,
    Named::<ForceComplete>::NAME,
    Named::<ResetToClaimed>::NAME,
    Named::<Evict>::NAME,
];

struct Named<O>(std::marker::PhantomData<O>);

impl<O: sentinel_core::kernel::Operation> Named<O> {
    const NAME: &'static str = O::NAME;
}

/// How an operation can end, in the order of the bits.
const ENDS: [&str; 3] = ["takes effect", "is confirmed again", "is refused"];

/// A bit for each operation and end. Shared by the threads that explore; no part of the state.
#[derive(Debug, Default)]
pub(crate) struct Coverage(AtomicU64);

impl Coverage {
    pub(crate) fn record(&self, op: &Op, applied: &Applied) {
        let operation = OPERATIONS.iter().position(|name| *name == op.name()).unwrap_or(OPERATIONS.len());
        let end = match (applied.changed, confirms(&applied.reply)) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        let bit = 1 << (operation * ENDS.len() + end);
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn bits(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was never reached, in words.
pub(crate) fn missing(bits: u64) -> Vec<String> {
    let all = OPERATIONS.iter().flat_map(|name| ENDS.iter().map(move |end| format!("{name} {end}")));
    all.enumerate().filter(|(bit, _)| bits & (1 << bit) == 0).map(|(_, words)| words).collect()
}

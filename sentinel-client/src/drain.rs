//! The open work of a client: what [`Sentinel::drain`] waits for and reports.

use std::time::Duration;

use super::open_work::{Drained, Unfinished};
use super::sentinel::Sentinel;
use super::signals::events;

impl Sentinel {
    /// Finishes the work of this client and all its clones, for a process that is about to exit.
    ///
    /// From now on nothing is granted: a new call of `once` or `lease`, and one that waits for its turn, returns
    /// [`NotRun::Draining`](super::NotRun::Draining). `drain` waits, for at most `at_most`, until every function that
    /// runs has returned, even if its caller is gone, and until every result, release, cancel and abandon is confirmed.
    /// It signals futures that [`lead`](super::Sentinel::lead) runs, and waits for them. It does not wait for a lease
    /// that is still held: drop or release it first. It interrupts no function, and the work that it reports as
    /// unfinished continues while the process and its runtime live.
    ///
    /// **Repeating it** waits again. Dropping the future stops the wait, but still nothing is granted.
    pub async fn drain(&self, at_most: Duration) -> Drained {
        let drained = self.core.open_work.drain(at_most).await;
        events::drained(drained.unfinished.len());
        drained
    }

    /// The work that this client and its clones have begun and not finished. Changes nothing.
    pub fn unfinished(&self) -> Vec<Unfinished> {
        self.core.open_work.unfinished()
    }
}

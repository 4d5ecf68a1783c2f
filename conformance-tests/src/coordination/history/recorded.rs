//! Recorded histories, from one process or from many.

use sentinel_core::{Address, CoordinationStore};

use super::checker::{self, End};
use super::recorder::{Entry, Read, Recorder};
use super::{invariants, linearizability};

/// The requests to a store and its replies, with all moments in one order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Requests.
    pub entries: Vec<Entry>,
    /// Reads.
    pub reads: Vec<Read>,
}

impl Recorder {
    /// [Checks](History::check) all that was recorded of one address against what the store has of it now.
    pub async fn check(&self, address: &Address) -> Result<(), String> {
        History { entries: self.entries(), reads: self.reads() }.check(self.store(), address).await
    }
}

impl History {
    /// Checks all that was recorded of one address by its stamps, and by the record and the events that the store has
    /// of it now: replayed through the kernel in the order of the stamps, every reply, event and read must be the
    /// kernel's, in an order that real time allows, and no request may have taken effect twice. The whole life of the
    /// record must have been recorded, without a purge. The error contains the difference and the history.
    pub async fn check(&self, store: &dyn CoordinationStore, address: &Address) -> Result<(), String> {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        checker::by_stamps(address, &self.entries, &self.reads, &end)?;
        invariants::effect_of_once(address, &end.events)
    }

    /// Searches for an order of the requests on one address that real time allows and that explains all replies and the
    /// record as it is now, without using the stamps. Each caller waits for its replies; the whole life of the record
    /// must have been recorded. The search is exponential in the number of concurrent requests: for a dozen or two
    /// requests. False: one was never answered, and nothing was checked.
    pub async fn search(&self, store: &dyn CoordinationStore, address: &Address) -> Result<bool, String> {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        linearizability::linearizable(address, &self.entries, &end.record)
    }

    /// Checks only the tokens of one address: no two calls or decisions got the same one, and they grow in real time.
    /// This is required even of a store that lost what it acknowledged.
    pub fn tokens_grow(&self, address: &Address) -> Result<(), String> {
        checker::tokens_grow(address, &self.entries)
    }
}

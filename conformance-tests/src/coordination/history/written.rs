//! Histories that somebody has written down, in this process or in many.

use sentinel_core::{Address, CoordinationStore};

use super::judge::{self, End};
use super::record::{Entry, Look, Recorder};
use super::{linear, truth};

/// What a store was asked and what it answered, with all moments in one order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Requests.
    pub entries: Vec<Entry>,
    /// Looks.
    pub looks: Vec<Look>,
}

impl Recorder {
    /// [Judges](History::judge) all that was recorded of one address, by what the store has of it now.
    pub async fn judge(&self, address: &Address) -> Result<(), String> {
        History { entries: self.entries(), looks: self.looks() }.judge(self.store(), address).await
    }
}

impl History {
    /// Judges all that was written down of one address by its stamps, and by the record and the events that the store
    /// holds of it now: replayed through the kernel in the order that the store claims, every reply, event and look
    /// must be the kernel's, in an order that real time allows, and no request may have taken effect twice. The whole
    /// life of the record must have been written down, without a purge. The error tells what is wrong, with the
    /// history.
    pub async fn judge(&self, store: &dyn CoordinationStore, address: &Address) -> Result<(), String> {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        judge::by_stamps(address, &self.entries, &self.looks, &end)?;
        truth::effect_of_once(address, &end.events)
    }

    /// Looks for an order of the requests on one address that real time allows and that explains all replies and the
    /// record as it is now, without trusting the stamps. Each caller waits for its answers; the whole life of the
    /// record must have been written down. The search is exponential in what was under way at once: for a dozen or two
    /// requests. False: one was never answered, and nothing was judged.
    pub async fn search(&self, store: &dyn CoordinationStore, address: &Address) -> Result<bool, String> {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        linear::linearizable(address, &self.entries, &end.record)
    }

    /// Judges nothing but the tokens of one address: no two calls or decisions were given the same, and they grow in
    /// real time. What must hold even where a store has lost what it acknowledged.
    pub fn tokens_grow(&self, address: &Address) -> Result<(), String> {
        judge::tokens_grow(address, &self.entries)
    }
}

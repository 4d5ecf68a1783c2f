//! The doubt that the last reads met.

use std::sync::Mutex;

use sentinel_core::{ErrorKind, StoreError};

use super::registered::lock;

/// The doubt that the last reads met, and when the store had been registered by then.
#[derive(Debug, Default)]
pub(super) struct CurrentDoubt(Mutex<Option<(StoreError, u64)>>);

impl CurrentDoubt {
    pub(super) fn report(&self, why: &StoreError, registered_at: u64) {
        let found = &mut *lock(&self.0);
        let text = why.to_string();
        if found.as_ref().is_none_or(|(known, _)| known.to_string() != text) {
            tracing::error!(
                target: "sentinel",
                event = "data_loss",
                store = "redis",
                kind = ?why.kind(),
                advice = why.kind().advice(),
                "possible data loss: only reads are answered, and they may lack acknowledged changes"
            );
        }
        *found = Some((why.clone(), registered_at));
    }

    /// The servers are trusted. A lost part of the store is a doubt until the store is registered again.
    pub(super) fn clear_if_resolved(&self, registered_at: u64) {
        let found = &mut *lock(&self.0);
        let is_resolved = |(why, then): &(StoreError, u64)| {
            why.kind() == ErrorKind::PossibleDataLoss || *then < registered_at
        };
        if found.as_ref().is_some_and(is_resolved) {
            *found = None;
        }
    }

    /// The doubt that the last reads met.
    pub(super) fn current(&self) -> Option<StoreError> {
        lock(&self.0).as_ref().map(|(why, _)| why.clone())
    }
}

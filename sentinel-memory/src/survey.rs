//! What is asked of all namespaces: a walk.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sentinel_core::survey::{Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Namespace, StoreError, Survey};

use crate::store::MemoryStore;

#[async_trait]
impl Survey for MemoryStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let mut all = BTreeSet::new();
        self.each(|address| {
            if after.is_none_or(|after| address.namespace > *after) && !all.contains(&address.namespace) {
                all.insert(address.namespace.clone());
            }
        });
        Ok(all.into_iter().take(limit as usize).collect())
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }
}

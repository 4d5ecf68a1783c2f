//! What is asked of all namespaces.

use async_trait::async_trait;
use sentinel_core::survey::{Undecided, UndecidedPage, undecided_by_listing};
use sentinel_core::{Namespace, StoreError, Survey};

use crate::store::RedisStore;
use crate::trust::root::Root;

#[async_trait]
impl Survey for RedisStore {
    /// Every namespace that was used has its name in one set.
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let main = &self.inner.main;
        let link = main.link_to_read().await?;
        let mut names = Root::namespaces(&*link, &main.trust.names).await?;
        names.retain(|name| after.is_none_or(|after| name > after));
        names.sort();
        names.truncate(limit as usize);
        Ok(names)
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        undecided_by_listing(self, filter).await
    }
}

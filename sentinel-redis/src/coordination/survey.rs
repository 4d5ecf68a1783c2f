//! Reads over all namespaces.

use sentinel_core::{Namespace, StoreError};

use crate::batch::call::Caller;
use crate::data_loss::metadata::StoreMetadata;

impl Caller {
    /// Every namespace that was used has its name in one set.
    pub(crate) async fn namespaces(
        &self,
        after: Option<&Namespace>,
        limit: u32,
    ) -> Result<Vec<Namespace>, StoreError> {
        let connection = self.connection_to_read().await?;
        let mut names = StoreMetadata::namespaces(&*connection, &self.data_loss.names).await?;
        names.retain(|name| after.is_none_or(|after| name > after));
        names.sort();
        names.truncate(limit as usize);
        Ok(names)
    }
}

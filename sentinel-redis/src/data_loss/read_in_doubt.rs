//! Reading while the store is in doubt: an operator compares what is there with the outside world before deciding.

use std::sync::{Arc, Mutex};

use sentinel_core::{ErrorKind, StoreError};
use tokio::time::Instant;

use super::guard::DataLossGuard;
use super::metadata::StoreMetadata;
use super::registered::Registered;

use crate::connection::Connection;
use crate::script::Scripts;

impl DataLossGuard {
    /// What reads need while the store is in doubt: its layout, and scripts that the server does not let write. `why`
    /// is the doubt. It is returned where reads are refused too: the builder did not allow them, or nothing is left
    /// to read.
    pub(crate) async fn to_read(
        &self,
        connection: &dyn Connection,
        why: StoreError,
    ) -> Result<Arc<Registered>, StoreError> {
        let can_be_read = matches!(why.kind(), ErrorKind::PossibleDataLoss | ErrorKind::DataLoss);
        if !self.read_in_doubt || !can_be_read {
            return Err(why);
        }
        let Some(metadata) = StoreMetadata::read(connection, &self.names).await? else { return Err(why) };
        self.in_doubt.report(&why, metadata.registered_at);
        Ok(self.read_only(metadata))
    }

    /// What reads need that must not create a namespace: they find nothing where nothing was marked.
    pub(crate) fn read_only(&self, metadata: StoreMetadata) -> Arc<Registered> {
        Arc::new(Registered {
            metadata,
            scripts: Scripts::read_only(self.edit.as_ref()),
            read_only: true,
            servers: Vec::new(),
            namespaces: Mutex::default(),
            caused: Mutex::default(),
            checked: Mutex::new(Instant::now()),
        })
    }

    /// Loads the read-only scripts on all masters.
    pub(crate) async fn load_to_read(
        &self,
        connection: &dyn Connection,
        registered: &Registered,
    ) -> Result<(), StoreError> {
        Self::load_scripts(connection, registered).await
    }

    /// The doubt that the last reads met.
    pub(crate) fn doubt(&self) -> Option<StoreError> {
        self.in_doubt.current()
    }
}

//! What each kind of store does for a deployment.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use sentinel_client::Error;
use sentinel_core::StoreError;
use sentinel_core::store::Health;

use super::settings::{Initialised, Settings};
use crate::store::Store;

/// A store that is not open yet. The methods are those of [`Deployment`](super::Deployment).
#[async_trait]
pub(super) trait Backend: Debug + Send + Sync {
    /// The URL without user, password, and parameters that are not Sentinel's.
    fn shown(&self) -> String;

    async fn open(&self, settings: &Settings) -> Result<Arc<dyn Store>, StoreError>;

    async fn init(&self, settings: &Settings) -> Result<(Arc<dyn Store>, Initialised), StoreError>;

    fn schema_sql(&self) -> Result<String, Error>;

    async fn health(&self, settings: &Settings) -> Result<Health, StoreError>;
}

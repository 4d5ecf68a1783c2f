use std::sync::Arc;

use async_trait::async_trait;
use sentinel_client::Error;
use sentinel_core::store::Health;
use sentinel_core::{CoordinationStore as _, StoreError};
use sentinel_memory::MemoryStore;

use super::backend::Backend;
use super::settings::{Initialised, Settings, invalid};
use crate::store::Store;

/// Each store that is opened is a new one.
#[derive(Debug)]
struct Memory;

pub(super) fn backend() -> Arc<dyn Backend> {
    Arc::new(Memory)
}

#[async_trait]
impl Backend for Memory {
    fn shown(&self) -> String {
        "memory:".to_owned()
    }

    async fn open(&self, _: &Settings) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(MemoryStore::new()))
    }

    async fn init(&self, settings: &Settings) -> Result<(Arc<dyn Store>, Initialised), StoreError> {
        Ok((self.open(settings).await?, Initialised::UpToDate))
    }

    fn schema_sql(&self) -> Result<String, Error> {
        Err(invalid("a store in memory", "has no SQL to run by hand: it needs no set-up"))
    }

    async fn health(&self, _: &Settings) -> Result<Health, StoreError> {
        MemoryStore::new().health().await
    }
}

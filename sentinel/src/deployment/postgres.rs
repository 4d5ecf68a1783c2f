use std::sync::Arc;

use async_trait::async_trait;
use sentinel_client::Error;
use sentinel_core::StoreError;
use sentinel_core::store::Health;
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};

use super::backend::Backend;
use super::settings::{Initialised, Settings};
use crate::store::Store;

#[derive(Debug)]
struct Postgres {
    builder: PostgresStoreBuilder,
    shown: String,
}

pub(super) fn backend(url: &str, shown: String) -> Result<Arc<dyn Backend>, Error> {
    let builder = PostgresStore::builder(url);
    builder.check()?;
    Ok(Arc::new(Postgres { builder, shown }))
}

#[async_trait]
impl Backend for Postgres {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    async fn open(&self, _: &Settings) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(self.builder.clone().open().await?))
    }

    async fn init(&self, _: &Settings) -> Result<(Arc<dyn Store>, Initialised), StoreError> {
        Ok((Arc::new(self.builder.clone().init().await?), Initialised::UpToDate))
    }

    fn schema_sql(&self) -> Result<String, Error> {
        Ok(self.builder.schema_sql()?)
    }

    async fn health(&self, _: &Settings) -> Result<Health, StoreError> {
        self.builder.clone().health().await
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use sentinel_client::Error;
use sentinel_core::StoreError;
use sentinel_core::store::Health;
use sentinel_redis::{RedisStore, RedisStoreBuilder, Registration};

use super::backend::Backend;
use super::settings::{Initialised, Settings, invalid};
use crate::store::Store;

#[derive(Debug)]
struct Redis {
    builder: RedisStoreBuilder,
    shown: String,
}

pub(super) fn backend(url: &str, shown: String) -> Result<Arc<dyn Backend>, Error> {
    let builder = RedisStore::builder(url);
    builder.check()?;
    Ok(Arc::new(Redis { builder, shown }))
}

impl Redis {
    fn builder(&self, settings: &Settings) -> RedisStoreBuilder {
        let builder = self.builder.clone().read_in_doubt(settings.read_in_doubt);
        match &settings.witness_folder {
            Some(folder) => builder.witness_folder(folder),
            None => builder,
        }
    }
}

#[async_trait]
impl Backend for Redis {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    async fn open(&self, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(self.builder(settings).open().await?))
    }

    async fn init(&self, settings: &Settings) -> Result<(Arc<dyn Store>, Initialised), StoreError> {
        let (store, registration) = self.builder(settings).register().await?;
        let initialised = match registration {
            Registration::SetUp => Initialised::Registered,
            Registration::Again { doubt } => Initialised::RegisteredAgain { doubt },
        };
        Ok((Arc::new(store), initialised))
    }

    fn schema_sql(&self) -> Result<String, Error> {
        Err(invalid("a Redis store", "has no SQL to run by hand: `sentinel init` sets it up"))
    }

    async fn health(&self, settings: &Settings) -> Result<Health, StoreError> {
        self.builder(settings).health().await
    }
}

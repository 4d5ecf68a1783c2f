use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sentinel_client::Error;
use sentinel_core::StoreError;
use sentinel_core::store::Health;
use sentinel_sqlite::{SqliteStore, SqliteStoreBuilder};

use super::backend::Backend;
use super::settings::{Access, Initialised, Settings, invalid};
use super::url::with_ours;
use crate::store::Store;

#[derive(Debug)]
struct Sqlite {
    builder: SqliteStoreBuilder,
    shown: String,
}

pub(super) fn backend(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let builder = SqliteStore::at(url)?;
    // All parameters are Sentinel's: others were refused.
    let shown = with_ours(url, shown(&builder));
    Ok(Arc::new(Sqlite { builder, shown }))
}

pub(super) fn file(path: &Path) -> Arc<dyn Backend> {
    let builder = SqliteStore::builder(path);
    let shown = shown(&builder);
    Arc::new(Sqlite { builder, shown })
}

fn shown(builder: &SqliteStoreBuilder) -> String {
    format!("sqlite:{}", builder.path().display())
}

impl Sqlite {
    fn builder(&self, settings: &Settings) -> SqliteStoreBuilder {
        let mut builder = self.builder.clone();
        if let Some(timeout) = settings.turn_timeout {
            builder = builder.turn_timeout(timeout);
        }
        match settings.access {
            None | Some(Access::Create) => builder,
            Some(Access::Write) => builder.create(false),
            Some(Access::Read) => builder.reads_only(true),
        }
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    async fn open(&self, settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(self.builder(settings).open().await?))
    }

    async fn init(&self, settings: &Settings) -> Result<(Arc<dyn Store>, Initialised), StoreError> {
        Ok((self.open(settings).await?, Initialised::UpToDate))
    }

    fn schema_sql(&self) -> Result<String, Error> {
        Err(invalid("a SQLite store", "sets itself up when it is opened: there is no SQL to run by hand"))
    }

    async fn health(&self, settings: &Settings) -> Result<Health, StoreError> {
        self.builder(settings).health().await
    }
}

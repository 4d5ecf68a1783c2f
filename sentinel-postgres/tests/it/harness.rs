use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::CoordinationStore;
use sentinel_postgres::PostgresStore;

pub(crate) struct Direct {
    store: PostgresStore,
    offset: Arc<AtomicI64>,
}

#[async_trait]
impl Harness for Direct {
    async fn open() -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let url = std::env::var("PGX").unwrap();
        let store =
            PostgresStore::builder(&url).schema("tests").clock_offset(offset.clone()).init().await.unwrap();
        Self { store, offset }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.offset.fetch_sub(by.as_micros() as i64, Ordering::SeqCst);
        true
    }
}

//! Stores on real servers, in each deployment mode, with a clock that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::CoordinationStore;
use sentinel_redis::{RedisStore, RedisStoreBuilder};
use sentinel_testbed::redis;

/// A store in one deployment mode.
pub(crate) struct Store {
    pub(crate) store: RedisStore,
    pub(crate) offset: Arc<AtomicI64>,
}

impl Store {
    pub(crate) async fn init(builder: RedisStoreBuilder) -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let store = builder.clock_offset(offset.clone()).init().await.unwrap();
        Self { store, offset }
    }
}

macro_rules! modes {
    ($($(#[$doc:meta])* $mode:ident = $open:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $mode(Store);

        #[async_trait]
        impl Harness for $mode {
            async fn open() -> Self {
                Self($open.await)
            }

            fn store(&self) -> Arc<dyn CoordinationStore> {
                Arc::new(self.0.store.clone())
            }

            async fn advance(&self, by: Duration) {
                self.0.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
            }

            // Not set back: the suite knows one floor for a namespace, and here each bucket has its own, which rises as
            // soon as a result may expire. `clock` has what is true of both.
        }
    )*};
}

modes! {
    /// One server, each write on disk before it is answered.
    Always = Store::init(RedisStore::builder(&redis().url()));
}

//! Stores on real servers, in each deployment mode, with a clock that a test moves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::CoordinationStore;
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_testbed::{PgBouncer, postgres};

/// A store in one deployment mode.
pub(crate) struct Store {
    pub(crate) store: PostgresStore,
    pub(crate) offset: Arc<AtomicI64>,
    builder: PostgresStoreBuilder,
    /// The store after it was opened again.
    reopened: Mutex<Option<PostgresStore>>,
}

impl Store {
    pub(crate) async fn init(builder: PostgresStoreBuilder) -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let builder = builder.clock_offset(offset.clone());
        let store = builder.clone().init().await.unwrap();
        Self { store, offset, builder, reopened: Mutex::new(None) }
    }

    /// A store on connections of its own, on the same clock.
    async fn another(&self) -> PostgresStore {
        self.builder.clone().open().await.unwrap()
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
                let reopened = self.0.reopened.lock().unwrap().clone();
                Arc::new(reopened.unwrap_or_else(|| self.0.store.clone()))
            }

            async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
                Some(Arc::new(self.0.another().await))
            }

            async fn reopen(&self) -> bool {
                let store = self.0.another().await;
                *self.0.reopened.lock().unwrap() = Some(store);
                true
            }

            async fn advance(&self, by: Duration) {
                self.0.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
            }

            async fn set_back(&self, by: Duration) -> bool {
                self.0.offset.fetch_sub(by.as_micros() as i64, Ordering::SeqCst);
                true
            }
        }
    )*};
}

modes! {
    /// The store's own sessions.
    Direct = Store::init(PostgresStore::builder(&postgres().url()).schema("direct"));
    /// Through PgBouncer in transaction mode: no session is ours.
    Bounced = Store::init(PostgresStore::builder(&bouncer().url()).schema("bounced"));
    /// A role whose transactions are repeatable read.
    RepeatableRead = Store::init(PostgresStore::builder(&isolated("repeatable read")).schema("repeatable"));
    /// A role whose transactions are serializable.
    Serializable = Store::init(PostgresStore::builder(&isolated("serializable")).schema("serializable"));
    /// A role without rights but on a schema of its own.
    Unprivileged = Store::init(PostgresStore::builder(&unprivileged()).schema("own").table_prefix("snl_"));
}

/// PgBouncer before the shared server, in transaction mode, with no setting that would help us.
pub(crate) fn bouncer() -> &'static PgBouncer {
    static BOUNCER: OnceLock<PgBouncer> = OnceLock::new();
    BOUNCER.get_or_init(|| PgBouncer::start(postgres(), Default::default()))
}

/// A role of its own, made once, with the settings given.
fn role(name: &str, sql: &str) -> String {
    static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if !made.iter().any(|known| known == name) {
        postgres().psql(&format!("CREATE ROLE {name} LOGIN PASSWORD '{}'; {sql}", postgres::VERIFIER));
        made.push(name.to_owned());
    }
    postgres().url_for(name, postgres::PASSWORD, "postgres")
}

fn isolated(level: &str) -> String {
    let name = level.replace(' ', "_");
    role(
        &name,
        &format!(
            "GRANT CREATE ON DATABASE postgres TO {name}; \
             ALTER ROLE {name} SET default_transaction_isolation = '{level}'"
        ),
    )
}

fn unprivileged() -> String {
    role("plain", "CREATE SCHEMA own AUTHORIZATION plain")
}

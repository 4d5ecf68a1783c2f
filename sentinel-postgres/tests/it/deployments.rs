//! Stores on real servers, in each deployment mode, with a clock that a test moves.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, OnceLock};

use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_store_tests::deployment::Deployment;
use sentinel_testbed::{PgBouncer, postgres};

/// Sets a store up.
pub(crate) async fn init(builder: PostgresStoreBuilder) -> Deployment<PostgresStore> {
    let offset = Arc::new(AtomicI64::new(0));
    let builder = builder.clock_offset(offset.clone());
    let store = builder.clone().init().await.unwrap();
    Deployment::new(store, offset, move || {
        let builder = builder.clone();
        async move { builder.open().await.unwrap() }
    })
}

sentinel_store_tests::deployments! { PostgresStore;
    /// The store's own sessions.
    Direct = init(PostgresStore::builder(&postgres().url()).schema("direct"));
    /// Through PgBouncer in transaction mode: no session is ours.
    Bounced = init(PostgresStore::builder(&bouncer().url()).schema("bounced"));
    /// A role whose transactions are repeatable read.
    RepeatableRead = init(PostgresStore::builder(&isolated("repeatable read")).schema("repeatable"));
    /// A role whose transactions are serializable.
    Serializable = init(PostgresStore::builder(&isolated("serializable")).schema("serializable"));
    /// A role without rights but on a schema of its own, and no more connections than a store needs.
    Unprivileged = init(PostgresStore::builder(&unprivileged()).schema("own").table_prefix("snl_").connections(3));
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

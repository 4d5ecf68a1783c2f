//! What opening a store costs, and what becomes of the connection that it was opened with.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its start state has failed")]

use std::time::Duration;

use sentinel_core::{Address, CoordinationStore as _, Key, Kind, Namespace};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::postgres;
use tokio::runtime::Runtime;
use tokio::time::timeout;

fn address(key: &str) -> Address {
    Address { namespace: Namespace::new("n").unwrap(), kind: Kind::Execution, key: Key::new(key).unwrap() }
}

fn url(name: &str) -> String {
    format!("{}?sentinel_schema={name}&application_name={name}", postgres().url())
}

/// The backends that a store has.
fn sessions(name: &str) -> String {
    postgres()
        .psql(&format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}' ORDER BY pid"))
}

#[test]
fn the_connection_that_a_store_was_opened_with_is_used() {
    for name in ["opening_by_init", "opening_by_open"] {
        Runtime::new().unwrap().block_on(async {
            let builder = PostgresStore::builder(&url(name));
            let store = if name == "opening_by_init" {
                builder.init().await.unwrap()
            } else {
                let by_other_name = url(name).replace("application_name=", "application_name=other_");
                PostgresStore::builder(&by_other_name).init().await.unwrap();
                builder.open().await.unwrap()
            };
            let opened_with = sessions(name);
            assert!(!opened_with.is_empty());
            store.inspect(&address("k")).await.unwrap();
            assert_eq!(sessions(name), opened_with);
        });
    }
}

#[test]
fn a_store_that_was_opened_on_another_runtime_connects_anew() {
    let name = "opening_elsewhere";
    // It exists, and no thread drives it: a task that waited for its connection would never get it.
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = PostgresStore::builder(&url(name)).deadline(Duration::from_secs(3600));
    let store = idle.block_on(builder.init()).unwrap();
    let inspect = async { timeout(Duration::from_secs(60), store.inspect(&address("k"))).await };
    Runtime::new().unwrap().block_on(inspect).unwrap().unwrap();
    drop(idle);
    Runtime::new().unwrap().block_on(store.inspect(&address("k"))).unwrap();
}

#[test]
fn a_connection_that_broke_before_its_first_use_is_replaced() {
    let name = "opening_broken";
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let store = PostgresStore::builder(&url(name)).init().await.unwrap();
        let killed = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
        );
        postgres().psql(&killed);
        store.inspect(&address("k")).await.unwrap();
    });
}

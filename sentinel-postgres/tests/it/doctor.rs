//! What `doctor` reports about a server, and what `open` refuses.

use sentinel_core::store::Health;
use sentinel_core::{CoordinationStore as _, ErrorKind, StoreError};
use sentinel_postgres::{PostgresStore, PostgresStoreBuilder};
use sentinel_store_tests::fixtures::found;
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Postgres, postgres};

use crate::deployments::bouncer;

#[track_caller]
fn is_bad(health: &Health, name: &str, words: &str) {
    let check = found(health, name);
    assert!(!check.ok && check.found.contains(words), "{check:?}");
}

fn refused(opened: Result<PostgresStore, StoreError>, words: &str) {
    let error = opened.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::DeploymentRefused, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

fn at(server: &Postgres, role: &str, password: &str, schema: &str) -> PostgresStoreBuilder {
    PostgresStore::builder(&server.url_for(role, password, "postgres")).schema(schema)
}

#[tokio::test]
async fn a_plain_server_is_one_primary() {
    let server = Postgres::start(Options::default());
    let builder = PostgresStore::builder(&server.url()).schema("doctor");
    let before = builder.clone().health().await.unwrap();
    assert!(!before.accepted && before.guarantees.is_empty());
    is_bad(&before, "schema", "run `sentinel init`");
    let store = builder.clone().init().await.unwrap();
    let health = store.health().await.unwrap();
    assert_eq!(health.deployment, "PostgreSQL, one primary");
    assert!(health.accepted && health.checks.iter().all(|check| check.ok), "{health:?}");
    assert_eq!(found(&health, "synchronous_commit").found, "on");
    assert_eq!(found(&health, "time line").found, "1");
    assert!(found(&health, "pooler").found.starts_with("none"));
    server.psql("update doctor.migrations set version = 99");
    is_bad(&builder.health().await.unwrap(), "schema", "upgrade this program");
}

#[tokio::test]
async fn a_pooler_is_found() {
    let builder = PostgresStore::builder(&bouncer().url()).schema("doctored");
    let health = builder.init().await.unwrap().health().await.unwrap();
    assert!(health.accepted, "{health:?}");
    assert!(found(&health, "pooler").found.contains("transaction mode"));
}

#[tokio::test]
async fn a_lazy_role_is_raised() {
    postgres().psql(
        "create role lazy login password 'secret'; create schema lazy authorization lazy; \
         alter role lazy set synchronous_commit = off; \
         alter role lazy set default_transaction_isolation = 'serializable'",
    );
    let health = at(postgres(), "lazy", "secret", "lazy").init().await.unwrap().health().await.unwrap();
    assert!(health.accepted && found(&health, "synchronous_commit").found == "on", "{health:?}");
    assert!(found(&health, "isolation").found.contains("serializable is the role's default"), "{health:?}");
    let pooled = PostgresStore::builder(&bouncer().url_for("lazy", "secret", "postgres")).schema("lazy");
    let health = pooled.health().await.unwrap();
    assert!(
        health.accepted && found(&health, "synchronous_commit").found.contains("raised to on"),
        "{health:?}"
    );
}

#[tokio::test]
async fn a_server_that_loses_what_it_acknowledged_is_refused_unless_allowed() {
    for (setting, words) in [("fsync", "fsync is off"), ("full_page_writes", "full_page_writes is off")] {
        let server = Postgres::start(Options::default().conf(&format!("{setting} = off")));
        let builder = PostgresStore::builder(&server.url());
        refused(builder.clone().init().await, words);
        assert_eq!(server.psql("select count(*) from pg_namespace where nspname = 'sentinel'"), "0");
        let store = builder.clone().allow_lossy(true).init().await.unwrap();
        refused(builder.clone().open().await, words);
        let health = store.health().await.unwrap();
        assert!(health.accepted && health.deployment.contains("lose commits"), "{health:?}");
        assert!(health.guarantees.iter().any(|text| text.contains("may lose")), "{health:?}");
        is_bad(&health, setting, "allowed");
        let health = builder.health().await.unwrap();
        assert!(!health.accepted);
        is_bad(&health, setting, "turn it on");
    }
}

#[tokio::test]
async fn a_role_that_may_not_write_is_refused() {
    postgres().psql(
        "create role reader login password 'secret'; \
         alter role reader set default_transaction_read_only = on",
    );
    refused(at(postgres(), "reader", "secret", "anywhere").open().await, "read only");
    let health = at(postgres(), "reader", "secret", "anywhere").health().await.unwrap();
    assert!(!health.accepted);
    is_bad(&health, "transactions", "read only");
}

#[tokio::test]
async fn a_standby_is_refused() {
    let primary = Postgres::start(Options::default());
    PostgresStore::builder(&primary.url()).init().await.unwrap();
    let standby = primary.standby("replica", false);
    refused(PostgresStore::connect(&standby.url()).await, "needs the primary");
    refused(PostgresStore::builder(&standby.url()).init().await, "needs the primary");
    let health = PostgresStore::builder(&standby.url()).health().await.unwrap();
    assert!(!health.accepted && health.guarantees.is_empty(), "{health:?}");
    assert_eq!(health.deployment, "PostgreSQL, a standby: use its primary");
    is_bad(&health, "recovery", "use the primary");
    let health = PostgresStore::builder(&primary.url()).health().await.unwrap();
    assert_eq!(health.deployment, "PostgreSQL, asynchronous failover");
}

/// The GRANTs of docs/operations.md, as they stand there.
fn documented_grants() -> String {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let (_, after) = text.split_once("<!-- the grants -->\n```sql\n").expect("the page has the grants");
    after.split_once("```").unwrap().0.to_owned()
}

/// Each grant is needed, and all together suffice.
#[tokio::test]
async fn the_documented_grants_suffice_and_each_is_needed() {
    let server = Postgres::start(Options::default().role("app", "secret"));
    PostgresStore::builder(&server.url()).init().await.unwrap();
    let health = at(&server, "app", "secret", "sentinel").health().await.unwrap();
    assert!(!health.accepted);
    is_bad(&health, "role", "app lacks USAGE ON SCHEMA \"sentinel\"");
    let grants = documented_grants();
    server.psql(&grants);
    let health = at(&server, "app", "secret", "sentinel").health().await.unwrap();
    assert!(health.accepted, "{health:?}");
    for grant in grants.lines().filter(|line| line.starts_with("GRANT")) {
        let (rights, rest) = grant.trim_start_matches("GRANT ").split_once(" ON ").unwrap();
        for right in rights.split(", ") {
            let revoke = format!("REVOKE {right} ON {}", rest.replace(" TO ", " FROM "));
            server.psql(&revoke);
            let health = at(&server, "app", "secret", "sentinel").health().await.unwrap();
            assert!(!health.accepted, "{revoke}");
            is_bad(&health, "role", right);
            server.psql(&grants);
        }
    }
    crate::fixtures::use_every_statement(&at(&server, "app", "secret", "sentinel").open().await.unwrap())
        .await;
}

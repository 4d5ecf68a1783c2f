//! What `doctor` reports about a database that is not as Sentinel made it.

use sentinel_core::operation::*;
use sentinel_core::store::{Check, Health};
use sentinel_core::{Address, Applied, CoordinationStore as _, ErrorKind, Key, Namespace};
use sentinel_postgres::{Fence, PostgresStore, PostgresStoreBuilder};
use sentinel_testbed::Postgres;
use sentinel_testbed::postgres::Options;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::transaction::claim;

fn found<'h>(health: &'h Health, name: &str) -> &'h Check {
    let named = health.checks.iter().find(|check| check.name == name);
    named.unwrap_or_else(|| panic!("{name} was not checked: {health:?}"))
}

#[track_caller]
fn is_bad(health: &Health, name: &str, words: &[&str]) {
    let check = found(health, name);
    assert!(!check.ok && words.iter().all(|word| check.found.contains(word)), "{check:?}");
}

/// As its owner.
fn url(server: &Postgres, database: &str) -> String {
    format!("{}/{database}", server.url().trim_end_matches("/postgres"))
}

fn at(server: &Postgres, role: &str, database: &str) -> PostgresStoreBuilder {
    PostgresStore::builder(&server.url_for(role, "secret", database))
}

#[tokio::test]
async fn row_level_security_is_reported_for_each_table() {
    let server = Postgres::start(Options::default().role("app", "secret"));
    let owner = PostgresStore::builder(&server.url());
    owner.clone().init().await.unwrap();
    server.psql("GRANT USAGE ON SCHEMA sentinel TO app; GRANT ALL ON ALL TABLES IN SCHEMA sentinel TO app");
    let app = || at(&server, "app", "postgres");
    let health = app().health().await.unwrap();
    assert!(health.accepted && found(&health, "row-level security").ok, "{health:?}");
    for table in ["records", "events", "floors", "fences", "migrations"] {
        server.psql(&format!("ALTER TABLE sentinel.{table} ENABLE ROW LEVEL SECURITY"));
        let health = app().health().await.unwrap();
        let named = format!("\"sentinel\".\"{table}\"");
        is_bad(&health, "row-level security", &[&named, "for this role", "DISABLE ROW LEVEL SECURITY"]);
        assert!(!health.accepted && health.guarantees.is_empty(), "{health:?}");
        // It does not apply to the owner, and doctor reports it all the same.
        let health = owner.clone().health().await.unwrap();
        is_bad(&health, "row-level security", &[&named, "off for this role"]);
        server.psql(&format!("ALTER TABLE sentinel.{table} DISABLE ROW LEVEL SECURITY"));
    }
    assert!(app().health().await.unwrap().accepted);
}

#[tokio::test]
async fn a_record_that_row_level_security_hides_is_an_error_and_not_absent() {
    let server = Postgres::start(Options::default().role("app", "secret"));
    PostgresStore::builder(&server.url()).init().await.unwrap();
    server.psql("GRANT USAGE ON SCHEMA sentinel TO app; GRANT ALL ON ALL TABLES IN SCHEMA sentinel TO app");
    let store = at(&server, "app", "postgres").open().await.unwrap();
    let address = |key| Address::execution(Namespace::new("n").unwrap(), Key::new(key).unwrap());
    let op = claim(Phase::Executing, std::time::Duration::from_secs(60));
    let ClaimReply::Granted(granted) = store.claim(&address("k"), &op).await.unwrap().reply else { panic!() };
    let grant = sentinel_core::Grant { token: granted.token, claim_id: op.claim_id };
    let done = || crate::harness::result("done");
    let pool = sqlx::PgPool::connect(&server.url_for("app", "secret", "postgres")).await.unwrap();

    server.psql("ALTER TABLE sentinel.records ENABLE ROW LEVEL SECURITY");
    let refused = |error: sentinel_core::StoreError| {
        assert_eq!((error.kind(), error.applied()), (ErrorKind::DeploymentRefused, Applied::No), "{error}");
        assert!(error.can_pass() && error.to_string().contains("row-level security"), "{error}");
    };
    refused(store.inspect(&address("k")).await.unwrap_err());
    refused(store.complete(&address("k"), &Complete { grant, result: done() }).await.unwrap_err());
    refused(store.heartbeat(&[Beat { address: address("k"), grant }]).await.unwrap_err());
    refused(store.claim(&address("fresh"), &op).await.unwrap_err());
    // In a transaction of the caller's, whose own setting stays.
    let mut tx = pool.begin().await.unwrap();
    refused(store.complete_grant_in(&mut tx, &address("k"), grant, &done()).await.unwrap_err());
    let own: String = sqlx::query_scalar("SHOW row_security").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(own, "on");
    tx.rollback().await.unwrap();

    server.psql("ALTER TABLE sentinel.records DISABLE ROW LEVEL SECURITY");
    let mut tx = pool.begin().await.unwrap();
    let reply = store.complete_grant_in(&mut tx, &address("k"), grant, &done()).await.unwrap();
    let own: String = sqlx::query_scalar("SHOW row_security").fetch_one(&mut *tx).await.unwrap();
    assert_eq!((reply, own.as_str()), (CompleteReply::Recorded { late: false }, "on"));
    tx.commit().await.unwrap();
}

/// A key with a character, under which something is claimed, completed, and fenced.
async fn use_key(server: &Postgres, database: &str, key: &str) -> Result<(), sentinel_core::StoreError> {
    let store = PostgresStore::builder(&url(server, database)).open().await.unwrap();
    let address = Address::execution(Namespace::new("n").unwrap(), Key::new(key).unwrap());
    let op = claim(Phase::Executing, std::time::Duration::from_secs(60));
    let ClaimReply::Granted(granted) = store.claim(&address, &op).await?.reply else { panic!("not granted") };
    let seen = store.inspect(&address).await?.record.unwrap();
    assert_eq!((seen.token, seen.state), (granted.token, sentinel_core::State::Executing));
    let mut mine = PgConnection::connect(&url(server, database)).await.unwrap();
    let table = "CREATE TABLE IF NOT EXISTS named (name text PRIMARY KEY, sentinel_token bigint, \
                 sentinel_address text)";
    sqlx::raw_sql(table).execute(&mut mine).await.unwrap();
    store.create_fence(&mut mine, &Fence::new("named", ["name"])).await.unwrap();
    let write = AssertSqlSafe(format!("INSERT INTO named VALUES ('{key}', 5, 'n/execution/{key}')"));
    sqlx::raw_sql(write).execute(&mut mine).await.unwrap();
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_reported_and_refuses_what_it_lacks() {
    let server = Postgres::start(Options::default());
    for (encoding, has, lacks) in
        [("LATIN1", "é", Some("é日")), ("EUC_JP", "日本", Some("日ä😀")), ("SQL_ASCII", "é日😀", None)]
    {
        let database = format!("in_{}", encoding.to_lowercase());
        server.psql(&format!(
            "CREATE DATABASE {database} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        PostgresStore::builder(&url(&server, &database)).init().await.unwrap();
        let health = PostgresStore::builder(&url(&server, &database)).health().await.unwrap();
        is_bad(&health, "encoding", &[encoding, "ENCODING 'UTF8'"]);
        use_key(&server, &database, has).await.unwrap();
        assert_eq!(found(&health, "encoding").found.contains("two keys"), encoding == "EUC_JP");
        if let Some(lacks) = lacks {
            let error = use_key(&server, &database, lacks).await.unwrap_err();
            assert_eq!((error.kind(), error.applied()), (ErrorKind::InvalidRequest, Applied::No), "{error}");
        }
    }
    let health = PostgresStore::builder(&server.url()).init().await.unwrap().health().await.unwrap();
    assert!(found(&health, "encoding").ok, "{health:?}");
}

#[tokio::test]
async fn a_schema_that_was_restored_without_its_data_is_refused_with_advice() {
    let server = Postgres::start(Options::default());
    let builder = PostgresStore::builder(&server.url());
    builder.clone().init().await.unwrap();
    let dumped = server.command("pg_dump").arg("--schema-only").output().unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    server.psql("CREATE DATABASE restored");
    // What psql alone understands, and a dump of a newer release has, is left out.
    let text: Vec<_> =
        std::str::from_utf8(&dumped.stdout).unwrap().lines().filter(|l| !l.starts_with('\\')).collect();
    server.psql_in("restored", &text.join("\n"));
    let restored = || PostgresStore::builder(&url(&server, "restored"));
    let health = restored().health().await.unwrap();
    assert!(!health.accepted && health.guarantees.is_empty(), "{health:?}");
    is_bad(
        &health,
        "tables",
        &["restored without its data", "pg_restore --data-only", "DROP SCHEMA \"sentinel\""],
    );
    for opened in [restored().open().await, restored().init().await] {
        let error = opened.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::DeploymentRefused, "{error}");
        assert!(error.to_string().contains("restored without its data"), "{error}");
    }
    // As advised.
    server.psql_in("restored", "DROP SCHEMA \"sentinel\" CASCADE");
    let store = restored().init().await.unwrap();
    assert!(store.health().await.unwrap().accepted);
    // A table alone that is gone is seen too.
    server.psql_in("restored", "DROP TABLE sentinel.floors");
    let health = restored().health().await.unwrap();
    is_bad(&health, "tables", &["\"floors\"", "restore a backup"]);
    assert!(!health.accepted);
}

//! Which program a file belongs to, and the version of its schema.

use sentinel_conformance::Harness as _;
use sentinel_core::operation::Claim;
use sentinel_core::{Applied, Cause, CoordinationStore, ErrorKind, Root, StoreError, TraceId};
use sentinel_sqlite::{SCHEMA_VERSION, SqliteStore};

use crate::harness::*;

async fn refusal(path: &std::path::Path) -> StoreError {
    let error = SqliteStore::open(path).await.unwrap_err();
    assert_eq!(error.applied(), Applied::No);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[tokio::test]
async fn an_empty_file_gets_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.db");
    std::fs::write(&path, b"").unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    once(&store, &execution("a"), &fused(), b"x").await;
    let (id, version): (i32, i32) = plain(&path)
        .query_row("SELECT * FROM pragma_application_id, pragma_user_version", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((id.to_be_bytes(), version), (*b"Sntl", SCHEMA_VERSION));
}

#[tokio::test]
async fn an_empty_file_is_a_finding_and_stays_empty_where_nothing_may_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("empty.db");
    std::fs::write(&path, b"").unwrap();
    for create in [true, false] {
        let health = SqliteStore::builder(&path).create(create).health().await.unwrap();
        assert!(!health.accepted && health.guarantees.is_empty(), "{health:?}");
        let bad: Vec<_> = health.checks.iter().filter(|check| !check.ok).collect();
        assert!(bad.len() == 1 && bad[0].found.contains("holds nothing yet"), "{health:?}");
    }
    let error = SqliteStore::builder(&path).create(false).open().await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::NotInitialised, Applied::No));
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something was made");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let on = OnDisk::open().await;
    on.plain().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    let error = refusal(&on.path()).await;
    assert_eq!(error.kind(), ErrorKind::NewerSchema);
    assert!(error.to_string().contains(&format!("schema {}", SCHEMA_VERSION + 1)), "{error}");
}

#[tokio::test]
async fn an_impossible_schema_version_is_reported() {
    let on = OnDisk::open().await;
    for version in [0, -1] {
        on.plain().pragma_update(None, "user_version", version).unwrap();
        assert_eq!(refusal(&on.path()).await.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("theirs.db");
    plain(&database).execute_batch("CREATE TABLE records (theirs); PRAGMA user_version = 1").unwrap();
    // As most programs leave it: without an application id, and without a version.
    let unsigned = dir.path().join("unsigned.db");
    plain(&unsigned).execute_batch("CREATE TABLE records (theirs)").unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "dear diary, ".repeat(1000)).unwrap();
    for path in [database, unsigned, text] {
        let before = std::fs::read(&path).unwrap();
        assert_eq!(refusal(&path).await.kind(), ErrorKind::DeploymentRefused);
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_missing_directory_or_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/there.db");
    let error = refusal(&path).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("there is no directory"), "{error}");
    let path = dir.path().join("missing.db");
    let error = SqliteStore::builder(&path).create(false).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(!path.exists());
    assert!(SqliteStore::open("").await.is_err());
}

#[tokio::test]
async fn a_page_of_undecided_records_reads_no_completed_record() {
    let on = OnDisk::open().await;
    once(&on.store, &execution("a"), &fused(), b"x").await;
    let plan = |sql: &str| -> String {
        let plain = on.plain();
        let mut statement = plain.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    let found = plan(
        "SELECT key FROM records INDEXED BY records_lingering WHERE namespace = 'n' AND kind = 'execution' \
         AND key > '' AND lingers = 1 AND state = 'executing' ORDER BY key",
    );
    assert!(found.contains("records_lingering (namespace=? AND kind=? AND key>?)"), "{found}");
    assert!(!found.contains("TEMP B-TREE"), "{found}");
    let found = plan("SELECT key FROM records NOT INDEXED WHERE id > (SELECT max(id) FROM records) - 256");
    assert!(found.contains("USING INTEGER PRIMARY KEY (rowid>?)"), "{found}");
    assert_eq!(on.store.describe().backend, "sqlite");
}

#[tokio::test]
async fn a_claim_without_a_cause_enters_no_index() {
    let on = OnDisk::open().await;
    let entries = |index: &str| -> i64 {
        let sql = format!("SELECT sum(ncell) FROM dbstat WHERE name = '{index}'");
        on.plain().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    once(&on.store, &execution("plain"), &fused(), b"x").await;
    assert_eq!((entries("records_root"), entries("records_trace")), (0, 0));
    let cause = Cause::new(Root::new("order 42").unwrap());
    once(&on.store, &execution("root"), &Claim { cause: Some(cause.clone()), ..fused() }, b"x").await;
    assert_eq!((entries("records_root"), entries("records_trace")), (1, 0));
    let cause = Some(cause.with_trace(TraceId::from_bits(42).unwrap()));
    once(&on.store, &execution("trace"), &Claim { cause, ..fused() }, b"x").await;
    assert_eq!((entries("records_root"), entries("records_trace")), (2, 1));
}

#[tokio::test]
async fn a_page_of_a_cause_is_read_in_the_order_of_its_index() {
    let on = OnDisk::open().await;
    for (index, condition) in [
        ("records_root", "substr(cause, 34, instr(substr(cause, 34), ' ') - 1) = 'a'"),
        (
            "records_trace",
            "substr(cause, 1, 32) = 'a' AND substr(cause, 1, 32) <> '00000000000000000000000000000000'",
        ),
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT key FROM records INDEXED BY {index} WHERE cause IS NOT NULL AND {condition} \
             AND (namespace, kind, key) > ('n', 'lease', 'k') ORDER BY namespace, kind, key LIMIT 9"
        );
        let plain = on.plain();
        let mut statement = plain.prepare(&sql).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan = lines.map(Result::unwrap).collect::<Vec<_>>().join("; ");
        assert!(plan.contains(&format!("{index} (<expr>=? AND (namespace,kind,key)>(?,?,?))")), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn a_write_fills_no_temporary_table() {
    let on = OnDisk::open().await;
    let plain = on.plain();
    for sql in
        ["UPDATE records SET state = 'free', purge_at = 1 WHERE id = 1", "DELETE FROM records WHERE id = 1"]
    {
        let mut statement = plain.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let codes = statement.query_map([], |row| row.get::<_, String>(1)).unwrap();
        let codes: Vec<_> = codes.map(Result::unwrap).collect();
        assert!(codes.iter().any(|code| code == "IdxDelete"), "the indexes are kept: {codes:?}");
        assert!(!codes.iter().any(|code| code == "OpenEphemeral"), "{codes:?}");
    }
}

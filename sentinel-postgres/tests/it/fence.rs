//! Fences: a stale worker's write fails at the server, be its worker paused, superseded or mistaken.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{Address, ClaimId, Grant, Key, Label, Namespace, OpId, Token};
use sentinel_postgres::{Fence, Rejected, Rejection};
use sentinel_testbed::postgres;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::transaction::{Bed, claim};

async fn check(bed: &Bed, address: &Address, grant: Grant) -> Result<(), Rejected> {
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    let reply = bed.store.check_grant_in(&mut tx, address, grant).await;
    if reply.is_err() {
        assert!(sqlx::raw_sql("SELECT 1").execute(&mut *tx).await.is_err(), "it can only be rolled back");
    }
    reply
}

fn is_stale(reply: &Result<(), Rejected>) -> bool {
    matches!(reply, Err(rejected) if rejected.rejection() == Some(Rejection::StaleGrant))
}

#[tokio::test]
async fn only_the_current_grant_passes_the_check() {
    let bed = Bed::new("checked").await;
    let (grant, k) = (bed.begun("k").await, bed.address("k"));
    check(&bed, &k, grant).await.unwrap();
    let older = Grant { token: Token::from_stored(grant.token.get() - 1), ..grant };
    let stranger = Grant { claim_id: ClaimId::random(), ..grant };
    for (address, grant) in [(&k, older), (&k, stranger), (&bed.address("absent"), grant)] {
        let reply = check(&bed, address, grant).await;
        assert!(is_stale(&reply), "{reply:?}");
    }
    let reply = check(&bed, &k, older).await.unwrap_err().to_string();
    assert!(reply.contains("checked/execution/k") && reply.contains("SN001"), "{reply}");
    let cause = Label::new("test").unwrap();
    let _ = bed
        .store
        .abandon(&k, &Abandon { grant, cause, late_effects: std::time::Duration::ZERO })
        .await
        .unwrap();
    check(&bed, &k, grant).await.expect("no other call takes an execution over: its worker may still finish");
    let op = Reconcile {
        op_id: OpId::random(),
        operator: Label::new("ann").unwrap(),
        reason: None,
        expect: grant.token,
        even_if_alive: false,
        steal: false,
    };
    let _ = bed.store.reconcile(&k, &op).await.unwrap();
    let reply = check(&bed, &k, grant).await;
    assert!(is_stale(&reply), "{reply:?}");
}

#[tokio::test]
async fn a_completed_run_has_no_authority_left() {
    let bed = Bed::new("over").await;
    let grant = bed.begun("k").await;
    let result = sentinel_core::RecordedResult::success(sentinel_core::Payload::empty());
    let _ = bed.store.complete(&bed.address("k"), &Complete { grant, result }).await.unwrap();
    let reply = check(&bed, &bed.address("k"), grant).await;
    assert!(is_stale(&reply), "{reply:?}");
}

#[tokio::test]
async fn a_lapsed_lease_does_not_pass_even_if_no_worker_took_it_over() {
    let bed = Bed::new("lapsed").await;
    let address = Address::lease(Namespace::new("lapsed").unwrap(), Key::new("k").unwrap());
    let long = claim(Phase::Claimed, Duration::from_secs(3600));
    let ClaimReply::Granted(granted) = bed.store.claim(&address, &long).await.unwrap().reply else {
        panic!()
    };
    let grant = Grant { token: granted.token, claim_id: long.claim_id };
    check(&bed, &address, grant).await.unwrap();
    // The end of the lease comes to pass.
    postgres().psql("UPDATE txn.records SET lease_until = last_now WHERE namespace = 'lapsed'");
    let reply = check(&bed, &address, grant).await;
    assert!(is_stale(&reply), "{reply:?}");
}

#[tokio::test]
async fn what_was_checked_stays_so_until_the_commit() {
    let bed = Bed::new("kept").await;
    let (grant, k) = (bed.begun("k").await, bed.address("k"));
    let (mut mine, mut other) = (bed.connect().await, bed.connect().await);
    let mut tx = mine.begin().await.unwrap();
    bed.store.check_grant_in(&mut tx, &k, grant).await.unwrap();
    // Another transaction of the same worker may check too; no operator may decide.
    let mut second = other.begin().await.unwrap();
    bed.store.check_grant_in(&mut second, &k, grant).await.unwrap();
    second.rollback().await.unwrap();
    let op = Reconcile {
        op_id: OpId::random(),
        operator: Label::new("ann").unwrap(),
        reason: None,
        expect: grant.token,
        even_if_alive: true,
        steal: false,
    };
    let held = bed.store.reconcile(&k, &op).await.unwrap_err();
    assert_eq!(held.kind(), sentinel_core::ErrorKind::Busy, "{held}");
    tx.commit().await.unwrap();
    let reply = bed.store.reconcile(&k, &op).await.unwrap().reply;
    assert!(matches!(reply, ReconcileReply::Taken { .. }), "{reply:?}");
}

#[tokio::test]
async fn a_check_without_a_transaction_fails() {
    let bed = Bed::new("unkept").await;
    let (grant, k) = (bed.begun("k").await, bed.address("k"));
    let mut mine = bed.connect().await;
    let mut tx = mine.begin().await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut *tx).await.unwrap();
    let reply = bed.store.check_grant_in(&mut tx, &k, grant).await.unwrap_err();
    assert!(
        matches!(&reply, Rejected::Store(error) if error.to_string().contains("had been ended")),
        "{reply}"
    );
}

/// A fenced table of the user's.
async fn fenced(bed: &Bed, columns: &str, fence: Fence) -> PgConnection {
    let mut mine = bed.connect().await;
    let table = bed.name;
    let sql = format!(
        "DROP TABLE {table}; DELETE FROM txn.fences WHERE fence = 'public.{table}'; CREATE TABLE {table} ({columns})"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut mine).await.unwrap();
    bed.store.create_fence(&mut mine, &fence).await.unwrap();
    mine
}

const ACCOUNT: &str =
    "id int PRIMARY KEY, balance int NOT NULL, sentinel_token bigint, sentinel_address text";

async fn put(
    connection: &mut PgConnection,
    table: &str,
    id: i32,
    token: i64,
    address: &str,
) -> Result<(), Option<Rejection>> {
    let sql = format!(
        "INSERT INTO {table} VALUES ({id}, 0, $1, $2) \
         ON CONFLICT (id) DO UPDATE SET sentinel_token = $1, sentinel_address = $2"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(token).bind(address);
    query.execute(connection).await.map(drop).map_err(|error| Rejection::of(&error))
}

#[tokio::test]
async fn an_older_token_is_rejected_and_the_newest_may_write_again() {
    let bed = Bed::new("tokens").await;
    let mut mine = fenced(&bed, ACCOUNT, Fence::new("tokens", ["id"])).await;
    put(&mut mine, "tokens", 1, 5, "n/lease/a").await.unwrap();
    put(&mut mine, "tokens", 1, 5, "n/lease/a").await.unwrap();
    put(&mut mine, "tokens", 1, 7, "n/lease/a").await.unwrap();
    assert_eq!(put(&mut mine, "tokens", 1, 6, "n/lease/a").await, Err(Some(Rejection::StaleToken)));
    put(&mut mine, "tokens", 2, 6, "n/lease/a").await.expect("another resource");
    assert_eq!(postgres().psql("SELECT id, sentinel_token FROM tokens ORDER BY id"), "1|7\n2|6");
}

#[tokio::test]
async fn another_address_is_rejected_by_name() {
    let bed = Bed::new("addresses").await;
    let mut mine = fenced(&bed, ACCOUNT, Fence::new("addresses", ["id"])).await;
    put(&mut mine, "addresses", 1, 5, "n/lease/a").await.unwrap();
    assert_eq!(put(&mut mine, "addresses", 1, 9, "n/lease/b").await, Err(Some(Rejection::WrongAddress)));
    let sql = "UPDATE addresses SET sentinel_token = 9, sentinel_address = 'n/lease/b'";
    let reply = sqlx::raw_sql(sql).execute(&mut mine).await.unwrap_err().to_string();
    assert!(reply.contains("n/lease/a") && reply.contains("n/lease/b"), "{reply}");
}

#[tokio::test]
async fn what_was_seen_outlives_the_row() {
    let bed = Bed::new("outlived").await;
    let mut mine = fenced(&bed, ACCOUNT, Fence::new("outlived", ["id"])).await;
    put(&mut mine, "outlived", 1, 5, "n/lease/a").await.unwrap();
    sqlx::raw_sql("DELETE FROM outlived").execute(&mut mine).await.unwrap();
    assert_eq!(put(&mut mine, "outlived", 1, 4, "n/lease/a").await, Err(Some(Rejection::StaleToken)));
    // And its being made again, and a new name.
    sqlx::raw_sql("ALTER TABLE outlived RENAME TO renamed_outlived").execute(&mut mine).await.unwrap();
    let again = put(&mut mine, "renamed_outlived", 1, 4, "n/lease/a").await;
    sqlx::raw_sql("ALTER TABLE renamed_outlived RENAME TO outlived").execute(&mut mine).await.unwrap();
    assert_eq!(again, Err(Some(Rejection::StaleToken)));
    bed.store.create_fence(&mut mine, &Fence::new("outlived", ["id"])).await.unwrap();
    assert_eq!(put(&mut mine, "outlived", 1, 4, "n/lease/a").await, Err(Some(Rejection::StaleToken)));
}

#[tokio::test]
async fn a_row_that_moves_has_to_pass_where_it_was() {
    let bed = Bed::new("moved").await;
    let mut mine = fenced(&bed, ACCOUNT, Fence::new("moved", ["id"])).await;
    put(&mut mine, "moved", 1, 5, "n/lease/a").await.unwrap();
    let stale = sqlx::raw_sql("UPDATE moved SET id = 2, sentinel_token = 4").execute(&mut mine).await;
    assert_eq!(stale.err().and_then(|error| Rejection::of(&error)), Some(Rejection::StaleToken));
}

#[tokio::test]
async fn a_write_without_token_or_address_is_rejected() {
    let bed = Bed::new("bare").await;
    let mut mine = fenced(&bed, ACCOUNT, Fence::new("bare", ["id"])).await;
    for values in ["1, 0, NULL, 'n/lease/a'", "1, 0, 5, NULL"] {
        let sql = AssertSqlSafe(format!("INSERT INTO bare VALUES ({values})"));
        let error = sqlx::raw_sql(sql).execute(&mut mine).await.unwrap_err();
        assert_eq!(Rejection::of(&error), Some(Rejection::Unfenced), "{error}");
    }
}

#[tokio::test]
async fn names_are_quoted_and_resources_of_several_columns_kept_apart() {
    let bed = Bed::new("quoted").await;
    let mut mine = bed.connect().await;
    let odd = r#"DROP TABLE IF EXISTS "Odd ' \ "" name";
        CREATE TABLE "Odd ' \ "" name" ("a'b" text NOT NULL, "C" text NOT NULL, "t k" bigint, "%I""" text)"#;
    sqlx::raw_sql(odd).execute(&mut mine).await.unwrap();
    let fence = Fence::new(r#""Odd ' \ "" name""#, ["a'b", "C"]).token_column("t k").address_column("%I\"");
    bed.store.create_fence(&mut mine, &fence).await.unwrap();
    let mut put = async |values: &str| {
        let sql = AssertSqlSafe(format!(r#"INSERT INTO "Odd ' \ "" name" VALUES ({values})"#));
        sqlx::raw_sql(sql).execute(&mut mine).await.map(drop).map_err(|error| Rejection::of(&error))
    };
    let token = postgres().psql("SELECT coalesce(max(token), 0) + 5 FROM txn.fences").parse::<i64>().unwrap();
    put(&format!("'x,y', 'z', {token}, 'n/lease/a'")).await.unwrap();
    for other in ["'x', 'y,z'", "'x,y', 'w'"] {
        put(&format!("{other}, {}, 'n/lease/a'", token - 1)).await.expect("another resource");
    }
    let reply = put(&format!("'x,y', 'z', {}, 'n/lease/a'", token - 1)).await;
    assert_eq!(reply, Err(Some(Rejection::StaleToken)));
    sqlx::raw_sql(r#"DROP TABLE "Odd ' \ "" name""#).execute(&mut mine).await.unwrap();
}

#[tokio::test]
async fn a_column_that_has_no_one_text_is_no_resource() {
    let bed = Bed::new("unfit").await;
    let mut mine = bed.connect().await;
    let sql = "DROP TABLE unfit; \
        CREATE COLLATION IF NOT EXISTS caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
        CREATE TABLE unfit (id numeric NOT NULL, maybe int, caseless text COLLATE caseless NOT NULL, \
            sentinel_token bigint, sentinel_address text, narrow int)";
    sqlx::raw_sql(sql).execute(&mut mine).await.unwrap();
    let fences = [
        Fence::new("unfit", ["id"]),
        Fence::new("unfit", ["maybe"]),
        Fence::new("unfit", ["absent"]),
        Fence::new("unfit", ["caseless"]),
        Fence::new("unfit", ["narrow"]).token_column("narrow"),
    ];
    for fence in fences {
        let reply = bed.store.create_fence(&mut mine, &fence).await.unwrap_err();
        assert_eq!(reply.rejection(), Some(Rejection::NoFence), "{reply}");
    }
}

#[tokio::test]
async fn of_concurrent_writers_the_older_one_fails_after_its_wait() {
    let bed = Bed::new("raced").await;
    // A log: each write is a row of its own, and only the fence keeps them in order.
    let columns = "account int NOT NULL, sentinel_token bigint, sentinel_address text";
    let mut mine = fenced(&bed, columns, Fence::new("raced", ["account"])).await;
    let insert = |token: i64| AssertSqlSafe(format!("INSERT INTO raced VALUES (1, {token}, 'n/lease/a')"));
    sqlx::raw_sql(insert(1)).execute(&mut mine).await.unwrap();
    let mut tx = mine.begin().await.unwrap();
    sqlx::raw_sql(insert(9)).execute(&mut *tx).await.unwrap();
    let mut other = bed.connect().await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await.unwrap();
    let late = tokio::spawn(async move { sqlx::raw_sql(insert(8)).execute(&mut other).await.map(drop) });
    let waits = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}");
    tokio::task::spawn_blocking(move || {
        sentinel_testbed::until("the older writer waits", || postgres().psql(&waits) == "t");
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(Rejection::of(&error), Some(Rejection::StaleToken), "{error}");
}

#[tokio::test]
async fn a_role_without_rights_on_the_tables_is_fenced_and_may_check() {
    let bed = Bed::new("limited").await;
    let _ = fenced(&bed, ACCOUNT, Fence::new("limited", ["id"])).await;
    postgres().psql(
        "DO $$ BEGIN IF to_regrole('teller') IS NULL THEN CREATE ROLE teller LOGIN PASSWORD 'secret'; END IF; END $$; \
         GRANT SELECT, INSERT, UPDATE ON limited TO teller; GRANT USAGE ON SCHEMA txn TO teller",
    );
    let url = postgres().url_for("teller", "secret", "postgres");
    let mut teller = PgConnection::connect(&url).await.unwrap();
    put(&mut teller, "limited", 1, 5, "n/lease/a").await.unwrap();
    assert_eq!(put(&mut teller, "limited", 1, 4, "n/lease/a").await, Err(Some(Rejection::StaleToken)));
    // The check has to be granted by name.
    let grant = bed.begun("k").await;
    let mut tx = teller.begin().await.unwrap();
    let reply = bed.store.check_grant_in(&mut tx, &bed.address("k"), grant).await.unwrap_err();
    assert!(matches!(&reply, Rejected::Store(error) if error.to_string().contains("42501")), "{reply}");
    tx.rollback().await.unwrap();
    postgres().psql("GRANT EXECUTE ON FUNCTION txn.check_grant TO teller");
    let mut tx = teller.begin().await.unwrap();
    bed.store.check_grant_in(&mut tx, &bed.address("k"), grant).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(sqlx::raw_sql("SELECT FROM txn.records").execute(&mut teller).await.is_err());
}

#[tokio::test]
async fn the_printed_schema_can_fence_too() {
    let printed =
        sentinel_postgres::PostgresStore::builder(&postgres().url()).schema("printed").table_prefix("p_");
    let sql = printed.schema_sql().unwrap();
    for _ in 0..2 {
        postgres().psql(&sql);
    }
    let store = printed.open().await.unwrap();
    let fence = Fence::new("by_hand", ["id"]);
    postgres().psql(&format!("CREATE TABLE by_hand ({ACCOUNT}); {}", store.fence_sql(&fence)));
    let mut mine = PgConnection::connect(&postgres().url()).await.unwrap();
    put(&mut mine, "by_hand", 1, 5, "n/lease/a").await.unwrap();
    assert_eq!(put(&mut mine, "by_hand", 1, 4, "n/lease/a").await, Err(Some(Rejection::StaleToken)));
    postgres().psql("DROP TABLE by_hand");
}

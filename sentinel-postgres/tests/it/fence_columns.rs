//! A fence reads the columns that it guards, and no other; and it guards whatever kind of table it accepts.

use sentinel_postgres::{Fence, Rejection};
use sentinel_testbed::postgres;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::transaction::Bed;

/// Runs SQL; the error is Ok where it is a rejection.
async fn sql(connection: &mut PgConnection, text: &str) -> Option<Rejection> {
    let error = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.err()?;
    Some(Rejection::of(&error).unwrap_or_else(|| panic!("{text}: {error}")))
}

/// Tables of the user's, without what an earlier run has seen in them.
async fn tables(bed: &Bed, text: &str) -> PgConnection {
    postgres().psql(&format!(
        "DROP TABLE IF EXISTS {0} CASCADE; DELETE FROM txn.fences WHERE fence = 'public.{0}'",
        bed.name
    ));
    postgres().psql(text);
    bed.connect().await
}

const FENCED: &str = "sentinel_token bigint, sentinel_address text";

#[tokio::test]
async fn other_columns_may_hold_what_jsonb_cannot() {
    let bed = Bed::new("wide").await;
    let other = "CREATE TYPE wide_pair AS (a json, b point); CREATE DOMAIN wide_json AS json";
    let types = "DROP TYPE IF EXISTS wide_pair; DROP DOMAIN IF EXISTS wide_json";
    let columns = format!(
        "id int PRIMARY KEY, doc json, pair wide_pair, named wide_json, many json[], secret xml, \
         twice int GENERATED ALWAYS AS (id * 2) STORED, \"odd \"\" name\" json, {FENCED}"
    );
    postgres().psql("DROP TABLE IF EXISTS wide");
    let mut mine = tables(&bed, &format!("{types}; {other}; CREATE TABLE wide ({columns})")).await;
    bed.store.create_fence(&mut mine, &Fence::new("wide", ["id"])).await.unwrap();
    let odd = [r#"{"a":"\u0000"}"#, r#"{"a":1e999999}"#, r#"{"a":1,"a":"\ud800"}"#];
    for (n, json) in odd.iter().enumerate() {
        let token = 5 + n;
        let put = format!(
            "INSERT INTO wide (id, doc, pair, named, many, \"odd \"\" name\", sentinel_token, sentinel_address) \
             VALUES (1, '{json}', ROW('{json}', '(1,2)'), '{json}', ARRAY['{json}'::json], '{json}', \
             {token}, 'n/lease/a') \
             ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, sentinel_token = excluded.sentinel_token"
        );
        assert_eq!(sql(&mut mine, &put).await, None, "{json}");
    }
    let stale = "UPDATE wide SET doc = '1', sentinel_token = 4";
    assert_eq!(sql(&mut mine, stale).await, Some(Rejection::StaleToken));
    // A column without a guard may be dropped, changed and added.
    let alter = "ALTER TABLE wide DROP COLUMN doc, ALTER COLUMN many TYPE text USING '', \
                 ADD COLUMN later json DEFAULT '1'";
    assert_eq!(sql(&mut mine, alter).await, None);
    assert_eq!(sql(&mut mine, "UPDATE wide SET later = '2', sentinel_token = 9").await, None);
    assert_eq!(sql(&mut mine, stale.replace("doc", "later").as_str()).await, Some(Rejection::StaleToken));
}

#[tokio::test]
async fn a_fence_over_another_column_compares_nothing_with_the_one_before() {
    let bed = Bed::new("remade").await;
    let mut mine =
        tables(&bed, &format!("CREATE TABLE remade (id int PRIMARY KEY, owner int NOT NULL, {FENCED})"))
            .await;
    bed.store.create_fence(&mut mine, &Fence::new("remade", ["id"])).await.unwrap();
    assert_eq!(sql(&mut mine, "INSERT INTO remade VALUES (1, 2, 9, 'n/lease/a')").await, None);
    bed.store.create_fence(&mut mine, &Fence::new("remade", ["owner"])).await.unwrap();
    // The owner 1 is not the id 1.
    assert_eq!(sql(&mut mine, "INSERT INTO remade VALUES (2, 1, 5, 'n/lease/b')").await, None);
    assert_eq!(
        sql(&mut mine, "INSERT INTO remade VALUES (3, 1, 4, 'n/lease/b')").await,
        Some(Rejection::StaleToken)
    );
    // Over the columns of before, in any order, nothing was forgotten.
    bed.store.create_fence(&mut mine, &Fence::new("remade", ["id"])).await.unwrap();
    let stale = "UPDATE remade SET sentinel_token = 8, sentinel_address = 'n/lease/a' WHERE id = 1";
    assert_eq!(sql(&mut mine, stale).await, Some(Rejection::StaleToken));
    bed.store.create_fence(&mut mine, &Fence::new("remade", ["id", "owner"])).await.unwrap();
    assert_eq!(sql(&mut mine, "UPDATE remade SET sentinel_token = 8 WHERE id = 1").await, None);
    bed.store.create_fence(&mut mine, &Fence::new("remade", ["owner", "id"])).await.unwrap();
    let stale = "UPDATE remade SET sentinel_token = 7 WHERE id = 1";
    assert_eq!(sql(&mut mine, stale).await, Some(Rejection::StaleToken));
}

#[tokio::test]
async fn a_guarded_column_is_not_lost_unnoticed() {
    let bed = Bed::new("altered").await;
    let mut mine = tables(&bed, &format!("CREATE TABLE altered (id int PRIMARY KEY, {FENCED})")).await;
    bed.store.create_fence(&mut mine, &Fence::new("altered", ["id"])).await.unwrap();
    assert_eq!(sql(&mut mine, "INSERT INTO altered VALUES (1, 5, 'n/lease/a')").await, None);
    for change in ["ALTER COLUMN id TYPE numeric", "DROP COLUMN sentinel_token", "DROP COLUMN id"] {
        let text = AssertSqlSafe(format!("ALTER TABLE altered {change}"));
        assert!(sqlx::raw_sql(text).execute(&mut mine).await.is_err(), "{change}");
    }
    // Renamed, all writes wait for a fence of the new name.
    for (from, to) in [("id", "number"), ("sentinel_token", "token")] {
        let rename = format!("ALTER TABLE altered RENAME COLUMN {from} TO {to}");
        assert_eq!(sql(&mut mine, &rename).await, None);
        let error = sqlx::raw_sql("INSERT INTO altered VALUES (2, 5, 'n/lease/a')")
            .execute(&mut mine)
            .await
            .unwrap_err();
        assert_eq!(Rejection::of(&error), Some(Rejection::NoFence), "{error}");
        assert!(error.to_string().contains(from), "{error}");
    }
    let fence = Fence::new("altered", ["number"]).token_column("token");
    bed.store.create_fence(&mut mine, &fence).await.unwrap();
    assert_eq!(sql(&mut mine, "INSERT INTO altered VALUES (2, 5, 'n/lease/a')").await, None);
}

#[tokio::test]
async fn a_table_with_children_is_refused_before_and_after() {
    let bed = Bed::new("parent").await;
    let create = format!(
        "DROP TABLE IF EXISTS child CASCADE; CREATE TABLE parent (id int PRIMARY KEY, {FENCED}); \
         CREATE TABLE child (more int) INHERITS (parent)"
    );
    let mut mine = tables(&bed, &create).await;
    let reply = bed.store.create_fence(&mut mine, &Fence::new("parent", ["id"])).await.unwrap_err();
    assert!(
        reply.rejection() == Some(Rejection::NoFence) && reply.to_string().contains("inherits"),
        "{reply}"
    );
    // The child alone can be fenced: its rows pass its own trigger, also when its parent is written.
    bed.store.create_fence(&mut mine, &Fence::new("child", ["id"])).await.unwrap();
    assert_eq!(sql(&mut mine, "INSERT INTO child VALUES (1, 5, 'n/lease/a')").await, None);
    let stale = "UPDATE parent SET sentinel_token = 4";
    assert_eq!(sql(&mut mine, stale).await, Some(Rejection::StaleToken));
    // One that comes later stops the writes of the fenced one.
    assert_eq!(sql(&mut mine, "ALTER TABLE child NO INHERIT parent").await, None);
    bed.store.create_fence(&mut mine, &Fence::new("parent", ["id"])).await.unwrap();
    let write =
        "INSERT INTO parent VALUES (1, 5, 'n/lease/a') ON CONFLICT (id) DO UPDATE SET sentinel_token = 5";
    assert_eq!(sql(&mut mine, write).await, None);
    assert_eq!(sql(&mut mine, "CREATE TABLE late () INHERITS (parent)").await, None);
    assert_eq!(sql(&mut mine, write).await, Some(Rejection::NoFence));
    assert_eq!(sql(&mut mine, "DROP TABLE late").await, None);
    assert_eq!(sql(&mut mine, write).await, None);
}

#[tokio::test]
async fn partitions_are_fenced_as_one_table() {
    let bed = Bed::new("parted").await;
    let create = format!(
        "CREATE TABLE parted (id int NOT NULL, note json, {FENCED}) PARTITION BY RANGE (id); \
         CREATE TABLE parted_low (gone int, {FENCED}, note json, id int NOT NULL); \
         ALTER TABLE parted_low DROP COLUMN gone; \
         ALTER TABLE parted ATTACH PARTITION parted_low FOR VALUES FROM (0) TO (10)"
    );
    let mut mine = tables(&bed, &create).await;
    let reply = bed.store.create_fence(&mut mine, &Fence::new("parted_low", ["id"])).await.unwrap_err();
    assert!(
        reply.rejection() == Some(Rejection::NoFence) && reply.to_string().contains("partition"),
        "{reply}"
    );
    for _ in 0..2 {
        bed.store.create_fence(&mut mine, &Fence::new("parted", ["id"])).await.unwrap();
    }
    // One that comes later is fenced too, and so is one that is written directly.
    let later = "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20)";
    assert_eq!(sql(&mut mine, later).await, None);
    for (table, id) in [("parted", 1), ("parted_low", 2), ("parted", 11), ("parted_high", 12)] {
        let put = |token: i32| {
            format!(
                "INSERT INTO {table} (id, note, sentinel_token, sentinel_address) \
                 VALUES ({id}, '1', {token}, 'n/lease/a')"
            )
        };
        assert_eq!(sql(&mut mine, &put(5)).await, None);
        assert_eq!(sql(&mut mine, &put(4)).await, Some(Rejection::StaleToken), "{table} {id}");
    }
    // A row that moves to another partition has to pass where it was.
    let moved = |token: i32| format!("UPDATE parted SET id = id + 12, sentinel_token = {token} WHERE id = 1");
    assert_eq!(sql(&mut mine, &moved(4)).await, Some(Rejection::StaleToken));
    assert_eq!(sql(&mut mine, &moved(6)).await, None);
    let back = "INSERT INTO parted (id, sentinel_token, sentinel_address) VALUES (1, 5, 'n/lease/a')";
    assert_eq!(sql(&mut mine, back).await, Some(Rejection::StaleToken), "the place that it left has seen 6");
}

#[tokio::test]
async fn what_cannot_be_fenced_is_refused_by_its_kind() {
    let bed = Bed::new("kinds").await;
    let create = format!(
        "CREATE TABLE kinds (id int NOT NULL, made bigint GENERATED ALWAYS AS (id) STORED NOT NULL, {FENCED}); \
         CREATE VIEW kinds_view AS SELECT * FROM kinds"
    );
    let mut mine = tables(&bed, &create).await;
    assert_eq!(
        sql(&mut mine, &format!("CREATE TEMP TABLE fleeting (id int NOT NULL, {FENCED})")).await,
        None
    );
    for fence in [
        Fence::new("kinds_view", ["id"]),
        Fence::new("fleeting", ["id"]),
        Fence::new("kinds", ["id"]).token_column("made"),
    ] {
        let reply = bed.store.create_fence(&mut mine, &fence).await.unwrap_err();
        assert_eq!(reply.rejection(), Some(Rejection::NoFence), "{reply}");
    }
    // A stored generated column can name a resource, and so can a very long text.
    bed.store.create_fence(&mut mine, &Fence::new("kinds", ["made"])).await.unwrap();
    let put = |token: i32| format!("INSERT INTO kinds VALUES (1, DEFAULT, {token}, 'n/lease/a')");
    assert_eq!(sql(&mut mine, &put(5)).await, None);
    assert_eq!(sql(&mut mine, &put(4)).await, Some(Rejection::StaleToken));
    postgres().psql("ALTER TABLE kinds ADD COLUMN name text NOT NULL DEFAULT ''");
    bed.store.create_fence(&mut mine, &Fence::new("kinds", ["name"])).await.unwrap();
    let random = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)";
    let put = |token: i32, tail: &str| {
        format!("INSERT INTO kinds VALUES (1, DEFAULT, {token}, 'n/lease/a', {random} || '{tail}')")
    };
    assert_eq!(sql(&mut mine, &put(5, "x")).await, None);
    assert_eq!(sql(&mut mine, &put(4, "x")).await, Some(Rejection::StaleToken));
    assert_eq!(sql(&mut mine, &put(4, "y")).await, None, "another resource");
}

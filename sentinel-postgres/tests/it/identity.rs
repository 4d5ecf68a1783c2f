//! Whose events they are: no key ever shows, loses or is kept from writing events because of another's.

use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, CoordinationStore as _, OpId, PURGE_REST};

use crate::harness::{Fixture, call, fused, label, runtime};

/// The names of the changes in a key's history.
async fn changes(fixture: &Fixture, address: &Address) -> Vec<&'static str> {
    let events = fixture.store.history(address, u32::MAX).await.unwrap();
    events.iter().map(|event| event.change.name()).collect()
}

/// A lease lives through all that needs its events: claim, release, claim, eviction, claim.
async fn live(fixture: &Fixture, address: &Address) {
    let grant = fixture.granted(address, &call()).await;
    assert!(fixture.ask(address, Release { grant, vouched: false }).await.stamp.changed);
    let grant = fixture.granted(address, &call()).await;
    let evict = Evict { op_id: OpId::random(), operator: label("olga"), reason: None, expect: grant.token };
    assert!(fixture.ask(address, evict).await.stamp.changed);
    fixture.granted(address, &call()).await;
}

const LIFE: [&str; 5] = ["claimed", "released", "claimed", "evicted", "claimed"];

/// Sets back whatever counts in the schema, as logical replication and a restore of the schema alone leave it.
async fn set_counters_back(fixture: &Fixture) {
    let sql = format!(
        "SELECT count(setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)) \
         FROM pg_sequences WHERE schemaname = '{}'",
        fixture.schema
    );
    fixture.stranger().await.number(&sql).await;
}

#[test]
fn a_counter_that_was_set_back_gives_no_key_the_events_of_another() {
    runtime().block_on(async {
        let fixture = Fixture::open("identity_set_back", |builder| builder).await;
        let old = fixture.lease("old");
        live(&fixture, &old).await;
        let before = fixture.store.history(&old, u32::MAX).await.unwrap();
        set_counters_back(&fixture).await;
        for key in ["one", "two", "three"] {
            let new = fixture.lease(key);
            live(&fixture, &new).await;
            assert_eq!(changes(&fixture, &new).await, LIFE, "the history of {key}");
        }
        assert_eq!(
            fixture.store.history(&old, u32::MAX).await.unwrap(),
            before,
            "the history of the old key"
        );
        let free = fixture.granted(&fixture.lease("rested"), &call()).await;
        fixture.ask(&fixture.lease("rested"), Release { grant: free, vouched: false }).await;
        fixture.move_clock(2 * PURGE_REST.as_micros() as i64);
        let purge = Purge { namespace: fixture.namespace.clone(), limit: 10, dry_run: false };
        assert_eq!(fixture.store.purge(&purge).await.unwrap().records, 1);
        assert_eq!(
            fixture.store.history(&old, u32::MAX).await.unwrap(),
            before,
            "after a purge of another key"
        );
    });
}

/// The tables are created anew and the rows come by COPY: no counter is where it was.
#[test]
fn rows_that_were_copied_into_a_new_schema_keep_their_events_apart_from_new_ones() {
    runtime().block_on(async {
        let fixture = Fixture::open("identity_copied", |builder| builder).await;
        let old = fixture.lease("old");
        live(&fixture, &old).await;
        let before = fixture.store.history(&old, u32::MAX).await.unwrap();
        let mut restore = fixture.stranger().await;
        for table in ["records", "events"] {
            let table = format!("\"{}\".\"{table}\"", fixture.schema);
            restore
                .run(&format!(
                    "CREATE TEMP TABLE kept AS TABLE {table}; TRUNCATE {table} RESTART IDENTITY; \
                     INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept; DROP TABLE kept"
                ))
                .await;
        }
        let new = fixture.lease("new");
        live(&fixture, &new).await;
        assert_eq!(changes(&fixture, &new).await, LIFE);
        assert_eq!(fixture.store.history(&old, u32::MAX).await.unwrap(), before);
    });
}

/// A restore that brought back events without their record: the key's new life neither shows them nor fails on them.
#[test]
fn events_without_their_record_are_no_part_of_the_keys_next_life() {
    runtime().block_on(async {
        let fixture = Fixture::open("identity_left_behind", |builder| builder).await;
        let key = fixture.lease("key");
        live(&fixture, &key).await;
        let mut restore = fixture.stranger().await;
        restore.run(&format!("DELETE FROM {} WHERE {}", fixture.records(), fixture.row(&key))).await;
        set_counters_back(&fixture).await;
        live(&fixture, &key).await;
        assert_eq!(changes(&fixture, &key).await, LIFE);
    });
}

/// Records that one statement made began at one reading of the clock: each still has its own events.
#[test]
fn records_of_one_statement_have_their_own_events() {
    runtime().block_on(async {
        let fixture = Fixture::open("identity_together", |builder| builder).await;
        let keys: Vec<_> = (0..20).map(|n| fixture.execution(&format!("key {n}"))).collect();
        let claims: Vec<_> = keys.iter().map(|_| fused()).collect();
        let granted = keys.iter().zip(&claims).map(|(key, claim)| fixture.granted(key, claim));
        let grants = futures_util::future::join_all(granted).await;
        let released = keys.iter().zip(grants).enumerate().map(|(n, (key, grant))| {
            let (fixture, vouched) = (&fixture, n % 2 == 0);
            async move { fixture.ask(key, Release { grant, vouched }).await }
        });
        futures_util::future::join_all(released).await;
        for (n, key) in keys.iter().enumerate() {
            let expected: &[&str] = if n % 2 == 0 { &["claimed", "released"] } else { &["claimed"] };
            assert_eq!(changes(&fixture, key).await, expected, "{n}");
        }
    });
}

/// Records are distinguished by their primary key: no column that could repeat names the owner of an event.
#[test]
fn no_counter_distinguishes_records() {
    runtime().block_on(async {
        let fixture = Fixture::open("identity_counters", |builder| builder).await;
        let mut stranger = fixture.stranger().await;
        let count = format!("SELECT count(*) FROM pg_sequences WHERE schemaname = '{}'", fixture.schema);
        assert_eq!(stranger.number(&count).await, 0);
    });
}

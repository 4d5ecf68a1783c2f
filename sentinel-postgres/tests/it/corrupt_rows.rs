//! Rows that no store of ours has written: each column of records and events is set to whatever its type can hold. What
//! is read is a sound record or an error, never a panic, and never a number that no token can be.

use sentinel_core::operation::*;
use sentinel_core::store::List;
use sentinel_core::{
    Address, Change, CoordinationStore as _, ErrorKind, Event, Kind, OpId, Record, StoreError, Terms, Token,
};

use crate::harness::{Fixture, Stranger, call, fused, label, result, runtime};

/// Types of columns, and values in SQL that may be in them by mistake.
const CORRUPT: [(&str, &[&str]); 8] = [
    ("int8", &["NULL", "-1", "0", "1", "9007199254740992", "9223372036854775807", "-9223372036854775808"]),
    ("int4", &["NULL", "-2147483648", "2147483647"]),
    ("int2", &["-32768", "0", "1", "2", "3", "32767"]),
    ("bool", &["NULL", "true", "false"]),
    ("text", &["NULL", "''", "E'\\x01'", "repeat('x', 1025)", "'reset_to_claimed'"]),
    ("bytea", &["NULL", "''", "'\\xff'", "decode(repeat('61', 1025), 'hex')"]),
    ("uuid", &["NULL", "gen_random_uuid()"]),
    (
        "_uuid",
        &[
            "NULL",
            "'{}'",
            "'{NULL}'",
            "array_fill(gen_random_uuid(), ARRAY[9])",
            "array_fill(gen_random_uuid(), ARRAY[2, 2])",
        ],
    ),
];

const STATES: &[&str] = &["'free'", "'claimed'", "'executing'", "'completed'", "'reconciling'", "'purged'"];
const CHANGES: &[&str] = &[
    "'claimed'",
    "'completed'",
    "'cancelled'",
    "'released'",
    "'reconciling'",
    "'force_completed'",
    "'purged'",
];
const VERDICTS: &[&str] = &["NULL", "'success'", "'failure'"];

fn values(column: &str, of_type: &str) -> &'static [&'static str] {
    match column {
        // What finds the row, and what its type keeps sound.
        "namespace" | "key" | "kind" | "record" | "seq" => &[],
        "state" | "before" | "after" => STATES,
        "change" => CHANGES,
        "verdict" => VERDICTS,
        _ => CORRUPT.iter().find(|(name, _)| *name == of_type).map_or(&[], |(_, values)| values),
    }
}

/// A record in doubt with a past, one with a result, one that an operator holds.
async fn written(fixture: &Fixture) -> [Address; 3] {
    let [doubt, done, held] = ["doubt", "done", "held"].map(|key| fixture.execution(key));
    let grant = fixture.granted(&doubt, &call()).await;
    fixture.ask(&doubt, Release { grant, vouched: false }).await;
    let grant = fixture.granted(&doubt, &fused()).await;
    fixture
        .ask(&doubt, Abandon { grant, cause: label("why"), late_effects: std::time::Duration::ZERO })
        .await;
    let grant = fixture.granted(&done, &fused()).await;
    fixture.ask(&done, Complete { grant, result: result("it happened") }).await;
    let grant = fixture.granted(&held, &fused()).await;
    let (op_id, operator) = (OpId::random(), label("olga"));
    let (expect, even_if_alive, steal) = (grant.token, true, false);
    fixture.ask(&held, Reconcile { op_id, operator, reason: None, expect, even_if_alive, steal }).await;
    [doubt, done, held]
}

fn corrupt(error: &StoreError, how: &str) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{how}: {error}");
}

/// The same terms, if they keep to their borders.
fn checked(terms: Terms) -> Option<Terms> {
    Terms::new(terms.ttl(), terms.hard_ttl()).ok()?.with_late_effects(terms.late_effects()).ok()
}

fn record_is_sound(record: &Record, how: &str) {
    assert_eq!(record.flaw(), None, "{how}");
    assert!(record.token <= Token::MAX, "{how}");
    let lawful = record.terms.is_none_or(|terms| checked(terms) == Some(terms));
    assert!(lawful, "{how}: {:?}", record.terms);
    let tokens = record.decision.iter().flat_map(|decision| [decision.token, decision.presented]);
    tokens.for_each(|token| assert!(token <= Token::MAX, "{how}"));
}

fn event_is_sound(event: &Event, how: &str) {
    assert!(event.token <= Token::MAX, "{how}");
    if let Change::Claimed { terms, .. } = &event.change {
        assert_eq!(checked(*terms).as_ref(), Some(terms), "{how}");
    }
}

/// Reads a record by every operation.
async fn read_all(fixture: &Fixture, address: &Address, how: &str) {
    match fixture.store.inspect(address).await {
        Ok(reply) => reply.record.iter().for_each(|record| record_is_sound(record, how)),
        Err(error) => corrupt(&error, how),
    }
    match fixture.store.history(address, 100).await {
        Ok(events) => events.iter().for_each(|event| event_is_sound(event, how)),
        Err(error) => corrupt(&error, how),
    }
    let (namespace, kind) = (fixture.namespace.clone(), Kind::Execution);
    let everything = List { namespace, kind, state: None, after: None, limit: List::MAX };
    if let Err(error) = fixture.store.list(&everything).await {
        corrupt(&error, how);
    }
    // It may draw a number that the server has no room for: an error too, and the next one is answered.
    let _ = fixture.store.claim(address, &call()).await;
    let other = fixture.execution("another");
    assert!(fixture.store.inspect(&other).await.is_ok(), "{how}");
}

/// The columns of a table with their types.
async fn columns(by: &mut Stranger, schema: &str, table: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT string_agg(column_name || ' ' || udt_name, ',') FROM information_schema.columns \
         WHERE table_schema = '{schema}' AND table_name = '{table}'"
    );
    let reply = by.text(&sql).await;
    reply.split(',').filter_map(|column| column.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
fn a_corrupt_row_is_read_or_refused() {
    runtime().block_on(async {
        let fixture = Fixture::open("corrupt", |builder| builder).await;
        let addresses = written(&fixture).await;
        let mut by = fixture.stranger().await;
        by.run(
            "SET search_path = corrupt; CREATE TABLE kept AS TABLE records; CREATE TABLE log AS TABLE events",
        )
        .await;
        let mut cases = 0;
        for table in ["records", "events"] {
            for (column, of_type) in columns(&mut by, "corrupt", table).await {
                for value in values(&column, &of_type) {
                    let how = format!("{table}.{column} = {value}");
                    // What the table itself refuses stays as it was.
                    by.run(&format!(
                        "DO $$ BEGIN UPDATE {table} SET {column} = {value}; \
                         EXCEPTION WHEN others THEN NULL; END $$"
                    ))
                    .await;
                    for address in &addresses {
                        let refused = fixture.store.inspect(address).await.is_err();
                        // The table itself refuses a token beyond the last one.
                        let beyond = *value == "-1" && how.contains("records.token");
                        assert!(refused || !beyond, "{how} is read as a token");
                        read_all(&fixture, address, &how).await;
                    }
                    by.run(
                        "TRUNCATE records, events; INSERT INTO events TABLE log; \
                         INSERT INTO records OVERRIDING SYSTEM VALUE TABLE kept",
                    )
                    .await;
                    cases += 1;
                }
            }
        }
        assert!(cases > 200, "{cases}");
    });
}

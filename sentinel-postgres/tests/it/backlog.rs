//! Maintenance and lists among many records: they read only what is requested, however many other records there are.

use sentinel_conformance::DynHarness as _;
use sentinel_core::operation::Release;
use sentinel_core::store::{List, Purge, Purged, VisibleState};
use sentinel_core::{Address, CoordinationStore as _, Kind, State};

use crate::harness::{Fixture, Stranger, call, fused, runtime};
use crate::upkeep::EVENTS_KEPT;

/// Rows that were read through an index, and rows that were read without one.
#[derive(Debug, Clone, Copy)]
struct Read {
    by_index: i64,
    by_scan: i64,
}

/// What the store's connections read of a table. The store is closed first: a connection reports when it ends.
async fn read(fixture: Fixture, table: &str, index: &str) -> Read {
    let (gone, schema) = (fixture.connections("true"), fixture.schema.clone());
    let mut watcher = fixture.stranger().await;
    drop(fixture);
    watcher.until(&gone, |open| open == 0).await;
    watcher.run("SELECT pg_stat_clear_snapshot()").await;
    let of = format!("WHERE schemaname = '{schema}' AND relname = '{table}'");
    let by_index = format!(
        "SELECT coalesce(sum(idx_tup_read), 0)::int8 FROM pg_stat_user_indexes {of} AND indexrelname LIKE '{index}'"
    );
    let by_scan = format!("SELECT seq_tup_read FROM pg_stat_user_tables {of}");
    Read { by_index: watcher.number(&by_index).await, by_scan: watcher.number(&by_scan).await }
}

/// Inserts completed records whose retention is over, and others whose retention is not, by one statement each.
async fn fill(fixture: &Fixture, stranger: &mut Stranger, due: u32, kept: u32) {
    let (records, namespace) = (fixture.records(), fixture.namespace.as_str());
    for (name, count, purge_at) in [("due", due, "n"), ("kept", kept, "9000000000000000 + n")] {
        stranger
            .run(&format!(
                "INSERT INTO {records} (life, last_event, implied, token, rev, last_now, lease_until, hard_until, \
                     effects_until, incarnation, claimed_at, begun_at, completed_at, ttl, hard_ttl, late_effects, \
                     retention, purge_at, claim_id, kind, state, verdict, omitted, after_reset, namespace, key, \
                     worker, \
                     content_type, payload) \
                 SELECT n, 2, 2, n, 2, n, n, n, n, n, n, n, n, 10000, 10000, 0, 0, {purge_at}, \
                     gen_random_uuid(), 'execution', \
                     'completed', 'success', false, false, '{namespace}', '{name}-' || n, 'w', 'text/plain', '' \
                 FROM generate_series(1, {count}) n"
            ))
            .await;
    }
}

/// Inserts tombstones, by one statement.
async fn tombstones(fixture: &Fixture, stranger: &mut Stranger, count: u32) {
    stranger
        .run(&format!(
            "INSERT INTO {} (life, last_event, token, rev, last_now, lease_until, hard_until, effects_until, \
                 incarnation, kind, state, \
                 after_reset, namespace, key) \
             SELECT n, 2, n, 2, n, 0, 0, 0, n, 'execution', 'free', false, '{}', 'free-' || n \
             FROM generate_series(1, {count}) n",
            fixture.records(),
            fixture.namespace.as_str()
        ))
        .await;
}

/// Keeps all dead rows and index entries, as a dump of the database does while it runs.
async fn keep_the_dead(fixture: &Fixture) -> Stranger {
    let mut dump = fixture.stranger().await;
    dump.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
    dump
}

const MANY: u32 = 4_000;

/// Calls purge until nothing is left, this many records a call, while a dump keeps each dead entry.
async fn purge_in_calls_of(limit: u32, schema: &str) -> Read {
    let fixture = Fixture::open(schema, |builder| builder).await;
    let mut stranger = fixture.stranger().await;
    fill(&fixture, &mut stranger, MANY, MANY).await;
    let _dump = keep_the_dead(&fixture).await;
    let purge = Purge { namespace: fixture.namespace.clone(), limit, dry_run: false };
    let mut records = 0;
    loop {
        let purged = fixture.store.purge(&purge).await.unwrap();
        records += purged.records;
        if !purged.more {
            break;
        }
    }
    assert_eq!(records, u64::from(MANY));
    read(fixture, "records", "%purgeable").await
}

/// The rows that a purge reads are those that it purges, once each and a few: neither what is not due, nor what earlier
/// pages purged. (Read twice for each page or each call, that would be 8 to 40 times as many.)
fn is_linear(read: Read) {
    let most = i64::from(MANY) * 5 / 2;
    assert!(read.by_index <= most && read.by_scan == 0, "{read:?} for {MANY} records");
}

#[test]
fn a_purge_reads_each_record_of_a_backlog_once() {
    runtime().block_on(async { is_linear(purge_in_calls_of(u32::MAX, "backlog_at_once").await) });
}

#[test]
fn a_purge_in_many_calls_goes_on_where_the_last_call_ended() {
    runtime().block_on(async { is_linear(purge_in_calls_of(100, "backlog_in_calls").await) });
}

/// The remains of one purge go with the next one, do not count as records, and are not what a limit is for.
#[test]
fn the_remains_of_a_purge_go_with_the_next_purge() {
    runtime().block_on(async {
        let fixture = Fixture::open("backlog_remains", |builder| builder).await;
        let mut stranger = fixture.stranger().await;
        fill(&fixture, &mut stranger, MANY, 0).await;
        let all = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run: false };
        assert_eq!(
            fixture.store.purge(&all).await.unwrap(),
            Purged { records: u64::from(MANY), more: false }
        );
        fixture.move_clock(2 * sentinel_core::PURGE_REST.as_micros() as i64);
        let few = Purge { limit: 10, ..all.clone() };
        assert_eq!(fixture.store.purge(&few).await.unwrap(), Purged { records: 0, more: false });
        let rows = format!("SELECT count(*) FROM {}", fixture.records());
        assert_eq!(stranger.number(&rows).await, 0);
        let events = format!("SELECT count(*) FROM \"{}\".\"events\"", fixture.schema);
        assert_eq!(stranger.number(&events).await, 0);
    });
}

/// A namespace without anything due costs one read of an index, whatever this and other namespaces contain.
#[test]
fn a_purge_of_a_namespace_with_nothing_due_reads_nothing() {
    runtime().block_on(async {
        let fixture = Fixture::open("backlog_nothing_due", |builder| builder).await;
        let mut stranger = fixture.stranger().await;
        fill(&fixture, &mut stranger, 0, MANY).await;
        fill(&fixture.elsewhere(), &mut stranger, MANY, 0).await;
        for dry_run in [true, false] {
            let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run };
            assert_eq!(fixture.store.purge(&purge).await.unwrap(), Purged { records: 0, more: false });
        }
        let read = read(fixture, "records", "%").await;
        assert!(read.by_index <= 10 && read.by_scan == 0, "{read:?}");
    });
}

/// Tombstones are found among completed records by an index, also with a plan that was made while the table was empty.
#[test]
fn a_list_of_what_is_free_reads_what_is_free() {
    runtime().block_on(async {
        let fixture = Fixture::open("backlog_free", |builder| builder).await;
        let free = |limit| List {
            namespace: fixture.namespace.clone(),
            kind: Kind::Execution,
            state: Some(VisibleState::Free),
            after: None,
            limit,
        };
        for _ in 0..10 {
            assert!(fixture.store.list(&free(10)).await.unwrap().records.is_empty());
        }
        let mut stranger = fixture.stranger().await;
        fill(&fixture, &mut stranger, 0, MANY).await;
        tombstones(&fixture, &mut stranger, MANY / 100).await;
        let (mut after, mut found) = (None, 0);
        loop {
            let page = fixture.store.list(&List { after: after.clone(), ..free(7) }).await.unwrap();
            let Some((key, _)) = page.records.last() else { break };
            after = Some(key.clone());
            found += page.records.len();
        }
        assert_eq!(found, MANY as usize / 100);
        let read = read(fixture, "records", "%").await;
        assert!(read.by_index <= 100 && read.by_scan == 0, "{read:?} for {found} records");
    });
}

/// Old events are found in each part of a table of events that is read in parts.
pub(crate) async fn old_events_are_deleted_in_every_block(fixture: &Fixture, _: &str) {
    let (first, last) = (fixture.lease("first"), fixture.lease("last"));
    let freed = async |lease: &Address| {
        let grant = fixture.granted(lease, &call()).await;
        fixture.ask(lease, Release { grant, vouched: false }).await;
    };
    freed(&first).await;
    let others = format!(
        "INSERT INTO \"{}\".\"events\" (record, seq, rev, at, token, change, worker) \
         SELECT gen_random_uuid(), 1, 1, 9000000000000000, n, 'begun', repeat('w', 200) \
         FROM generate_series(1, 3000) n",
        fixture.schema
    );
    fixture.stranger().await.run(&others).await;
    freed(&last).await;
    fixture.advance(EVENTS_KEPT * 2).await;
    for lease in [&first, &last] {
        fixture.granted(lease, &call()).await;
    }
    let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run: false };
    fixture.store.purge(&purge).await.unwrap();
    for lease in [&first, &last] {
        let events = fixture.store.history(lease, u32::MAX).await.unwrap();
        assert_eq!(
            events.iter().map(|event| event.change.name()).collect::<Vec<_>>(),
            ["claimed"],
            "{lease}"
        );
    }
}

#[test]
fn a_pass_over_the_events_reads_all_of_them() {
    runtime().block_on(async {
        let fixture = Fixture::open("backlog_events", |builder| builder.event_retention(EVENTS_KEPT)).await;
        old_events_are_deleted_in_every_block(&fixture, "").await;
    });
}

/// With any `purge_at`: a record that is held has a state that is not purged.
#[test]
fn a_held_record_is_not_purged_at_any_date() {
    runtime().block_on(async {
        let fixture = Fixture::open("dated", |builder| builder).await;
        let address = fixture.execution("held");
        fixture.granted(&address, &fused()).await;
        fixture.stranger().await.run("UPDATE \"dated\".records SET purge_at = 1").await;
        let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run: false };
        assert_eq!(fixture.store.purge(&purge).await.unwrap(), Purged { records: 0, more: false });
        assert_eq!(fixture.record(&address).await.state, State::Executing);
    });
}

//! The indexes of causes: what enters them, and that a page is read from them.

use std::sync::{Arc, Mutex};

use sentinel_core::operation::Claim;
use sentinel_core::{Address, Cause, CauseQuery, ClaimId, Key, Root, Survey as _, TraceId};

use sentinel_store_tests::fixtures::{call, complete, fused};

use crate::harness::{Fixture, Stranger};

fn cause() -> Cause {
    Cause::new(Root::new("order 42").unwrap())
}

fn trace() -> TraceId {
    TraceId::from_bits(42).unwrap()
}

fn because(cause: Cause) -> Claim {
    Claim { claim_id: ClaimId::random(), cause: Some(cause), ..fused() }
}

fn execution(fixture: &Fixture, key: &str) -> Address {
    Address::execution(fixture.namespace.clone(), Key::new(key).unwrap())
}

/// How many pages the indexes by root and by trace have. An empty index has one.
async fn pages(by: &mut Stranger, schema: &str) -> [i64; 2] {
    let size = |index: &str| {
        format!("SELECT pg_relation_size('\"{schema}\".\"{index}\"') / current_setting('block_size')::int8")
    };
    [by.number(&size("records_root")).await, by.number(&size("records_trace")).await]
}

#[tokio::test]
async fn a_claim_without_a_cause_enters_no_index() {
    let fixture = Fixture::open("causes_empty", |builder| builder).await;
    let mut stranger = fixture.stranger().await;
    for key in ["a", "b", "c"] {
        let grant = fixture.granted(&execution(&fixture, key), &fused()).await;
        fixture.ask(&execution(&fixture, key), complete(grant, "done")).await;
    }
    let grant = fixture.granted(&execution(&fixture, "again"), &call()).await;
    fixture
        .ask(&execution(&fixture, "again"), sentinel_core::operation::Release { grant, vouched: false })
        .await;
    fixture.granted(&execution(&fixture, "again"), &Claim { claim_id: ClaimId::random(), ..call() }).await;
    assert_eq!(pages(&mut stranger, &fixture.schema).await, [1, 1], "both are empty");
    fixture.granted(&execution(&fixture, "root"), &because(cause())).await;
    assert_eq!(pages(&mut stranger, &fixture.schema).await, [2, 1], "a cause without a trace has a root");
    fixture.granted(&execution(&fixture, "trace"), &because(cause().with_trace(trace()))).await;
    assert_eq!(pages(&mut stranger, &fixture.schema).await, [2, 2]);
}

#[tokio::test]
async fn a_page_of_a_cause_is_read_from_its_index() {
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = sent.clone();
    let edit = Arc::new(move |name: &str, text: String| {
        if name == "by_cause" {
            seen.lock().unwrap().push(text.clone());
        }
        text
    });
    let fixture = Fixture::open("causes_plan", |builder| builder.edit_statements(edit)).await;
    let own = execution(&fixture, "own");
    fixture.granted(&own, &because(cause().with_trace(trace()))).await;
    let mut stranger = fixture.stranger().await;
    let records = fixture.records();
    // Many rows without a cause, and many with another one.
    let copied = "last_event, token, rev, last_now, lease_until, hard_until, effects_until, incarnation, claimed_at, \
        begun_at, ttl, hard_ttl, late_effects, claim_id, kind, state, implied, after_reset, namespace, worker";
    for (key, cause) in
        [("'plain ' || n", "NULL"), ("'other ' || n", "md5(n::text) || ' other' || n || ' 0'")]
    {
        let sql = format!(
            "INSERT INTO {records} (life, key, cause, {copied}) \
             SELECT life + n, {key}, {cause}, {copied} FROM {records} CROSS JOIN generate_series(1, 5000) n \
             WHERE {}",
            fixture.row(&own)
        );
        stranger.run(&sql).await;
    }
    stranger.run(&format!("ANALYZE {records}")).await;
    stranger
        .run(
            "CREATE FUNCTION pg_temp.plan(query text) RETURNS text LANGUAGE plpgsql AS $plan$ DECLARE found json; \
             BEGIN EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || query INTO found; RETURN found; END $plan$",
        )
        .await;
    let queries = [
        ("records_root", CauseQuery::Root(cause().root().clone())),
        ("records_trace", CauseQuery::Trace(trace())),
    ];
    for (index, query) in queries {
        let page = fixture.store.by_cause(&query, None, 10).await.unwrap();
        assert_eq!(page.records.iter().map(|(address, _)| address).collect::<Vec<_>>(), [&own]);
        let text = sent.lock().unwrap().pop().unwrap();
        let values = ["0", &format!("'{}'", query.encoded()), "''", "'execution'", "''", "10"];
        let filled = (1..).zip(values).fold(text, |text, (n, value)| text.replace(&format!("${n}"), value));
        let plan = stranger.text(&format!("SELECT pg_temp.plan($query${filled}$query$)")).await;
        assert!(plan.contains(&format!("\"Index Name\": \"{index}\"")), "{plan}");
        assert!(!plan.contains("records_pkey"), "{plan}");
    }
}

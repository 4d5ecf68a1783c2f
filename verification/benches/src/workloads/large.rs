//! Claiming, and listing what is uncertain, among 10 thousand and among 10 million records. Takes minutes and
//! gigabytes.

use std::sync::Arc;

use sentinel_client::Sentinel;
use sentinel_core::CoordinationStore;
use sentinel_postgres::PostgresStore;

use super::common::{by_the_store, fresh_key};
use crate::baselines::postgres;
use crate::context::{BenchContext, client, salt};
use crate::measure::{Op, Trial, op};
use crate::report::{Fact, Goal, Report};
use crate::target::Target;

const COLUMNS: &str = "life, last_event, token, rev, last_now, lease_until, hard_until, effects_until, incarnation, \
    claimed_at, begun_at, completed_at, ttl, hard_ttl, late_effects, \
    claim_id, kind, state, verdict, after_reset, omitted, namespace, key, worker, content_type, payload";

/// How many records there are with an unknown outcome.
const UNCERTAIN: u64 = 100;
/// A page of them is asked for.
const PAGE: u32 = 100;

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    if !context.plan.wants(Target::Postgres) {
        return;
    }
    let records = context.plan.records;
    let (few, many) = (filled(context, "few", 10_000), filled(context, "many", records));
    for (what, of) in [("table", "pg_table_size"), ("indexes", "pg_indexes_size")] {
        let bytes: f64 = context.postgres().psql(&format!("SELECT {of}('many.records')")).parse().unwrap();
        let (what, value) =
            (format!("{what}, for each of {records} completed records"), bytes / records as f64);
        let (workload, target) = ("large".into(), Target::Postgres);
        report.fact(Fact { workload, target, what, value, unit: "bytes".into(), goal: None });
    }
    for callers in [1, 32, 128] {
        let trial = Trial::new(context, "claim among many", Target::Postgres, callers).ours(claims(&many));
        let trial = trial.baseline_op("the same among 10,000", claims(&few));
        report.cell(trial.goal(Some(Goal::CostAtMost(1.2))).measure());
    }
    let trial = Trial::new(context, "bare rows among many", Target::Postgres, 1)
        .ours(inserts(context, "many", records));
    report.cell(trial.baseline_op("the same among 10,000", inserts(context, "few", 10_000)).measure());
    let trial = Trial::new(context, "uncertain of many", Target::Postgres, 1).ours(lists(&many));
    report.cell(trial.baseline_op("the same of 10,000", lists(&few)).measure());
}

/// A store in a schema of its own, with this many completed records and a few uncertain ones, keys in no order.
fn filled(context: &BenchContext, schema: &str, rows: u64) -> Arc<dyn CoordinationStore> {
    let builder = PostgresStore::builder(&context.postgres_url(Target::Postgres)).schema(schema);
    let store = context.runtime.block_on(builder.init()).unwrap();
    context.postgres().psql(&format!(
        "INSERT INTO {schema}.records ({COLUMNS}) SELECT 1700000000000000 + n, 2, \
         1700000000000000 + n, 2, 1700000000000000 + n, 0, 0, 0, \
         1700000000000000 + n, 1700000000000000, 1700000000000000, 1700000000000000 + n, 30000000, 60000000, 0, \
         gen_random_uuid(), 'execution', 'completed', 'success', false, false, 'billing', \
         'invoice-' || md5(n::text) || '-' || n, 'web1:8742', 'application/json', decode(repeat('61', 100), 'hex') \
         FROM generate_series(1, {rows}) n; \
         INSERT INTO {schema}.records ({COLUMNS}) SELECT 1700000000000000 + n, 1, \
         1700000000000000 + n, 1, 1700000000000000 + n, 0, 0, 0, \
         1700000000000000 + n, 1700000000000000, 1700000000000000, NULL, 30000000, 60000000, 0, gen_random_uuid(), \
         'execution', 'executing', NULL, false, NULL, 'billing', 'order-' || md5(n::text), 'web1:8742', NULL, NULL \
         FROM generate_series(1, {UNCERTAIN}) n; \
         VACUUM ANALYZE {schema}.records; CHECKPOINT"
    ));
    Arc::new(store)
}

/// Sixty-four rows in one statement, into a table of such rows that has nothing but a primary key: the limit of any
/// claim whose keys are in no order.
fn inserts(context: &BenchContext, schema: &str, rows: u64) -> Op {
    context.postgres().psql(&format!(
        "CREATE TABLE {schema}.bare (key text COLLATE \"C\" PRIMARY KEY, payload bytea); \
         INSERT INTO {schema}.bare SELECT 'invoice-' || md5(n::text) || '-' || n, decode(repeat('61', 400), 'hex') \
         FROM generate_series(1, {rows}) n; VACUUM ANALYZE {schema}.bare; CHECKPOINT"
    ));
    let (pool, key) = (postgres::pool(context, Target::Postgres), fresh_key(salt()));
    let sql = format!(
        "INSERT INTO {schema}.bare SELECT k, decode(repeat('61', 400), 'hex') FROM unnest($1::text[]) k ORDER BY k"
    );
    let sql: Arc<str> = sql.into();
    op(move |n| {
        let (pool, sql) = (pool.clone(), Arc::clone(&sql));
        let keys: Vec<String> = (64 * n..64 * (n + 1)).map(&key).collect();
        async move {
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(keys).execute(&pool).await.unwrap();
        }
    })
}

fn claims(store: &Arc<dyn CoordinationStore>) -> Op {
    let (store, key) = (Arc::clone(store), fresh_key(salt()));
    op(move |n| by_the_store(Arc::clone(&store), key(n)))
}

fn lists(store: &Arc<dyn CoordinationStore>) -> Op {
    let sentinel = client(Arc::clone(store));
    op(move |_| listed(sentinel.clone()))
}

async fn listed(sentinel: Sentinel) {
    let page = sentinel.uncertain(None, PAGE).await.unwrap();
    assert_eq!(page.records.len(), PAGE as usize);
}

//! Purging a backlog on PostgreSQL: many completed records past their retention in one namespace, purged in batches,
//! among as many that are kept. A backlog ten times as large should take ten times as long.

use std::time::Instant;

use sentinel_core::store::Purge;
use sentinel_core::{CoordinationStore as _, Namespace};
use sentinel_postgres::PostgresStore;

use crate::context::{BenchContext, NAMESPACE};
use crate::report::{Fact, Report};
use crate::target::Target;

/// How many records a call purges at most.
const BATCH: u32 = 10_000;

const COLUMNS: &str = "life, last_event, implied, token, rev, last_now, lease_until, hard_until, effects_until, \
    incarnation, claimed_at, begun_at, completed_at, purge_at, ttl, hard_ttl, late_effects, retention, \
    claim_id, kind, state, verdict, after_reset, omitted, namespace, key, worker, content_type, payload";

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    if !context.plan.wants(Target::Postgres) {
        return;
    }
    let most = if context.plan.quick { 20_000 } else { 1_000_000 };
    for records in [most / 10, most] {
        let value = purged_per_second(context, records);
        let (workload, target, what) =
            ("backlog".into(), Target::Postgres, format!("purged of a backlog of {records}"));
        report.fact(Fact { workload, target, what, value, unit: "records/s".into(), goal: None });
    }
}

fn purged_per_second(context: &BenchContext, records: u64) -> f64 {
    let schema = format!("backlog_{records}");
    let builder = PostgresStore::builder(&context.postgres_url(Target::Postgres)).schema(&schema);
    let store = context.runtime.block_on(builder.init()).unwrap();
    fill(context, &schema, records);
    let namespace = Namespace::new(NAMESPACE).unwrap();
    let (start, mut purged) = (Instant::now(), 0);
    loop {
        let purge = Purge { namespace: namespace.clone(), limit: BATCH, dry_run: false };
        let page = context.runtime.block_on(store.purge(&purge)).unwrap();
        purged += page.records;
        if !page.more {
            break;
        }
    }
    assert_eq!(purged, records);
    let rate = records as f64 / start.elapsed().as_secs_f64();
    drop(store);
    context.postgres().psql(&format!("DROP SCHEMA {schema} CASCADE"));
    rate
}

/// Records that are due, and as many that are not.
fn fill(context: &BenchContext, schema: &str, records: u64) {
    for (name, retention) in [("due", 0_i64), ("kept", 3_000_000_000_000_000)] {
        context.postgres().psql(&format!(
            "INSERT INTO {schema}.records ({COLUMNS}) SELECT t, 2, 2, t, 2, t, 0, 0, 0, t, t, t, t, t + {retention}, \
             30000000, 60000000, 0, {retention}, gen_random_uuid(), 'execution', 'completed', 'success', \
             false, false, '{NAMESPACE}', '{name}-' || md5(t::text), 'web1:8742', 'application/json', \
             decode(repeat('61', 100), 'hex') FROM \
             (SELECT 1700000000000000 + n AS t FROM generate_series(1, {records}) n) t"
        ));
    }
    context.postgres().psql(&format!("VACUUM ANALYZE {schema}.records; CHECKPOINT"));
}

//! Executions with small and large results, each beside one write of as many bytes through a client library. The bytes
//! do not compress.

use std::sync::Arc;

use fred::types::Value;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_core::ClaimId;
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Fsync;

use super::common::fresh_key;
use crate::alternatives::set_nx;
use crate::baselines::{postgres, sqlite};
use crate::context::{BenchContext, client, redis_options, salt};
use crate::measure::{Op, Trial, op};
use crate::report::Report;
use crate::target::Target;

/// Bytes as they are stored, their name, and by how many callers.
const SIZES: [(usize, &str, usize); 3] = [(100, "100 B", 32), (10_240, "10 KiB", 32), (1 << 20, "1 MiB", 8)];

const TARGETS: [Target; 3] = [Target::Sqlite, Target::Postgres, Target::RedisAlways];

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for target in TARGETS.into_iter().filter(|target| context.plan.wants(*target)) {
        for (bytes, name, callers) in SIZES {
            if context.plan.quick && (target != Target::Postgres || bytes != 10_240) {
                continue;
            }
            let name = format!("result of {name}");
            match target {
                Target::Sqlite => in_sqlite(context, report, &name, bytes),
                Target::Postgres => in_postgres(context, report, &name, bytes, callers),
                _ => in_redis(context, report, &name, bytes, callers),
            }
        }
    }
}

fn in_sqlite(context: &BenchContext, report: &mut Report, name: &str, bytes: usize) {
    let trial =
        Trial::new(context, name, Target::Sqlite, 1).ours(ours(context.sentinel(Target::Sqlite), bytes));
    report.cell(trial.baseline("INSERT, one connection", sqlite::insert(context, bytes)).measure());
}

fn in_postgres(context: &BenchContext, report: &mut Report, name: &str, bytes: usize, callers: usize) {
    let pool = postgres::pool(context, Target::Postgres);
    let (body, key) = (Arc::new(noise(bytes)), fresh_key(salt()));
    let insert = op(move |n| {
        let (pool, body, key) = (pool.clone(), Arc::clone(&body), key(n));
        async move {
            let insert = sqlx::query("INSERT INTO bare (key, payload) VALUES ($1, $2)");
            insert.bind(key).bind(body.as_bytes()).execute(&pool).await.unwrap();
        }
    });
    let trial = Trial::new(context, name, Target::Postgres, callers);
    let trial = trial.ours(ours(context.sentinel(Target::Postgres), bytes));
    report.cell(trial.baseline_op("INSERT (sqlx, pool of 16)", insert).measure());
}

/// On a server of its own, which takes its memory with it.
fn in_redis(context: &BenchContext, report: &mut Report, name: &str, bytes: usize, callers: usize) {
    let server = Redis::start(redis_options(Fsync::Always));
    let store = context.runtime.block_on(RedisStore::init(&server.url())).unwrap();
    let baseline = set_nx::connect(context, &server.url());
    let (body, key) = (Value::from(noise(bytes)), fresh_key(salt()));
    let set = op(move |n| {
        let (baseline, args) = (baseline.clone(), vec![format!("bare:{}", key(n)).into(), body.clone()]);
        async move {
            set_nx::send(&baseline, "SET", args).await;
        }
    });
    let trial = Trial::new(context, name, Target::RedisAlways, callers);
    let trial = trial.ours(ours(client(Arc::new(store)), bytes));
    report.cell(trial.baseline_op("SET (fred)", set).measure());
}

fn ours(sentinel: Sentinel, bytes: usize) -> Op {
    // The quotes of JSON are stored, too.
    let (body, key) = (Arc::new(noise(bytes - 2)), fresh_key(salt()));
    op(move |n| {
        let (sentinel, body, key) = (sentinel.clone(), Arc::clone(&body), key(n));
        async move {
            let once = sentinel.once(key).run(|_| async move { Ok::<_, std::io::Error>(body.to_string()) });
            assert!(matches!(once.await.unwrap(), Outcome::Completed(_)));
        }
    })
}

/// Text that nothing makes much smaller.
fn noise(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        text += &ClaimId::random().to_string();
    }
    text.truncate(bytes);
    text
}

//! A day: of ten calls seven ask again for what is completed, two are fresh, and one is for a key that others ask for
//! at the same time.

use sentinel_client::Sentinel;

use super::common::{filled, fresh, fresh_key, old_key, replayed};
use super::contended::joined;
use crate::baselines::{pgbench, redis, sqlite};
use crate::context::{BenchContext, salt};
use crate::measure::{Op, Run, Trial, op};
use crate::report::Report;
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Sqlite, &[64]),
    (Target::Postgres, &[32, 128]),
    (Target::PostgresPlus1ms, &[128]),
    (Target::RedisAlways, &[128]),
    (Target::RedisEverysec, &[128]),
];

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, callers) in context.plan.cells(CELLS) {
        let (name, baseline) = baseline(context, target, callers);
        let trial = Trial::new(context, "mixed", target, callers).ours(day(filled(context, target), salt()));
        report.cell(trial.baseline(name, baseline).measure());
    }
}

/// Four reads to one write.
fn baseline<'a>(context: &'a BenchContext, target: Target, callers: usize) -> (&'static str, Run<'a>) {
    match target {
        Target::Sqlite => ("4 SELECT, 1 INSERT", sqlite::mixed(context, 4)),
        Target::RedisAlways | Target::RedisEverysec => {
            let server = context.redis(target);
            let parts =
                vec![(0.8, redis::hgetall(server, callers)), (0.2, redis::evalsha_hset(server, callers))];
            ("4 HGETALL, 1 EVALSHA", redis::mixed(parts))
        }
        _ => {
            let scripts = vec![(pgbench::SELECT, 4), (pgbench::INSERT, 1)];
            ("pgbench, 4 SELECT, 1 INSERT", pgbench::mixed(context, target, callers, scripts))
        }
    }
}

/// All callers share one key for a hundred calls, ten of which ask for it.
fn day(sentinel: Sentinel, salt: u64) -> Op {
    let key = fresh_key(salt);
    op(move |n| {
        let (sentinel, key) = (sentinel.clone(), key.clone());
        async move {
            match n % 10 {
                0..7 => replayed(sentinel, old_key(n)).await,
                7..9 => fresh(sentinel, key(n)).await,
                _ => joined(sentinel, format!("hot-{}-{salt}", n / 100)).await,
            }
        }
    })
}

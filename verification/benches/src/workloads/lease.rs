//! Acquiring a free lease, and releasing it: each caller one of its own, over and over.

use sentinel_client::Sentinel;
use sentinel_client::{LeaseOutcome, ReleaseOutcome};

use super::memory;
use crate::baselines::{pgbench, redis, sqlite};
use crate::context::{BenchContext, salt};
use crate::measure::{Op, Run, Trial, op};
use crate::report::Report;
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Memory, &[1]),
    (Target::Sqlite, &[1, 64]),
    (Target::Postgres, &[1, 32, 128]),
    (Target::RedisAlways, &[1, 128]),
    (Target::RedisEverysec, &[128]),
];

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, callers) in context.plan.cells_of_many(CELLS) {
        let trial =
            Trial::new(context, "lease", target, callers).ours(cycle(context.sentinel(target), callers));
        let (name, baseline) = baseline(context, target, callers);
        report.cell(trial.baseline(name, baseline).measure());
    }
}

/// One write. A lease needs two: it is acquired, and it is released.
fn baseline<'a>(context: &'a BenchContext, target: Target, callers: usize) -> (&'static str, Run<'a>) {
    match target {
        Target::Memory => (memory::MAP, memory::map_writes(context)),
        Target::Sqlite => ("UPDATE, one connection", sqlite::update(context)),
        Target::RedisAlways | Target::RedisEverysec => {
            ("SET NX PX", redis::set_nx_px(context.redis(target), callers))
        }
        _ => ("pgbench UPDATE", pgbench::script(context, target, callers, pgbench::UPDATE)),
    }
}

/// One of many: who is next takes what was given back longest ago, if it was.
fn cycle(sentinel: Sentinel, callers: usize) -> Op {
    let (salt, many) = (salt(), 16 * callers as u64);
    op(move |n| taken_and_given_back(sentinel.clone(), format!("lease-{}-{salt}", n % many)))
}

async fn taken_and_given_back(sentinel: Sentinel, key: String) {
    // A caller that is sixteen rounds late may still hold it.
    if let LeaseOutcome::Held(lease) = sentinel.lease(key).acquire().await.unwrap() {
        assert_eq!(lease.release().await.unwrap(), ReleaseOutcome::Released);
    }
}

//! Asking again for what is completed.

use std::sync::Arc;

use sentinel_client::ReplayCache;

use super::common::{KEYS, filled, in_pages, old_key, read_baseline, replay_op, replayed};
use super::memory;
use crate::context::{BenchContext, client};
use crate::measure::Trial;
use crate::report::{Goal, Report};
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Sqlite, &[1, 64]),
    (Target::Postgres, &[1, 8, 32, 128, 512]),
    (Target::PostgresTcp, &[1, 128]),
    (Target::PostgresPlus1ms, &[128]),
    (Target::PostgresPlus10ms, &[128]),
    (Target::RedisAlways, &[1, 32, 128]),
    (Target::RedisEverysec, &[128]),
];

fn goal(target: Target, callers: usize) -> Option<Goal> {
    match (target, callers) {
        (Target::Postgres, 1) => Some(Goal::RatioAtLeast(0.45)),
        (Target::Postgres, 32) => Some(Goal::RatioAtLeast(2.0)),
        (Target::Postgres, 128) => Some(Goal::RatioAtLeast(3.0)),
        (Target::RedisAlways | Target::RedisEverysec, 128) => Some(Goal::RatioAtLeast(0.8)),
        _ => None,
    }
}

/// With a cache in the process.
const CACHED: &[(Target, &[usize])] = &[(Target::Postgres, &[1, 32, 128]), (Target::RedisAlways, &[128])];

/// Five times what is aimed at without it.
fn cached_goal(target: Target, callers: usize) -> Option<Goal> {
    match goal(target, callers) {
        Some(Goal::RatioAtLeast(limit)) if target == Target::Postgres => {
            Some(Goal::RatioAtLeast(5.0 * limit))
        }
        _ => None,
    }
}

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    if context.plan.wants(Target::Memory) {
        memory::replay(context, report);
    }
    for (target, callers) in context.plan.cells(CELLS) {
        let (name, baseline) = read_baseline(context, target, callers);
        let trial = Trial::new(context, "replay", target, callers).ours(replay_op(filled(context, target)));
        report.cell(trial.baseline(name, baseline).goal(goal(target, callers)).measure());
    }
    for (target, callers) in context.plan.cells(CACHED) {
        let cached = client(Arc::new(ReplayCache::new(Arc::clone(filled(context, target).store()))));
        // It remembers what was replayed once.
        in_pages(context, KEYS, |n| replayed(cached.clone(), old_key(n)));
        let (name, baseline) = read_baseline(context, target, callers);
        let trial = Trial::new(context, "replay, local cache", target, callers).ours(replay_op(cached));
        report.cell(trial.baseline(name, baseline).goal(cached_goal(target, callers)).measure());
    }
}

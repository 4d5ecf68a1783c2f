//! Executions of new keys.

use std::sync::Arc;

use super::common::{by_the_store, fresh_key, fresh_op, write_baseline};
use super::memory;
use crate::alternatives::{set_nx, upsert};
use crate::baselines::{postgres, sqlite};
use crate::context::{BenchContext, client, salt};
use crate::measure::{Trial, op};
use crate::report::{Goal, Report};
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Sqlite, &[1, 64]),
    (Target::Postgres, &[1, 8, 32, 128, 512]),
    (Target::PostgresTcp, &[1, 128]),
    (Target::PostgresPlus1ms, &[1, 128]),
    (Target::PostgresPlus10ms, &[1, 128]),
    (Target::RedisAlways, &[1, 8, 32, 128]),
    (Target::RedisEverysec, &[1, 128]),
];

fn goal(target: Target, callers: usize) -> Option<Goal> {
    match (target, callers) {
        (Target::Postgres | Target::Sqlite, 1) | (Target::RedisAlways | Target::RedisEverysec, 128) => {
            Some(Goal::RatioAtLeast(0.45))
        }
        (Target::Postgres, 32) => Some(Goal::RatioAtLeast(1.0)),
        (Target::Postgres, 128 | 512) => Some(Goal::RatioAtLeast(2.0)),
        (Target::Sqlite, 64) => Some(Goal::RatioAtLeast(1.6)),
        _ => None,
    }
}

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    if context.plan.wants(Target::Memory) {
        memory::fresh(context, report);
    }
    for (target, callers) in context.plan.cells(CELLS) {
        let store = context.store(target);
        let (name, baseline) = write_baseline(context, target, callers);
        let ours = fresh_op(client(Arc::clone(&store)), salt());
        let trial = Trial::new(context, "fresh", target, callers).ours(ours).baseline(name, baseline);
        report.cell(others(context, trial, target, callers, store).goal(goal(target, callers)).measure());
    }
}

/// The store without the client, and what would be written by hand.
fn others<'a>(
    context: &'a BenchContext,
    trial: Trial<'a>,
    target: Target,
    callers: usize,
    store: Arc<dyn sentinel_core::CoordinationStore>,
) -> Trial<'a> {
    // On other ways to a server the result would be the same.
    if context.plan.quick || target != target.server() || target == Target::RedisEverysec {
        return trial;
    }
    let key = fresh_key(salt());
    let trial = match target {
        Target::Sqlite if callers == 1 => {
            trial.other("INSERT, handed to a thread", sqlite::insert_by_a_thread(context))
        }
        Target::Postgres => {
            let two = postgres::two_writes(context, target, key.clone());
            trial
                .other_op(postgres::TWO_WRITES, two)
                .other_op(upsert::NAME, upsert::fresh(context, target, key))
        }
        Target::RedisAlways => trial.other_op(set_nx::NAME, set_nx::fresh(context, target, key)),
        _ => trial,
    };
    let key = fresh_key(salt());
    trial.other_op("claim and complete, no client", op(move |n| by_the_store(Arc::clone(&store), key(n))))
}

//! Microseconds of processor time for each operation: what is left of a figure on a machine that has other things to
//! do.

use std::sync::Arc;

use super::common::{filled, fresh_op, read_baseline, replay_op, write_baseline};
use crate::context::{BenchContext, salt};
use crate::measure::{Op, Run, closed::closed, cpu};
use crate::report::{Fact, Report};
use crate::target::Target;

const CELLS: &[(Target, &[usize])] =
    &[(Target::Sqlite, &[1, 64]), (Target::Postgres, &[1, 32, 128]), (Target::RedisAlways, &[1, 32, 128])];

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, callers) in context.plan.cells_of_many(CELLS) {
        let sentinel = filled(context, target);
        ours(context, report, (target, callers), "fresh", &fresh_op(sentinel.clone(), salt()));
        ours(context, report, (target, callers), "replay", &replay_op(sentinel));
        // SQLite has no server: its baseline is this process' own time, that of the loop included.
        if target != Target::Sqlite {
            baseline(context, report, (target, callers), write_baseline(context, target, callers));
            baseline(context, report, (target, callers), read_baseline(context, target, callers));
        }
    }
}

fn ours(context: &BenchContext, report: &mut Report, cell: (Target, usize), what: &str, op: &Op) {
    let (next, before) = (Arc::default(), used(context, cell.0));
    let sample = context.runtime.block_on(closed(cell.1, context.plan.span, &next, op));
    let (done, after) = (sample.done, used(context, cell.0));
    report.fact(fact(cell, &format!("{what}, client"), (after.client - before.client) / done));
    if let (Some(before), Some(after)) = (before.server, after.server) {
        report.fact(fact(cell, &format!("{what}, server"), (after - before) / done));
    }
}

/// Of the server only: the baseline's client is not measured.
fn baseline(
    context: &BenchContext,
    report: &mut Report,
    cell: (Target, usize),
    (name, mut run): (&str, Run<'_>),
) {
    let before = used(context, cell.0);
    let (done, after) = (run(context.plan.span).done, used(context, cell.0));
    if let (Some(before), Some(after)) = (before.server, after.server) {
        report.fact(fact(cell, &format!("{name}, server"), (after - before) / done));
    }
}

struct Used {
    client: f64,
    server: Option<f64>,
}

fn used(context: &BenchContext, target: Target) -> Used {
    let server = match target {
        Target::Memory | Target::Sqlite => None,
        Target::RedisAlways | Target::RedisEverysec => Some(cpu::family(context.redis(target).pid())),
        _ => Some(cpu::family(context.postgres().pid())),
    };
    Used { client: cpu::own(), server }
}

fn fact((target, callers): (Target, usize), what: &str, value: f64) -> Fact {
    let what = format!("of processor time for one operation, {callers} callers: {what}");
    Fact { workload: "cpu".into(), target, what, value, unit: "us".into(), goal: None }
}

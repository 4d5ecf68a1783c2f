//! Microseconds of processor time for each operation: what is left of a figure on a machine that has other things to
//! do.

use std::sync::Arc;

use super::common::{filled, fresh_op, read_floor, replay_op, write_floor};
use crate::lab::{Lab, salt};
use crate::measure::{Op, Run, closed::closed, cpu};
use crate::place::Place;
use crate::report::{Fact, Report};

const CELLS: &[(Place, &[usize])] =
    &[(Place::Sqlite, &[1, 64]), (Place::Postgres, &[1, 32, 128]), (Place::RedisAlways, &[1, 32, 128])];

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for (place, callers) in lab.plan.cells_of_many(CELLS) {
        let sentinel = filled(lab, place);
        ours(lab, report, (place, callers), "fresh", &fresh_op(sentinel.clone(), salt()));
        ours(lab, report, (place, callers), "replay", &replay_op(sentinel));
        // SQLite has no server: its floor is this process' own time, that of the loop included.
        if place != Place::Sqlite {
            floor(lab, report, (place, callers), write_floor(lab, place, callers));
            floor(lab, report, (place, callers), read_floor(lab, place, callers));
        }
    }
}

fn ours(lab: &Lab, report: &mut Report, cell: (Place, usize), what: &str, op: &Op) {
    let (next, before) = (Arc::default(), used(lab, cell.0));
    let sample = lab.runtime.block_on(closed(cell.1, lab.plan.span, &next, op));
    let (done, after) = (sample.done, used(lab, cell.0));
    report.fact(fact(cell, &format!("{what}, client"), (after.client - before.client) / done));
    if let (Some(before), Some(after)) = (before.server, after.server) {
        report.fact(fact(cell, &format!("{what}, server"), (after - before) / done));
    }
}

/// Of the server only: how the floor's client was written is nobody's concern.
fn floor(lab: &Lab, report: &mut Report, cell: (Place, usize), (name, mut run): (&str, Run<'_>)) {
    let before = used(lab, cell.0);
    let (done, after) = (run(lab.plan.span).done, used(lab, cell.0));
    if let (Some(before), Some(after)) = (before.server, after.server) {
        report.fact(fact(cell, &format!("{name}, server"), (after - before) / done));
    }
}

struct Used {
    client: f64,
    server: Option<f64>,
}

fn used(lab: &Lab, place: Place) -> Used {
    let server = match place {
        Place::Memory | Place::Sqlite => None,
        Place::RedisAlways | Place::RedisEverysec => Some(cpu::family(lab.redis(place).pid())),
        _ => Some(cpu::family(lab.postgres().pid())),
    };
    Used { client: cpu::own(), server }
}

fn fact((place, callers): (Place, usize), what: &str, value: f64) -> Fact {
    let what = format!("of processor time for one operation, {callers} callers: {what}");
    Fact { workload: "cpu".into(), place, what, value, unit: "us".into(), goal: None }
}

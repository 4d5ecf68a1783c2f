//! Asking again for what is completed.

use super::common::{filled, read_floor, replay_op};
use super::memory;
use crate::lab::Lab;
use crate::measure::Trial;
use crate::place::Place;
use crate::report::{Goal, Report};

const CELLS: &[(Place, &[usize])] = &[
    (Place::Sqlite, &[1, 64]),
    (Place::Postgres, &[1, 8, 32, 128, 512]),
    (Place::PostgresTcp, &[1, 128]),
    (Place::PostgresPlus1ms, &[128]),
    (Place::PostgresPlus10ms, &[128]),
    (Place::RedisAlways, &[1, 32, 128]),
    (Place::RedisEverysec, &[128]),
];

fn goal(place: Place, callers: usize) -> Option<Goal> {
    match (place, callers) {
        (Place::Postgres, 1) => Some(Goal::RatioAtLeast(0.45)),
        (Place::Postgres, 32) => Some(Goal::RatioAtLeast(2.0)),
        (Place::Postgres, 128) => Some(Goal::RatioAtLeast(3.0)),
        (Place::RedisAlways | Place::RedisEverysec, 128) => Some(Goal::RatioAtLeast(0.8)),
        _ => None,
    }
}

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    if lab.plan.wants(Place::Memory) {
        memory::replay(lab, report);
    }
    for (place, callers) in lab.plan.cells(CELLS) {
        let (name, floor) = read_floor(lab, place, callers);
        let trial = Trial::new(lab, "replay", place, callers).ours(replay_op(filled(lab, place)));
        report.cell(trial.floor(name, floor).goal(goal(place, callers)).measure());
    }
}

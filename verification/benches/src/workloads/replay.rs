//! Asking again for what is completed.

use std::sync::Arc;

use sentinel_client::ReplayCache;

use super::common::{KEYS, filled, in_pages, old_key, read_floor, replay_op, replayed};
use super::memory;
use crate::lab::{Lab, client};
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

/// With a cache in the process.
const CACHED: &[(Place, &[usize])] = &[(Place::Postgres, &[1, 32, 128]), (Place::RedisAlways, &[128])];

/// Five times what is aimed at without it.
fn cached_goal(place: Place, callers: usize) -> Option<Goal> {
    match goal(place, callers) {
        Some(Goal::RatioAtLeast(limit)) if place == Place::Postgres => Some(Goal::RatioAtLeast(5.0 * limit)),
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
    for (place, callers) in lab.plan.cells(CACHED) {
        let cached = client(Arc::new(ReplayCache::new(Arc::clone(filled(lab, place).store()))));
        // It remembers what was replayed once.
        in_pages(lab, KEYS, |n| replayed(cached.clone(), old_key(n)));
        let (name, floor) = read_floor(lab, place, callers);
        let trial = Trial::new(lab, "replay, local cache", place, callers).ours(replay_op(cached));
        report.cell(trial.floor(name, floor).goal(cached_goal(place, callers)).measure());
    }
}

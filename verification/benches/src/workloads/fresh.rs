//! Executions of keys that nobody has asked for.

use std::sync::Arc;

use super::common::{by_the_store, fresh_key, fresh_op, write_floor};
use super::memory;
use crate::floors::{postgres, sqlite};
use crate::lab::{Lab, client, salt};
use crate::measure::{Trial, op};
use crate::peers::{set_nx, upsert};
use crate::place::Place;
use crate::report::{Goal, Report};

const CELLS: &[(Place, &[usize])] = &[
    (Place::Sqlite, &[1, 64]),
    (Place::Postgres, &[1, 8, 32, 128, 512]),
    (Place::PostgresTcp, &[1, 128]),
    (Place::PostgresPlus1ms, &[1, 128]),
    (Place::PostgresPlus10ms, &[1, 128]),
    (Place::RedisAlways, &[1, 8, 32, 128]),
    (Place::RedisEverysec, &[1, 128]),
];

fn goal(place: Place, callers: usize) -> Option<Goal> {
    match (place, callers) {
        (Place::Postgres | Place::Sqlite, 1) | (Place::RedisAlways | Place::RedisEverysec, 128) => {
            Some(Goal::RatioAtLeast(0.45))
        }
        (Place::Postgres, 32) => Some(Goal::RatioAtLeast(1.0)),
        (Place::Postgres, 128 | 512) => Some(Goal::RatioAtLeast(2.0)),
        (Place::Sqlite, 64) => Some(Goal::RatioAtLeast(1.6)),
        _ => None,
    }
}

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    if lab.plan.wants(Place::Memory) {
        memory::fresh(lab, report);
    }
    for (place, callers) in lab.plan.cells(CELLS) {
        let store = lab.store(place);
        let (name, floor) = write_floor(lab, place, callers);
        let ours = fresh_op(client(Arc::clone(&store)), salt());
        let trial = Trial::new(lab, "fresh", place, callers).ours(ours).floor(name, floor);
        report.cell(others(lab, trial, place, callers, store).goal(goal(place, callers)).measure());
    }
}

/// The store without the client, and what would be written by hand.
fn others<'a>(
    lab: &'a Lab,
    trial: Trial<'a>,
    place: Place,
    callers: usize,
    store: Arc<dyn sentinel_core::CoordinationStore>,
) -> Trial<'a> {
    // On other ways to a server they would say the same again.
    if lab.plan.quick || place != place.server() || place == Place::RedisEverysec {
        return trial;
    }
    let key = fresh_key(salt());
    let trial = match place {
        Place::Sqlite if callers == 1 => {
            trial.other("INSERT, handed to a thread", sqlite::insert_by_a_thread(lab))
        }
        Place::Postgres => {
            let two = postgres::two_writes(lab, place, key.clone());
            trial.other_op(postgres::TWO_WRITES, two).other_op(upsert::NAME, upsert::fresh(lab, place, key))
        }
        Place::RedisAlways => trial.other_op(set_nx::NAME, set_nx::fresh(lab, place, key)),
        _ => trial,
    };
    let key = fresh_key(salt());
    trial.other_op("claim and complete, no client", op(move |n| by_the_store(Arc::clone(&store), key(n))))
}

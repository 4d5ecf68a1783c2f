//! A day: of ten calls seven ask again for what is completed, two are fresh, and one is for a key that others ask for
//! at the same time.

use sentinel_client::Sentinel;

use super::common::{filled, fresh, fresh_key, old_key, replayed};
use super::contended::joined;
use crate::floors::{pgbench, redis, sqlite};
use crate::lab::{Lab, salt};
use crate::measure::{Op, Run, Trial, op};
use crate::place::Place;
use crate::report::Report;

const CELLS: &[(Place, &[usize])] = &[
    (Place::Sqlite, &[64]),
    (Place::Postgres, &[32, 128]),
    (Place::PostgresPlus1ms, &[128]),
    (Place::RedisAlways, &[128]),
    (Place::RedisEverysec, &[128]),
];

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for (place, callers) in lab.plan.cells(CELLS) {
        let (name, floor) = floor(lab, place, callers);
        let trial = Trial::new(lab, "mixed", place, callers).ours(day(filled(lab, place), salt()));
        report.cell(trial.floor(name, floor).measure());
    }
}

/// Four reads to one write.
fn floor<'a>(lab: &'a Lab, place: Place, callers: usize) -> (&'static str, Run<'a>) {
    match place {
        Place::Sqlite => ("4 SELECT, 1 INSERT", sqlite::mixed(lab, 4)),
        Place::RedisAlways | Place::RedisEverysec => {
            let server = lab.redis(place);
            let parts =
                vec![(0.8, redis::hgetall(server, callers)), (0.2, redis::evalsha_hset(server, callers))];
            ("4 HGETALL, 1 EVALSHA", redis::mixed(parts))
        }
        _ => {
            let scripts = vec![(pgbench::SELECT, 4), (pgbench::INSERT, 1)];
            ("pgbench, 4 SELECT, 1 INSERT", pgbench::mixed(lab, place, callers, scripts))
        }
    }
}

/// One key is everybody's for a hundred calls, ten of which ask for it.
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

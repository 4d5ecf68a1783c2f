//! Acquiring a lease that nobody holds, and giving it back: each caller one of its own, over and over.

use sentinel_client::Sentinel;
use sentinel_client::{LeaseOutcome, ReleaseOutcome};

use super::memory;
use crate::floors::{pgbench, redis, sqlite};
use crate::lab::{Lab, salt};
use crate::measure::{Op, Run, Trial, op};
use crate::place::Place;
use crate::report::Report;

const CELLS: &[(Place, &[usize])] = &[
    (Place::Memory, &[1]),
    (Place::Sqlite, &[1, 64]),
    (Place::Postgres, &[1, 32, 128]),
    (Place::RedisAlways, &[1, 128]),
    (Place::RedisEverysec, &[128]),
];

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for (place, callers) in lab.plan.cells_of_many(CELLS) {
        let trial = Trial::new(lab, "lease", place, callers).ours(cycle(lab.sentinel(place), callers));
        let (name, floor) = floor(lab, place, callers);
        report.cell(trial.floor(name, floor).measure());
    }
}

/// One write. A lease needs two: it is taken, and it is given back.
fn floor<'a>(lab: &'a Lab, place: Place, callers: usize) -> (&'static str, Run<'a>) {
    match place {
        Place::Memory => (memory::MAP, memory::map_writes(lab)),
        Place::Sqlite => ("UPDATE, one connection", sqlite::update(lab)),
        Place::RedisAlways | Place::RedisEverysec => {
            ("SET NX PX", redis::set_nx_px(lab.redis(place), callers))
        }
        _ => ("pgbench UPDATE", pgbench::script(lab, place, callers, pgbench::UPDATE)),
    }
}

/// One of many: who is next takes what was given back longest ago, if it was.
fn cycle(sentinel: Sentinel, callers: usize) -> Op {
    let (salt, many) = (salt(), 16 * callers as u64);
    op(move |n| taken_and_given_back(sentinel.clone(), format!("lease-{}-{salt}", n % many)))
}

async fn taken_and_given_back(sentinel: Sentinel, key: String) {
    // Somebody who is sixteen rounds late may still hold it.
    if let LeaseOutcome::Held(lease) = sentinel.lease(key).acquire().await.unwrap() {
        assert_eq!(lease.release().await.unwrap(), ReleaseOutcome::Released);
    }
}

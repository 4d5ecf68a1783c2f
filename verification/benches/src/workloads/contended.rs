//! Many callers ask for one key at once, on two clients: one of them runs, all are answered with its result.

use std::time::Duration;

use sentinel_client::Outcome;
use sentinel_client::Sentinel;

use super::common::{read_floor, receipt};
use super::memory;
use crate::lab::{Lab, client, salt};
use crate::measure::{Op, Trial, op};
use crate::place::Place;
use crate::report::Report;

const CELLS: &[(Place, &[usize])] = &[
    (Place::Memory, &[32]),
    (Place::Sqlite, &[64]),
    (Place::Postgres, &[32, 128]),
    (Place::RedisAlways, &[128]),
];

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for (place, callers) in lab.plan.cells(CELLS) {
        let clients = lab.two_stores(place).map(client);
        let trial = Trial::new(lab, "contended", place, callers).ours(asked_by(callers, clients, salt()));
        let (name, floor) = match place {
            Place::Memory => (memory::MAP, memory::map_reads(lab)),
            _ => read_floor(lab, place, callers),
        };
        report.cell(trial.floor(name, floor).measure());
    }
}

/// As many in a row as there are callers ask for the same key.
fn asked_by(callers: usize, clients: [Sentinel; 2], salt: u64) -> Op {
    op(move |n| {
        let sentinel = clients[n as usize % 2].clone();
        joined(sentinel, format!("contended-{}-{salt}", n / callers as u64))
    })
}

/// Runs it, or waits for whoever does.
pub(crate) async fn joined(sentinel: Sentinel, key: String) {
    let once = sentinel.once(key).wait(Duration::from_secs(60));
    let outcome = once.run(|_| async { Ok::<_, std::io::Error>(receipt()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_) | Outcome::Replayed(_)), "{}", outcome.name());
}

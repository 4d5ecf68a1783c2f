//! Many callers ask for one key at once, on two clients: one of them runs, all get its result.

use std::time::Duration;

use sentinel_client::Outcome;
use sentinel_client::Sentinel;

use super::common::{read_baseline, receipt};
use super::memory;
use crate::context::{BenchContext, client, salt};
use crate::measure::{Op, Trial, op};
use crate::report::Report;
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Memory, &[32]),
    (Target::Sqlite, &[64]),
    (Target::Postgres, &[32, 128]),
    (Target::RedisAlways, &[128]),
];

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, callers) in context.plan.cells(CELLS) {
        let clients = context.two_stores(target).map(client);
        let trial =
            Trial::new(context, "contended", target, callers).ours(asked_by(callers, clients, salt()));
        let (name, baseline) = match target {
            Target::Memory => (memory::MAP, memory::map_reads(context)),
            _ => read_baseline(context, target, callers),
        };
        report.cell(trial.baseline(name, baseline).measure());
    }
}

/// As many in a row as there are callers ask for the same key.
fn asked_by(callers: usize, clients: [Sentinel; 2], salt: u64) -> Op {
    op(move |n| {
        let sentinel = clients[n as usize % 2].clone();
        joined(sentinel, format!("contended-{}-{salt}", n / callers as u64))
    })
}

/// Runs it, or waits for the caller that does.
pub(crate) async fn joined(sentinel: Sentinel, key: String) {
    let once = sentinel.once(key).wait(Duration::from_secs(60));
    let outcome = once.run(|_| async { Ok::<_, std::io::Error>(receipt()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_) | Outcome::Replayed(_)), "{}", outcome.name());
}

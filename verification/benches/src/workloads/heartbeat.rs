//! Live leases, renewed all at once as a keeper does, against one statement for each.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::{Beat, HeartbeatReply, Phase};
use sentinel_core::{CoordinationStore, Kind};

use super::common::{address, granted, in_pages};
use super::memory;
use crate::floors::{pgbench, redis, sqlite};
use crate::lab::{Lab, salt};
use crate::measure::{Run, Sample, Trial, cpu};
use crate::place::Place;
use crate::report::{Fact, Goal, Report};

/// With how many live leases; 100,000 take long to be taken.
const CELLS: &[(Place, &[u64])] = &[
    (Place::Memory, &[10_000]),
    (Place::Sqlite, &[10_000]),
    (Place::Postgres, &[100, 10_000, 100_000]),
    (Place::RedisAlways, &[100, 10_000, 100_000]),
];

/// A beat is sent every third of the ttl, which is 30 s if nobody says otherwise.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for (place, sizes) in CELLS.iter().filter(|(place, _)| lab.plan.wants(*place)) {
        let store = lab.store(*place);
        for leases in sizes.iter().filter(|leases| !lab.plan.quick || **leases == 10_000) {
            let beats = live(lab, &store, *leases);
            rate(lab, report, *place, &store, &beats);
            if *leases == 10_000 && *place == Place::Postgres {
                share_of_a_core(lab, report, &store, &beats);
            }
        }
    }
}

/// Takes so many leases.
fn live(lab: &Lab, store: &Arc<dyn CoordinationStore>, leases: u64) -> Vec<Beat> {
    let salt = salt();
    in_pages(lab, leases, |n| async move {
        let address = address(Kind::Lease, format!("live-{n}-{salt}"));
        let grant = granted(&**store, &address, Phase::Claimed).await;
        Beat { address, grant }
    })
}

fn rate(lab: &Lab, report: &mut Report, place: Place, store: &Arc<dyn CoordinationStore>, beats: &[Beat]) {
    let name = format!("heartbeat of {}", beats.len());
    let trial = Trial::new(lab, name, place, 1).ours_by(renewing(lab, store, beats, beats.len()));
    let trial = match place {
        Place::Memory => trial.floor(memory::MAP, memory::map_beats(lab, beats)),
        Place::Sqlite => trial.floor("UPDATE, one connection", sqlite::update(lab)),
        Place::RedisAlways => trial.floor("EVALSHA of one HSET", redis::evalsha_hset(lab.redis(place), 1)),
        _ => trial.floor("pgbench UPDATE", pgbench::script(lab, place, 1, pgbench::UPDATE)),
    };
    let trial =
        if lab.plan.quick { trial } else { trial.other("one call for each", renewing(lab, store, beats, 1)) };
    report.cell(trial.measure());
}

/// Leases renewed a second, so many in a call.
fn renewing<'a>(
    lab: &'a Lab,
    store: &'a Arc<dyn CoordinationStore>,
    beats: &'a [Beat],
    in_a_call: usize,
) -> Run<'a> {
    Box::new(move |span| {
        lab.runtime.block_on(async {
            let (start, mut done) = (std::time::Instant::now(), 0);
            for call in beats.chunks(in_a_call).cycle() {
                renew(&**store, call).await;
                done += call.len();
                if start.elapsed() >= span {
                    break;
                }
            }
            Sample::of(done as f64, start.elapsed().as_secs_f64())
        })
    })
}

async fn renew(store: &dyn CoordinationStore, beats: &[Beat]) {
    let replies = store.heartbeat(beats).await.unwrap();
    assert!(replies.iter().all(|reply| matches!(reply.reply, HeartbeatReply::Kept { .. })));
}

/// What 10,000 live leases cost, and whether they leave anything to clean up.
fn share_of_a_core(lab: &Lab, report: &mut Report, store: &Arc<dyn CoordinationStore>, beats: &[Beat]) {
    let calls = if lab.plan.quick { 10 } else { 30 };
    let (theirs, ours, before) = (cpu::family(lab.postgres().pid()), cpu::own(), updates(lab));
    lab.runtime.block_on(async {
        for _ in 0..calls {
            renew(&**store, beats).await;
        }
    });
    let (theirs, ours) = (cpu::family(lab.postgres().pid()) - theirs, cpu::own() - ours);
    let after = updates(lab);
    let share = |used: f64| 100.0 * used / f64::from(calls) / EVERY.as_micros() as f64;
    let mut fact = |what: &str, value, goal| {
        let (workload, place, unit) = ("heartbeat".into(), Place::Postgres, "%".into());
        report.fact(Fact { workload, place, what: what.into(), value, unit, goal });
    };
    let what = "of one core of the server for 10,000 live leases, renewed every 10 s";
    fact(what, share(theirs), Some(Goal::AtMost(2.0)));
    fact("of one core of the client for the same", share(ours), None);
    let heap_only = 100.0 * (after.1 - before.1) / (after.0 - before.0);
    fact("of these updates were heap-only", heap_only, Some(Goal::AtLeast(95.0)));
}

/// How many rows of records were updated, and how many of them without touching an index.
fn updates(lab: &Lab) -> (f64, f64) {
    // The server's counters are behind by up to a second.
    std::thread::sleep(Duration::from_millis(1500));
    let told = lab.postgres().psql(
        "SELECT pg_stat_clear_snapshot(); SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
         WHERE schemaname || '.' || relname = 'sentinel.records'",
    );
    let line = told.lines().last().and_then(|line| line.split_once('|'));
    let (all, heap_only) = line.unwrap_or_else(|| panic!("no counters of the records: {told}"));
    (all.parse().unwrap(), heap_only.parse().unwrap())
}

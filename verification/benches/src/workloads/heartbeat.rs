//! Live leases, renewed all at once as a keeper does, against one statement for each.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::{Beat, HeartbeatReply, Phase};
use sentinel_core::{CoordinationStore, Kind};

use super::common::{address, granted, in_pages};
use super::memory;
use crate::baselines::{pgbench, redis, sqlite};
use crate::context::{BenchContext, salt};
use crate::measure::{Run, Sample, Trial, cpu};
use crate::report::{Fact, Goal, Report};
use crate::target::Target;

/// The numbers of live leases. Acquiring 100,000 takes long.
const CELLS: &[(Target, &[u64])] = &[
    (Target::Memory, &[10_000]),
    (Target::Sqlite, &[10_000]),
    (Target::Postgres, &[100, 10_000, 100_000]),
    (Target::RedisAlways, &[100, 10_000, 100_000]),
];

/// A beat is sent every third of the ttl, which is 30 s by default.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, sizes) in CELLS.iter().filter(|(target, _)| context.plan.wants(*target)) {
        let store = context.store(*target);
        for leases in sizes.iter().filter(|leases| !context.plan.quick || **leases == 10_000) {
            let beats = live(context, &store, *leases);
            rate(context, report, *target, &store, &beats);
            if *leases == 10_000 && *target == Target::Postgres {
                share_of_a_core(context, report, &store, &beats);
            }
        }
    }
}

/// Acquires this many leases.
fn live(context: &BenchContext, store: &Arc<dyn CoordinationStore>, leases: u64) -> Vec<Beat> {
    let salt = salt();
    in_pages(context, leases, |n| async move {
        let address = address(Kind::Lease, format!("live-{n}-{salt}"));
        let grant = granted(&**store, &address, Phase::Claimed).await;
        Beat { address, grant }
    })
}

fn rate(
    context: &BenchContext,
    report: &mut Report,
    target: Target,
    store: &Arc<dyn CoordinationStore>,
    beats: &[Beat],
) {
    let name = format!("heartbeat of {}", beats.len());
    let trial = Trial::new(context, name, target, 1).ours_by(renewing(context, store, beats, beats.len()));
    let trial = match target {
        Target::Memory => trial.baseline(memory::MAP, memory::map_beats(context, beats)),
        Target::Sqlite => trial.baseline("UPDATE, one connection", sqlite::update(context)),
        Target::RedisAlways => {
            trial.baseline("EVALSHA of one HSET", redis::evalsha_hset(context.redis(target), 1))
        }
        _ => trial.baseline("pgbench UPDATE", pgbench::script(context, target, 1, pgbench::UPDATE)),
    };
    let trial = if context.plan.quick {
        trial
    } else {
        trial.other("one call for each", renewing(context, store, beats, 1))
    };
    report.cell(trial.measure());
}

/// Leases renewed a second, this many in a call.
fn renewing<'a>(
    context: &'a BenchContext,
    store: &'a Arc<dyn CoordinationStore>,
    beats: &'a [Beat],
    in_a_call: usize,
) -> Run<'a> {
    Box::new(move |span| {
        context.runtime.block_on(async {
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
fn share_of_a_core(
    context: &BenchContext,
    report: &mut Report,
    store: &Arc<dyn CoordinationStore>,
    beats: &[Beat],
) {
    let calls = if context.plan.quick { 10 } else { 30 };
    let (theirs, ours, before) = (cpu::family(context.postgres().pid()), cpu::own(), updates(context));
    context.runtime.block_on(async {
        for _ in 0..calls {
            renew(&**store, beats).await;
        }
    });
    let (theirs, ours) = (cpu::family(context.postgres().pid()) - theirs, cpu::own() - ours);
    let after = updates(context);
    let share = |used: f64| 100.0 * used / f64::from(calls) / EVERY.as_micros() as f64;
    let mut fact = |what: &str, value, goal| {
        let (workload, target, unit) = ("heartbeat".into(), Target::Postgres, "%".into());
        report.fact(Fact { workload, target, what: what.into(), value, unit, goal });
    };
    let what = "of one core of the server for 10,000 live leases, renewed every 10 s";
    fact(what, share(theirs), Some(Goal::AtMost(2.0)));
    fact("of one core of the client for the same", share(ours), None);
    let heap_only = 100.0 * (after.1 - before.1) / (after.0 - before.0);
    fact("of these updates were heap-only", heap_only, Some(Goal::AtLeast(95.0)));
}

/// How many rows of records were updated, and how many of them without touching an index.
fn updates(context: &BenchContext) -> (f64, f64) {
    // The server's counters are behind by up to a second.
    std::thread::sleep(Duration::from_millis(1500));
    let counters = context.postgres().psql(
        "SELECT pg_stat_clear_snapshot(); SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables \
         WHERE schemaname || '.' || relname = 'sentinel.records'",
    );
    let line = counters.lines().last().and_then(|line| line.split_once('|'));
    let (all, heap_only) = line.unwrap_or_else(|| panic!("no counters of the records: {counters}"));
    (all.parse().unwrap(), heap_only.parse().unwrap())
}

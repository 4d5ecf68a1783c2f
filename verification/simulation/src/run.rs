//! One run: a world, its faults, its settling, its checks.

use std::iter::Sum;
use std::sync::Arc;
use std::time::Duration;

use sentinel_client::LeaseOutcome;
use sentinel_conformance::negative::Mutation;
use sentinel_core::{Address, CoordinationStore as _, Kind, State};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::checker;
use crate::nemesis::Nemesis;
use crate::options::Options;
use crate::rng::Rng;
use crate::world::World;

/// Simulated time within which everything has to come to its end once faults are over.
const SETTLE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a key may be called once faults are over.
const MAX_CALLS: u32 = 50;

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Operations that the store carried out, functions that ran, effects, decisions.
    pub(crate) operations: u64,
    pub(crate) runs: u64,
    pub(crate) effects: u64,
    pub(crate) decisions: u64,
    /// All requests to the store and their replies, in one number.
    pub(crate) trace: u64,
}

impl Sum for Summary {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |total, one| Self {
            operations: total.operations + one.operations,
            runs: total.runs + one.runs,
            effects: total.effects + one.effects,
            decisions: total.decisions + one.decisions,
            trace: total.trace ^ one.trace,
        })
    }
}

/// Runs the world of a seed, over a store that may have one rule taken away. A broken
/// promise is reported with all that it takes to repeat the run.
pub(crate) fn run(seed: u64, broken: Option<&Mutation>) -> Result<Summary, String> {
    sentinel_core::seed_this_thread(seed);
    let options = Options::of(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(run_world(options.clone(), broken)).map_err(|broken| {
        format!(
            "{broken}\n\nsee it again: cargo run -p sentinel-simulation -- --seed {seed}\nits \
            world: {options}"
        )
    })
}

async fn run_world(options: Options, broken: Option<&Mutation>) -> Result<Summary, String> {
    let rng = Rng::new(options.seed).fork();
    let world = World::new(options, broken);
    let mut nemesis = Nemesis::new(world.clone(), rng.fork());
    nemesis.inject_faults().await;
    if timeout(SETTLE_LIMIT, nemesis.end()).await.is_err() {
        return Err("a task waits without end, although faults are over".into());
    }
    for address in world.addresses() {
        match timeout(SETTLE_LIMIT, settles(&world, &address, &rng)).await {
            Ok(settled) => settled?,
            Err(_) => return Err(format!("{address} never comes to an end")),
        }
    }
    checker::check(&world).await?;
    Ok(summary(&world))
}

/// Without faults each key comes to its end: a result, or a lease that the next one gets.
async fn settles(world: &Arc<World>, address: &Address, rng: &Rng) -> Result<(), String> {
    let last = world.start_process(rng);
    if address.kind == Kind::Lease {
        let asked = last.sentinel.lease(address.key.as_str()).wait(SETTLE_LIMIT);
        return match asked.acquire().await {
            Ok(LeaseOutcome::Held(held)) => held.release().await.map(drop).map_err(|error| error.to_string()),
            other => Err(format!("{address} is never free again: {other:?}")),
        };
    }
    let number = address.key.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    for _ in 0..MAX_CALLS {
        let answer = last.call(number).await;
        match answer.as_ref().map(|answer| &*answer.name) {
            Some("completed" | "replayed" | "failed") => return Ok(()),
            Some("uncertain" | "reconciling") => {
                let found = world.recorder.inspect(address).await.map_err(|error| error.to_string())?;
                let record =
                    found.record.filter(|r| r.is_uncertain(found.now) || r.state == State::Reconciling);
                if let Some(record) = record {
                    last.reconcile_key(&address.key, &record).await;
                }
            }
            _ => {}
        }
    }
    Err(format!("{address} was asked for {MAX_CALLS} times and has no result"))
}

fn summary(world: &World) -> Summary {
    let log = world.truth.log();
    let entries = world.recorder.entries();
    let mix = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let stamps =
        entries.iter().filter_map(|entry| entry.reply.as_ref()?.as_ref().ok().map(|a| (entry, a.stamp)));
    let trace = stamps.fold(0, |trace, (entry, stamp)| {
        [u64::from(entry.caller), stamp.now.as_micros(), stamp.rev, stamp.token.get()]
            .into_iter()
            .fold(trace, mix)
    });
    Summary {
        operations: entries.len() as u64,
        runs: log.starts.len() as u64,
        effects: log.effects.len() as u64,
        decisions: log.decided.len() as u64,
        trace,
    }
}

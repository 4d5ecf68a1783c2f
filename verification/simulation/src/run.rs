//! One run: a world, its faults, its settling, its verdict.

use std::iter::Sum;
use std::sync::Arc;
use std::time::Duration;

use sentinel_client::LeaseOutcome;
use sentinel_conformance::negative::Mutation;
use sentinel_core::{Address, CoordinationStore as _, Kind, State};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::fate::Fate;
use crate::judge;
use crate::options::Options;
use crate::world::World;

/// Simulated time within which everything has to come to its end once faults are over.
const AT_LAST: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a key may be asked for once faults are over.
const ASKED: u32 = 50;

/// What a run was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Operations that the store carried out, functions that ran, effects, decisions.
    pub(crate) operations: u64,
    pub(crate) runs: u64,
    pub(crate) effects: u64,
    pub(crate) decisions: u64,
    /// All that was asked of the store and answered, in one number.
    pub(crate) trace: u64,
}

impl Sum for Seen {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |total, seen| Self {
            operations: total.operations + seen.operations,
            runs: total.runs + seen.runs,
            effects: total.effects + seen.effects,
            decisions: total.decisions + seen.decisions,
            trace: total.trace ^ seen.trace,
        })
    }
}

/// Runs the world of a seed, over a store that may have one rule taken away. What was broken is told with all that it takes to see it again.
pub(crate) fn run(seed: u64, broken: Option<&Mutation>) -> Result<Seen, String> {
    sentinel_core::seed_this_thread(seed);
    let options = Options::of(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(live(options.clone(), broken)).map_err(|broken| {
        format!("{broken}\n\nsee it again: cargo run -p sentinel-simulation -- --seed {seed}\nits world: {options}")
    })
}

async fn live(options: Options, broken: Option<&Mutation>) -> Result<Seen, String> {
    let dice = Dice::new(options.seed).fork();
    let world = World::new(options, broken);
    let mut fate = Fate::new(world.clone(), dice.fork());
    fate.strike().await;
    if timeout(AT_LAST, fate.end()).await.is_err() {
        return Err("somebody waits for ever, although nothing is wrong any more".into());
    }
    for address in world.addresses() {
        match timeout(AT_LAST, settles(&world, &address, &dice)).await {
            Ok(settled) => settled?,
            Err(_) => return Err(format!("{address} never comes to an end")),
        }
    }
    judge::judge(&world).await?;
    Ok(seen(&world))
}

/// Without faults each key comes to its end: a result, or a lease that the next one gets.
async fn settles(world: &Arc<World>, address: &Address, dice: &Dice) -> Result<(), String> {
    let last = world.start_process(dice);
    if address.kind == Kind::Lease {
        let asked = last.sentinel.lease(address.key.as_str()).wait(AT_LAST);
        return match asked.acquire().await {
            Ok(LeaseOutcome::Held(held)) => held.release().await.map(drop).map_err(|error| error.to_string()),
            other => Err(format!("{address} is never free again: {other:?}")),
        };
    }
    let number = address.key.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    for _ in 0..ASKED {
        let answer = last.call(number).await;
        match answer.as_ref().map(|answer| &*answer.name) {
            Some("completed" | "replayed" | "failed") => return Ok(()),
            Some("uncertain" | "reconciling") => {
                let seen = world.recorder.inspect(address).await.map_err(|error| error.to_string())?;
                let record =
                    seen.record.filter(|r| r.is_uncertain(seen.now) || r.state == State::Reconciling);
                if let Some(record) = record {
                    last.settle(&address.key, &record).await;
                }
            }
            _ => {}
        }
    }
    Err(format!("{address} was asked for {ASKED} times and has no result"))
}

fn seen(world: &World) -> Seen {
    let told = world.truth.told();
    let entries = world.recorder.entries();
    let mix = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let stamps =
        entries.iter().filter_map(|entry| entry.answer.as_ref()?.as_ref().ok().map(|a| (entry, a.stamp)));
    let trace = stamps.fold(0, |trace, (entry, stamp)| {
        [u64::from(entry.caller), stamp.now.as_micros(), stamp.rev, stamp.token.get()]
            .into_iter()
            .fold(trace, mix)
    });
    Seen {
        operations: entries.len() as u64,
        runs: told.starts.len() as u64,
        effects: told.effects.len() as u64,
        decisions: told.decided.len() as u64,
        trace,
    }
}

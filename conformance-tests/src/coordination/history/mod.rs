//! Concurrent histories: many tasks ask at once, everything is written down, and two judges look at it afterwards.

use std::sync::Arc;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::{Address, CoordinationStore, Key};
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::coordination::faults::{Faulty, Plan};
use crate::coordination::harness::Harness;
use crate::coordination::sequences::model::fresh_namespace;
use crate::coordination::sequences::{runtime, seed, times};
use crate::rng::Rng;

mod actor;
mod judge;
#[cfg(test)]
mod judge_tests;
mod linear;
mod purged;
mod record;
mod truth;
mod written;

use actor::Actor;
use judge::End;
pub use record::{Entry, Look, Recorder, Saw};
pub use truth::authorised_runs;
pub use written::History;

/// How many histories share one store.
const HISTORIES_PER_STORE: u32 = 100;

/// Runs `count` concurrent histories, 2 to 6 tasks on 1 to 3 records each, and judges them by their stamps: replayed
/// through the kernel in the order that the store claims, every reply, record and event must be the kernel's, and the
/// order must be one that real time allows. Some histories go on hours later, while the namespace is purged. Panics
/// with the first history that is wrong.
pub fn histories<H: Harness>(count: u32) {
    run::<H>(count, Setting { purges: true, ..Setting::LARGE });
}

/// [`histories`] behind a network that loses, delays and repeats requests and replies ([`Faulty`]); callers send the
/// same request again until it is answered. What was carried out is judged as in `histories`; each answer must be one
/// that was really given to this request; and every request must have had the effect of once.
pub fn faulty_histories<H: Harness>(count: u32) {
    run::<H>(count, Setting { requests: (3, 8), faulty: true, ..Setting::LARGE });
}

/// Runs `count` small histories on one record, and looks for an order that explains the replies without trusting the
/// stamps. Panics with the first history that has none.
pub fn linearizable<H: Harness>(count: u32) {
    run::<H>(
        count,
        Setting { callers: (2, 4), records: (1, 1), requests: (3, 4), search: true, ..Setting::LARGE },
    );
}

/// How large histories are, least and most, and what they meet.
#[derive(Debug, Clone, Copy)]
struct Setting {
    callers: (u64, u64),
    records: (u64, u64),
    requests: (u64, u64),
    faulty: bool,
    search: bool,
    /// Whether some go on hours later, while the records are purged.
    purges: bool,
    /// Callers are numbered from here.
    first_caller: u32,
}

impl Setting {
    const LARGE: Self = Self {
        callers: (2, 6),
        records: (1, 3),
        requests: (4, 12),
        faulty: false,
        search: false,
        purges: false,
        first_caller: 0,
    };
}

fn run<H: Harness>(count: u32, setting: Setting) {
    let runtime = runtime(Builder::new_multi_thread().worker_threads(4));
    let seed = seed();
    runtime.block_on(async {
        let mut harness = Arc::new(H::open().await);
        for n in 0..times(count) {
            if n > 0 && n % HISTORIES_PER_STORE == 0 {
                harness = Arc::new(H::open().await);
            }
            let rng = Rng::new(seed).fork(u64::from(n));
            if let Err(finding) = history(&harness, setting, rng).await {
                panic!("history {n} of seed {seed} (its requests are repeatable, its interleaving is not):\n{finding}");
            }
        }
    });
}

/// One history, from its first request to the verdict.
async fn history<H: Harness>(harness: &Arc<H>, setting: Setting, mut rng: Rng) -> Result<(), String> {
    let addresses = addresses(between(&mut rng, setting.records), &mut rng);
    let store = harness.store();
    let recorder = Recorder::new(store.clone());
    let told = act(harness, setting, &mut rng, &addresses, &recorder).await?;
    judge(&*store, setting, &addresses, &recorder, &told).await?;
    if setting.purges && rng.percent(30) {
        purged::second_act(harness, setting, &mut rng, &addresses, told).await?;
    }
    Ok(())
}

fn between(rng: &mut Rng, (least, most): (u64, u64)) -> u64 {
    least + rng.below(most - least + 1)
}

/// All callers at once, each until it has made its requests; what they were told.
async fn act<H: Harness>(
    harness: &Arc<H>,
    setting: Setting,
    rng: &mut Rng,
    addresses: &[Address],
    recorder: &Recorder,
) -> Result<Vec<Told>, String> {
    let callers = between(rng, setting.callers);
    let board = Arc::default();
    let start = Arc::new(Barrier::new(callers as usize));
    let mut tasks = JoinSet::new();
    for caller in 0..callers as u32 {
        let below: Arc<dyn CoordinationStore> = Arc::new(recorder.as_caller(setting.first_caller + caller));
        let seed = rng.draw();
        let faulty = setting.faulty.then(|| Arc::new(Faulty::new(below.clone(), Plan::seeded(seed))));
        let store = faulty.clone().map_or(below, |faulty| faulty as Arc<dyn CoordinationStore>);
        let caller = setting.first_caller + caller;
        let actor = Actor::new(caller, store, addresses.to_vec(), Arc::clone(&board), rng.fork(seed));
        let (requests, start, harness) = (between(rng, setting.requests), start.clone(), harness.clone());
        tasks.spawn(async move {
            start.wait().await;
            let told = actor.run(requests, &*harness).await;
            if let Some(faulty) = faulty {
                faulty.settle().await;
            }
            told
        });
    }
    let mut told = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        told.extend(ended.map_err(|error| format!("a caller failed: {error}"))??);
    }
    Ok(told)
}

/// What a caller was told in the end.
struct Told {
    address: Address,
    op: Op,
    stamped: Stamped<Reply>,
}

async fn judge(
    store: &dyn CoordinationStore,
    setting: Setting,
    addresses: &[Address],
    recorder: &Recorder,
    told: &[Told],
) -> Result<(), String> {
    let (entries, looks) = (&recorder.entries(), &recorder.looks());
    for address in addresses {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        if setting.search {
            linear::linearizable(address, entries, &end.record).map(drop)?;
        } else {
            judge::by_stamps(address, entries, looks, &end)?;
        }
        truth::effect_of_once(address, &end.events)?;
        truth::explained(address, told, entries)?;
        truth::single_run(address, told, &end.events)?;
    }
    Ok(())
}

fn addresses(records: u64, rng: &mut Rng) -> Vec<Address> {
    let namespace = fresh_namespace("history");
    let key = |n| Key::new(format!("key-{n}")).unwrap_or_else(|invalid| unreachable!("{invalid}"));
    let address = |n| {
        if rng.percent(20) {
            Address::lease(namespace.clone(), key(n))
        } else {
            Address::execution(namespace.clone(), key(n))
        }
    };
    (0..records).map(address).collect()
}

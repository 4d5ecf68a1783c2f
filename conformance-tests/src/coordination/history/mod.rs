//! Concurrent histories: many tasks send requests at once, everything is recorded, and two checkers check it
//! afterwards.

use std::sync::Arc;

use sentinel_core::{Address, CoordinationStore, Key};
use tokio::runtime::Builder;

use crate::coordination::harness::Harness;
use crate::coordination::sequences::model::fresh_namespace;
use crate::coordination::sequences::{runtime, seed, times};
use crate::rng::Rng;

mod actor;
mod callers;
mod checker;
#[cfg(test)]
mod checker_tests;
mod invariants;
mod linearizability;
mod purged;
mod recorded;
mod recorder;

use actor::Completed;
use callers::{Setting, act, between};
use checker::End;
pub use invariants::authorised_runs;
pub use recorded::History;
pub use recorder::{Entry, Read, ReadResult, Recorder};

/// How many histories share one store.
const HISTORIES_PER_STORE: u32 = 100;

/// Runs `count` concurrent histories, 2 to 6 tasks on 1 to 3 records each, and checks them by their stamps: replayed
/// through the kernel in the order of the stamps, every reply, record and event must be the kernel's, and real time
/// must allow the order. Some histories continue hours later, while the namespace is purged. Panics with the first
/// history that is wrong.
pub fn histories<H: Harness>(count: u32) {
    run::<H>(count, Setting { purges: true, ..Setting::LARGE });
}

/// [`histories`] behind a network that loses, delays and repeats requests and replies ([`Faulty`](crate::Faulty));
/// callers send the same request again until it is answered. What the store did is checked as in `histories`; each
/// reply must be one that was really given to this request; and each request must have taken effect at most once.
pub fn faulty_histories<H: Harness>(count: u32) {
    run::<H>(count, Setting { requests: (3, 8), faulty: true, ..Setting::LARGE });
}

/// Runs `count` small histories on one record, and searches for an order that explains the replies without using the
/// stamps. Panics with the first history that has none.
pub fn linearizable<H: Harness>(count: u32) {
    run::<H>(
        count,
        Setting { callers: (2, 4), records: (1, 1), requests: (3, 4), search: true, ..Setting::LARGE },
    );
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

/// One history, from its first request to the result of the check.
async fn history<H: Harness>(harness: &Arc<H>, setting: Setting, mut rng: Rng) -> Result<(), String> {
    let addresses = addresses(between(&mut rng, setting.records), &mut rng);
    let store = harness.store();
    let recorder = Recorder::new(store.clone());
    let completed = act(harness, setting, &mut rng, &addresses, &recorder).await?;
    check(&*store, setting, &addresses, &recorder, &completed).await?;
    if setting.purges && rng.percent(30) {
        purged::continue_later(harness, setting, &mut rng, &addresses, completed).await?;
    }
    Ok(())
}

async fn check(
    store: &dyn CoordinationStore,
    setting: Setting,
    addresses: &[Address],
    recorder: &Recorder,
    completed: &[Completed],
) -> Result<(), String> {
    let (entries, reads) = (&recorder.entries(), &recorder.reads());
    for address in addresses {
        let end = End::read(store, address).await.map_err(|error| error.to_string())?;
        if setting.search {
            linearizability::linearizable(address, entries, &end.record).map(drop)?;
        } else {
            checker::by_stamps(address, entries, reads, &end)?;
        }
        invariants::effect_of_once(address, &end.events)?;
        invariants::explained(address, completed, entries)?;
        invariants::single_run(address, completed, &end.events)?;
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

//! Many who want the same few keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sentinel_core::Sentinel;
use sentinel_core::client::Outcome;
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

const STORES: usize = 4;
const TASKS: usize = 64;
const KEYS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_ask_at_once_one_runs() {
    let server = Redis::start(Options::default());
    let mut stores = vec![RedisStore::init(&server.url()).await.unwrap()];
    while stores.len() < STORES {
        stores.push(RedisStore::connect(&server.url()).await.unwrap());
    }
    let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let tasks = (0..STORES * TASKS).map(|n| {
        let (sentinel, runs) = (Sentinel::new(stores[n % STORES].clone()), runs.clone());
        tokio::spawn(async move {
            // Each begins at another key, so that all keys are wanted at all times.
            for turn in 0..KEYS {
                ask(&sentinel, (n + turn) % KEYS, &runs).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(runs.iter().all(|runs| runs.load(Ordering::SeqCst) == 1), "{runs:?}");
}

/// Asks until the key has a result; it is the one of the one run.
async fn ask(sentinel: &Sentinel, key: usize, runs: &Arc<Vec<AtomicUsize>>) {
    loop {
        let counted = runs.clone();
        let once = sentinel.once::<String>(key.to_string());
        let outcome = once.run(move |_| async move { Ok(counted[key].fetch_add(1, Ordering::SeqCst)) });
        match outcome.await.unwrap() {
            Outcome::Completed(told) | Outcome::Replayed(told) => return assert_eq!(told, 0),
            Outcome::InProgress(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

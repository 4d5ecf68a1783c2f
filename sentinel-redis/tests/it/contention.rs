//! Many callers on the same few keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_client::{LeaseOutcome, Outcome};
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

const STORES: usize = 4;
const TASKS: usize = 64;
const KEYS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_concurrent_callers_one_runs() {
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
            for round in 0..KEYS {
                ask(&sentinel, (n + round) % KEYS, &runs).await;
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
            Outcome::Completed(reply) | Outcome::Replayed(reply) => return assert_eq!(reply, 0),
            Outcome::InProgress(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// How many wait for one lease, and of them how many in each process.
const WAITING: usize = 2_000;

/// Each gets the lease before its wait is over, and it is held by one at a time.
async fn all_are_served(stores: &[RedisStore]) {
    let clients: Vec<Sentinel> = stores.iter().cloned().map(Sentinel::new).collect();
    let (holding, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks = (0..WAITING).map(|n| {
        let (client, holding, served) = (clients[n % clients.len()].clone(), holding.clone(), served.clone());
        tokio::spawn(async move {
            let request = client.lease("one").ttl(Duration::from_secs(60)).wait(crate::faults::AT_LAST * 5);
            let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { return };
            assert_eq!(holding.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
            holding.fetch_sub(1, Ordering::SeqCst);
            lease.release().await.unwrap();
            served.fetch_add(1, Ordering::SeqCst);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(served.load(Ordering::SeqCst), WAITING);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_waiters_for_a_lease_in_one_process_get_it() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    all_are_served(&[store]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_waiters_for_a_lease_in_several_processes_get_it() {
    let server = Redis::start(Options::default());
    let mut stores = vec![RedisStore::init(&server.url()).await.unwrap()];
    while stores.len() < STORES {
        stores.push(RedisStore::connect(&server.url()).await.unwrap());
    }
    all_are_served(&stores).await;
}

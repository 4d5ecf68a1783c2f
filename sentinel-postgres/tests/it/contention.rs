//! Many at one key, and at ten, in any order, from several stores: one run each, and no deadlock.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, Grant};
use sentinel_testbed::postgres;
use tokio::sync::Barrier;

use crate::harness::{Fixture, Stranger, call, fused, result};

const STORES: usize = 4;
const TASKS: usize = 64;

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// Stores of one schema, each as another process would have it: with connections and batchers of its own.
async fn stores(url: &str, schema: &str) -> Vec<Fixture> {
    let first = Fixture::open_at(url, schema, |builder| builder).await;
    let mut fixtures = vec![first];
    for _ in 1..STORES {
        let mut fixture = Fixture::open_at(url, schema, |builder| builder).await;
        fixture.namespace = fixtures[0].namespace.clone();
        fixtures.push(fixture);
    }
    fixtures
}

/// A database of its own, whose deadlocks are this test's.
fn database(name: &str) -> String {
    postgres().psql(&format!("CREATE DATABASE {name}"));
    postgres().url_for("postgres", "testbed", name)
}

async fn deadlocks(stranger: &mut Stranger, database: &str) -> i64 {
    stranger.number(&format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{database}'")).await
}

/// Claims all addresses at once. Returns the grants.
async fn claim_all(fixture: &Fixture, addresses: &[Address]) -> Vec<(Address, Grant)> {
    let claim = async |address: &Address| {
        let claim = fused();
        match fixture.store.claim(address, &claim).await.unwrap().reply {
            ClaimReply::Granted(granted) => {
                Some((address.clone(), Grant { token: granted.token, claim_id: claim.claim_id }))
            }
            ClaimReply::InProgress { .. } | ClaimReply::Completed { .. } => None,
            other => panic!("{other:?}"),
        }
    };
    join_all(addresses.iter().map(claim)).await.into_iter().flatten().collect()
}

async fn complete_all(fixture: &Fixture, won: Vec<(Address, Grant)>) {
    let complete = async |(address, grant): (Address, Grant)| {
        let reply =
            fixture.store.complete(&address, &Complete { grant, result: result("done") }).await.unwrap();
        assert_eq!(reply.reply, CompleteReply::Recorded { late: false });
    };
    join_all(won.into_iter().map(complete)).await;
}

/// Ten keys of a round, forwards or backwards.
fn keys(fixture: &Fixture, round: usize, backwards: bool) -> Vec<Address> {
    let mut keys: Vec<_> = (0..10).map(|n| fixture.execution(&format!("{round}-{n}"))).collect();
    if backwards {
        keys.reverse();
    }
    keys
}

#[test]
fn each_key_is_run_once() {
    threads().block_on(async {
        let fixtures = stores(&postgres().url(), "contended").await;
        let gate = Arc::new(Barrier::new(TASKS));
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let (fixture, gate) = (fixtures[n % STORES].clone(), gate.clone());
                tokio::spawn(async move {
                    gate.wait().await;
                    let mut won = claim_all(&fixture, &[fixture.execution("the one")]).await;
                    won.extend(claim_all(&fixture, &keys(&fixture, 0, n % 8 >= 4)).await);
                    complete_all(&fixture, won.clone()).await;
                    won
                })
            })
            .collect();
        let mut runs: HashMap<Address, usize> = HashMap::new();
        for task in tasks {
            for (address, _) in task.await.unwrap() {
                *runs.entry(address).or_default() += 1;
            }
        }
        assert_eq!(runs.len(), 11);
        assert!(runs.values().all(|runs| *runs == 1), "{runs:?}");
    });
}

#[test]
fn tokens_increase_in_the_order_of_grants() {
    threads().block_on(async {
        let fixtures = stores(&postgres().url(), "handed_on").await;
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let fixture = fixtures[n % STORES].clone();
                tokio::spawn(async move {
                    let (lease, mut stamps) = (fixture.lease("the one"), Vec::new());
                    for _ in 0..10 {
                        let claim = call();
                        let reply = fixture.store.claim(&lease, &claim).await.unwrap();
                        if let ClaimReply::Granted(granted) = reply.reply {
                            stamps.push(reply.stamp);
                            let grant = Grant { token: granted.token, claim_id: claim.claim_id };
                            fixture.ask(&lease, Release { grant, vouched: false }).await;
                        }
                    }
                    stamps
                })
            })
            .collect();
        let mut stamps = Vec::new();
        for task in tasks {
            stamps.extend(task.await.unwrap());
        }
        stamps.sort_unstable_by_key(|stamp: &Stamp| stamp.rev);
        assert!(stamps.len() > 1, "it was handed on");
        assert!(
            stamps.is_sorted_by(|a, b| a.rev < b.rev && a.token < b.token && a.now <= b.now),
            "{stamps:?}"
        );
    });
}

/// Claims of the same ten keys, and completions of the ten before, by four stores at once, half of them backwards.
#[test]
fn ten_thousand_batches_do_not_deadlock() {
    const ROUNDS: usize = 2_500;
    let url = database("contention");
    let work = threads();
    let (fixture, before) = work.block_on(async {
        let fixtures = stores(&url, "sentinel").await;
        let before = deadlocks(&mut fixtures[0].stranger().await, "contention").await;
        let gate = Arc::new(Barrier::new(STORES));
        let tasks: Vec<_> = (0..STORES)
            .map(|n| {
                let (fixture, gate) = (fixtures[n].clone(), gate.clone());
                tokio::spawn(async move {
                    let (mut won, mut runs) = (Vec::new(), 0);
                    for round in 0..ROUNDS {
                        gate.wait().await;
                        let keys = keys(&fixture, round, n % 2 == 1);
                        let ((), now) = tokio::join!(complete_all(&fixture, won), claim_all(&fixture, &keys));
                        won = now;
                        runs += won.len();
                    }
                    complete_all(&fixture, won).await;
                    runs
                })
            })
            .collect();
        let mut runs = 0;
        for task in tasks {
            runs += task.await.unwrap();
        }
        assert_eq!(runs, ROUNDS * 10, "each key is run once");
        (fixtures[0].clone(), before)
    });
    // What a session met is counted at its end at the latest.
    drop(work);
    crate::harness::runtime().block_on(async {
        let mut stranger = fixture.stranger().await;
        let others = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = 'contention' AND application_name LIKE 'fixture %'";
        stranger.until(others, |others| others == 0).await;
        assert_eq!(deadlocks(&mut stranger, "contention").await, before);
    });
}

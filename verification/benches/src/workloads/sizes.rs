//! Executions with small and large results, each beside one write of as many bytes through a client library. The bytes
//! do not compress.

use std::sync::Arc;

use fred::types::Value;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_core::ClaimId;
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Fsync;

use super::common::fresh_key;
use crate::floors::{postgres, sqlite};
use crate::lab::{Lab, client, redis_options, salt};
use crate::measure::{Op, Trial, op};
use crate::peers::set_nx;
use crate::place::Place;
use crate::report::Report;

/// Bytes as they are stored, their name, and by how many callers.
const SIZES: [(usize, &str, usize); 3] = [(100, "100 B", 32), (10_240, "10 KiB", 32), (1 << 20, "1 MiB", 8)];

const PLACES: [Place; 3] = [Place::Sqlite, Place::Postgres, Place::RedisAlways];

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for place in PLACES.into_iter().filter(|place| lab.plan.wants(*place)) {
        for (bytes, name, callers) in SIZES {
            if lab.plan.quick && (place != Place::Postgres || bytes != 10_240) {
                continue;
            }
            let name = format!("result of {name}");
            match place {
                Place::Sqlite => in_sqlite(lab, report, &name, bytes),
                Place::Postgres => in_postgres(lab, report, &name, bytes, callers),
                _ => in_redis(lab, report, &name, bytes, callers),
            }
        }
    }
}

fn in_sqlite(lab: &Lab, report: &mut Report, name: &str, bytes: usize) {
    let trial = Trial::new(lab, name, Place::Sqlite, 1).ours(ours(lab.sentinel(Place::Sqlite), bytes));
    report.cell(trial.floor("INSERT, one connection", sqlite::insert(lab, bytes)).measure());
}

fn in_postgres(lab: &Lab, report: &mut Report, name: &str, bytes: usize, callers: usize) {
    let pool = postgres::pool(lab, Place::Postgres);
    let (body, key) = (Arc::new(noise(bytes)), fresh_key(salt()));
    let insert = op(move |n| {
        let (pool, body, key) = (pool.clone(), Arc::clone(&body), key(n));
        async move {
            let insert = sqlx::query("INSERT INTO bare (key, payload) VALUES ($1, $2)");
            insert.bind(key).bind(body.as_bytes()).execute(&pool).await.unwrap();
        }
    });
    let trial = Trial::new(lab, name, Place::Postgres, callers);
    let trial = trial.ours(ours(lab.sentinel(Place::Postgres), bytes));
    report.cell(trial.floor_op("INSERT (sqlx, pool of 16)", insert).measure());
}

/// On a server of its own, which takes its memory with it.
fn in_redis(lab: &Lab, report: &mut Report, name: &str, bytes: usize, callers: usize) {
    let server = Redis::start(redis_options(Fsync::Always));
    let store = lab.runtime.block_on(RedisStore::init(&server.url())).unwrap();
    let floor = set_nx::connect(lab, &server.url());
    let (body, key) = (Value::from(noise(bytes)), fresh_key(salt()));
    let set = op(move |n| {
        let (floor, args) = (floor.clone(), vec![format!("bare:{}", key(n)).into(), body.clone()]);
        async move {
            set_nx::send(&floor, "SET", args).await;
        }
    });
    let trial = Trial::new(lab, name, Place::RedisAlways, callers);
    let trial = trial.ours(ours(client(Arc::new(store)), bytes));
    report.cell(trial.floor_op("SET (fred)", set).measure());
}

fn ours(sentinel: Sentinel, bytes: usize) -> Op {
    // The quotes of JSON are stored, too.
    let (body, key) = (Arc::new(noise(bytes - 2)), fresh_key(salt()));
    op(move |n| {
        let (sentinel, body, key) = (sentinel.clone(), Arc::clone(&body), key(n));
        async move {
            let once = sentinel.once(key).run(|_| async move { Ok::<_, std::io::Error>(body.to_string()) });
            assert!(matches!(once.await.unwrap(), Outcome::Completed(_)));
        }
    })
}

/// Text that nothing makes much smaller.
fn noise(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        text += &ClaimId::random().to_string();
    }
    text.truncate(bytes);
    text
}

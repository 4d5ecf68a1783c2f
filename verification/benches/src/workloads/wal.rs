//! Bytes of PostgreSQL's log and transactions for each execution, without and with company.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::common::{by_the_store, fresh_key};
use crate::lab::{Lab, salt};
use crate::place::Place;
use crate::report::{Fact, Report};

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    if !lab.plan.wants(Place::Postgres) {
        return;
    }
    for (callers, each) in [(1_u64, 1000_u64), (128, 100)] {
        let store = lab.store(Place::Postgres);
        let key = fresh_key(salt());
        // The first few pay for the connection and for new pages.
        lab.runtime.block_on(by_the_store(Arc::clone(&store), key(u64::MAX)));
        lab.postgres().psql("CHECKPOINT");
        let before = counted(lab);
        let caller = |caller: u64| {
            let (store, key) = (Arc::clone(&store), key.clone());
            lab.runtime.spawn(async move {
                for n in 0..each {
                    by_the_store(Arc::clone(&store), key(caller * each + n)).await;
                }
            })
        };
        let all = (0..callers).map(caller).collect::<Vec<_>>();
        lab.runtime.block_on(join_all(all)).into_iter().for_each(|ended| ended.unwrap());
        let (bytes, done) = (log(lab) - before.0, (callers * each) as f64);
        // Its counters are behind by up to a second, and tell all once the connections are gone.
        drop(store);
        std::thread::sleep(Duration::from_secs(2));
        let fact = |what: &str, value| Fact {
            workload: "wal".into(),
            place: Place::Postgres,
            what: format!("for each execution, {callers} callers"),
            value,
            unit: what.into(),
            goal: None,
        };
        report.fact(fact("bytes", bytes / done));
        report.fact(fact("commits", (counted(lab).1 - before.1) / done));
    }
}

/// Where the log stands, and how many transactions were committed.
fn counted(lab: &Lab) -> (f64, f64) {
    let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";
    let told = lab.postgres().psql(&format!("SELECT pg_stat_clear_snapshot(); {commits}"));
    (log(lab), told.lines().last().unwrap().parse().unwrap())
}

fn log(lab: &Lab) -> f64 {
    lab.postgres().psql("SELECT pg_current_wal_insert_lsn() - '0/0'").parse().unwrap()
}

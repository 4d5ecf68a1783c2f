//! Bytes of PostgreSQL's log and transactions for each execution, alone and in a batch.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::common::{by_the_store, fresh_key};
use crate::context::{BenchContext, salt};
use crate::report::{Fact, Report};
use crate::target::Target;

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    if !context.plan.wants(Target::Postgres) {
        return;
    }
    for (callers, each) in [(1_u64, 1000_u64), (128, 100)] {
        let store = context.store(Target::Postgres);
        let key = fresh_key(salt());
        // The first few pay for the connection and for new pages.
        context.runtime.block_on(by_the_store(Arc::clone(&store), key(u64::MAX)));
        context.postgres().psql("CHECKPOINT");
        let before = counted(context);
        let caller = |caller: u64| {
            let (store, key) = (Arc::clone(&store), key.clone());
            context.runtime.spawn(async move {
                for n in 0..each {
                    by_the_store(Arc::clone(&store), key(caller * each + n)).await;
                }
            })
        };
        let all = (0..callers).map(caller).collect::<Vec<_>>();
        context.runtime.block_on(join_all(all)).into_iter().for_each(|ended| ended.unwrap());
        let (bytes, done) = (log(context) - before.0, (callers * each) as f64);
        // Its counters are behind by up to a second, and complete once the connections are gone.
        drop(store);
        std::thread::sleep(Duration::from_secs(2));
        let fact = |what: &str, value| Fact {
            workload: "wal".into(),
            target: Target::Postgres,
            what: format!("for each execution, {callers} callers"),
            value,
            unit: what.into(),
            goal: None,
        };
        report.fact(fact("bytes", bytes / done));
        report.fact(fact("commits", (counted(context).1 - before.1) / done));
    }
}

/// The position of the log, and how many transactions were committed.
fn counted(context: &BenchContext) -> (f64, f64) {
    let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";
    let output = context.postgres().psql(&format!("SELECT pg_stat_clear_snapshot(); {commits}"));
    (log(context), output.lines().last().unwrap().parse().unwrap())
}

fn log(context: &BenchContext) -> f64 {
    context.postgres().psql("SELECT pg_current_wal_insert_lsn() - '0/0'").parse().unwrap()
}

//! Waiting for another's run: how long after its end the answer is there, and what being told of it costs those who
//! complete. The joiner has a store of its own, as another process would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use tokio::sync::oneshot;

use super::common::fresh_op;
use crate::lab::{Lab, client, salt};
use crate::measure::{Trial, closed::closed, histogram, latency};
use crate::place::Place;
use crate::report::{Fact, Goal, Report};

const PLACES: [Place; 4] = [Place::Memory, Place::Sqlite, Place::Postgres, Place::RedisAlways];

/// How many runs are joined at once: the server has next to nothing to do.
const AT_ONCE: u64 = 4;

/// The joiner has asked, and waits to be told, well before.
const BEFORE_THE_END: Duration = Duration::from_millis(60);

pub(crate) fn run(lab: &Lab, report: &mut Report) {
    for place in PLACES.into_iter().filter(|place| lab.plan.wants(*place)) {
        wake_up(lab, report, place);
        // Where nobody is told, nobody pays for it.
        if matches!(place, Place::Postgres | Place::RedisAlways) {
            price(lab, report, place);
        }
    }
}

/// From the end of the function, so that the completion is in it, to the joiner's answer.
fn wake_up(lab: &Lab, report: &mut Report, place: Place) {
    let [runner, joiner] = lab.two_stores(place).map(client);
    let salt = salt();
    let page = |page| {
        let keys = (0..AT_ONCE).map(|n| one(&runner, &joiner, format!("join-{page}-{n}-{salt}")));
        let (took, mut all) = (lab.runtime.block_on(join_all(keys)), histogram());
        took.iter().for_each(|took| all.saturating_record(took.as_nanos() as u64));
        all
    };
    let (first, mut all) = (page(0), histogram());
    for n in 1..=if lab.plan.quick { 12 } else { 60 } {
        all += page(n);
    }
    let (found, told) = (latency(&all), matches!(place, Place::Postgres | Place::RedisAlways));
    let fact = |what: &str, micros: f64, goal| Fact {
        workload: "join".into(),
        place,
        what: format!("from the end of the function to the joiner's answer, {what}"),
        value: micros / 1e3,
        unit: "ms".into(),
        goal,
    };
    report.fact(fact("p50", found.p50, None));
    report.fact(fact("p99", found.p99, told.then_some(Goal::AtMost(25.0))));
    if told {
        // Whoever waits, and whoever tells, connects for it when it is first needed.
        report.fact(fact("the first of a process, the slowest of four", first.max() as f64 / 1e3, None));
    }
}

async fn one(runner: &Sentinel, joiner: &Sentinel, key: String) -> Duration {
    let (end, ended) = oneshot::channel::<Instant>();
    let (begun, has_begun) = oneshot::channel::<()>();
    let run = runner.once(&key).run(move |_| async move {
        begun.send(()).unwrap();
        tokio::time::sleep(BEFORE_THE_END).await;
        end.send(Instant::now()).unwrap();
        Ok::<_, std::io::Error>(String::new())
    });
    let join = async {
        has_begun.await.unwrap();
        let once = joiner.once(&key).wait(Duration::from_secs(60));
        let outcome = once.run(|_| async { Ok::<_, std::io::Error>(String::new()) }).await.unwrap();
        assert!(matches!(outcome, Outcome::Replayed(_)));
        Instant::now()
    };
    let (ran, joined) = tokio::join!(run, join);
    assert!(matches!(ran.unwrap(), Outcome::Completed(_)));
    joined - ended.await.unwrap()
}

/// Completions while somebody on another store waits for another key, against completions while nobody waits.
fn price(lab: &Lab, report: &mut Report, place: Place) {
    let callers = 32;
    let [alone, heard] = [salt(), salt()].map(|salt| fresh_op(lab.sentinel(place), salt));
    let waiter = lab.sentinel(place);
    let next = Arc::default();
    let floor = {
        let op = alone;
        move |span| lab.runtime.block_on(closed(callers, span, &next, &op))
    };
    let (next, key) = (Arc::default(), format!("awaited-{}", salt()));
    let ours = move |span| {
        let (runner, key) = (lab.sentinel(place), format!("{key}-{}", salt()));
        let ran = lab.runtime.spawn(hold(runner, waiter.clone(), key, span));
        let sample = lab.runtime.block_on(closed(callers, span, &next, &heard));
        ran.abort();
        sample
    };
    let trial = Trial::new(lab, "join, its price", place, callers).ours_by(Box::new(ours));
    // Whoever waits connects and asks first, within what is measured.
    let trial = trial.span(lab.plan.span.max(Duration::from_secs(1)));
    let trial = trial.floor("the same, nobody waits", Box::new(floor));
    report.cell(trial.goal(Some(Goal::RatioAtLeast(0.95))).measure());
}

/// A run that somebody else waits for, until this is dropped.
async fn hold(runner: Sentinel, waiter: Sentinel, key: String, at_least: Duration) {
    let begun = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&begun);
    let run = runner.once(&key).run(move |_| async move {
        told.notify_one();
        tokio::time::sleep(2 * at_least).await;
        Ok::<_, std::io::Error>(String::new())
    });
    let join = async {
        begun.notified().await;
        let once = waiter.once(&key).wait(Duration::from_secs(60));
        once.run(|_| async { Ok::<_, std::io::Error>(String::new()) }).await
    };
    let _ = tokio::join!(run, join);
}

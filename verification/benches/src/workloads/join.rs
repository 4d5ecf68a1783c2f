//! Waiting for another's run: how long after its end the result arrives, and what the notification costs those that
//! complete. The joiner has a store of its own, as another process would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use tokio::sync::oneshot;

use super::common::fresh_op;
use crate::context::{BenchContext, client, salt};
use crate::measure::{Trial, closed::closed, histogram, latency};
use crate::report::{Fact, Goal, Report};
use crate::target::Target;

const TARGETS: [Target; 4] = [Target::Memory, Target::Sqlite, Target::Postgres, Target::RedisAlways];

/// How many runs are joined at once: the server has next to nothing to do.
const AT_ONCE: u64 = 4;

/// The joiner has asked, and waits for the notification, well before.
const BEFORE_THE_END: Duration = Duration::from_millis(60);

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for target in TARGETS.into_iter().filter(|target| context.plan.wants(*target)) {
        wake_up(context, report, target);
        // Without notifications there is no cost of them.
        if matches!(target, Target::Postgres | Target::RedisAlways) {
            notification_cost(context, report, target);
        }
    }
}

/// From the end of the function, so that the completion is in it, to the joiner's result.
fn wake_up(context: &BenchContext, report: &mut Report, target: Target) {
    let [runner, joiner] = context.two_stores(target).map(client);
    let salt = salt();
    let page = |page| {
        let keys = (0..AT_ONCE).map(|n| one(&runner, &joiner, format!("join-{page}-{n}-{salt}")));
        let (took, mut all) = (context.runtime.block_on(join_all(keys)), histogram());
        took.iter().for_each(|took| all.saturating_record(took.as_nanos() as u64));
        all
    };
    let (first, mut all) = (page(0), histogram());
    for n in 1..=if context.plan.quick { 12 } else { 60 } {
        all += page(n);
    }
    let (found, is_notified) = (latency(&all), matches!(target, Target::Postgres | Target::RedisAlways));
    let fact = |what: &str, micros: f64, goal| Fact {
        workload: "join".into(),
        target,
        what: format!("from the end of the function to the joiner's answer, {what}"),
        value: micros / 1e3,
        unit: "ms".into(),
        goal,
    };
    report.fact(fact("p50", found.p50, None));
    report.fact(fact("p99", found.p99, is_notified.then_some(Goal::AtMost(25.0))));
    if is_notified {
        // Both sides connect for it when it is first needed.
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

/// Completions while a caller on another store waits for another key, against completions while none waits.
fn notification_cost(context: &BenchContext, report: &mut Report, target: Target) {
    let callers = 32;
    let [alone, awaited] = [salt(), salt()].map(|salt| fresh_op(context.sentinel(target), salt));
    let waiter = context.sentinel(target);
    let next = Arc::default();
    let baseline = {
        let op = alone;
        move |span| context.runtime.block_on(closed(callers, span, &next, &op))
    };
    let (next, key) = (Arc::default(), format!("awaited-{}", salt()));
    let ours = move |span| {
        let (runner, key) = (context.sentinel(target), format!("{key}-{}", salt()));
        let ran = context.runtime.spawn(hold(runner, waiter.clone(), key, span));
        let sample = context.runtime.block_on(closed(callers, span, &next, &awaited));
        ran.abort();
        sample
    };
    let trial = Trial::new(context, "join, its cost", target, callers).ours_by(Box::new(ours));
    // The waiter connects and asks first, within what is measured.
    let trial = trial.span(context.plan.span.max(Duration::from_secs(1)));
    let trial = trial.baseline("the same, no waiter", Box::new(baseline));
    report.cell(trial.goal(Some(Goal::RatioAtLeast(0.95))).measure());
}

/// A run that another caller waits for, until this is dropped.
async fn hold(runner: Sentinel, waiter: Sentinel, key: String, at_least: Duration) {
    let begun = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&begun);
    let run = runner.once(&key).run(move |_| async move {
        notify.notify_one();
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

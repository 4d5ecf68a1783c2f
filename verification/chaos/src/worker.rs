//! A worker process: callers of `once` and `lease`, and an operator, until faults stop or the process is killed.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentinel::store::CoordinationStore;
use sentinel::{LeaseOutcome, Run, Sentinel};
use sentinel_conformance::{CallOutcome, Effect, Layered, Start};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::journal::{Journal, Note};
use crate::mutation;
use crate::open::open;
use crate::plan::Plan;
use crate::recorder::Recorder;

/// A caller or an operator in a process.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sentinel: Sentinel,
    pub(crate) journal: Arc<Journal>,
    effects: Arc<Journal>,
    calls: Arc<AtomicU64>,
    pub(crate) faults_over: Arc<AtomicBool>,
}

/// How a function ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FunctionError {
    /// Nothing happened, and the function knows it.
    Nothing,
    /// It failed for good.
    Final,
    /// It does not know.
    Unknown,
}

impl std::fmt::Display for FunctionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Fails(FunctionError),
    Panics,
}

/// What a function does, and how long it takes before and after its effect.
#[derive(Debug, Clone, Copy)]
struct Act {
    first: Duration,
    effect: bool,
    then: Duration,
    end: End,
}

/// The process: works until its standard input has a byte or ends, and exits when all that it began has ended.
pub(crate) fn main(plan: Plan) -> Result<(), String> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let plan = Arc::new(plan);
        let faults_over = Arc::<AtomicBool>::default();
        let stop = faults_over.clone();
        std::thread::spawn(move || {
            // The parent is gone, or has sent a byte: both end it.
            let _ = std::io::stdin().read(&mut [0]);
            stop.store(true, Ordering::SeqCst);
        });
        let Some(store) = open_store(&plan, &faults_over).await else { return Ok(()) };
        let worker = Worker::new(plan.clone(), store, faults_over)?;
        let mut rng = StdRng::seed_from_u64(plan.seed ^ u64::from(plan.number).rotate_left(40));
        let mut tasks = JoinSet::new();
        tasks.spawn(worker.clone().operate(StdRng::from_rng(&mut rng)));
        for _ in 0..plan.callers {
            tasks.spawn(worker.clone().work(StdRng::from_rng(&mut rng)));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}

/// The store, as soon as it can be opened; None: faults stopped before.
async fn open_store(plan: &Plan, faults_over: &AtomicBool) -> Option<Arc<dyn CoordinationStore>> {
    loop {
        match open(&plan.url, &plan.witness_folder()).await {
            Ok(store) => return Some(store),
            Err(_) if faults_over.load(Ordering::SeqCst) => return None,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

fn up_to(most: Duration, rng: &mut StdRng) -> Duration {
    let share = rng.random_range(0.0..1.0_f64);
    most.mul_f64(share * share)
}

impl Worker {
    pub(crate) fn new(
        plan: Arc<Plan>,
        store: Arc<dyn CoordinationStore>,
        faults_over: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let journal = Arc::new(Journal::open(&plan.journal()).map_err(|error| error.to_string())?);
        let effects = Arc::new(Journal::open(&plan.effects()).map_err(|error| error.to_string())?);
        let store = Arc::new(Layered(Recorder::new(store, journal.clone())));
        let sentinel =
            Sentinel::from_arc(mutation::over(store, plan.mutation)).retry_timeout(plan.retry_timeout);
        let named = sentinel.namespace(&plan.namespace);
        let named = named.and_then(|sentinel| sentinel.worker(format!("worker {}", plan.number)));
        let sentinel = named.map_err(|error| error.to_string())?;
        let calls = Arc::new(AtomicU64::new(u64::from(plan.number) << 32));
        Ok(Self { plan, sentinel, journal, effects, calls, faults_over })
    }

    pub(crate) fn faults_are_over(&self) -> bool {
        self.faults_over.load(Ordering::SeqCst)
    }

    /// Calls `once` and `lease` until faults stop.
    async fn work(self, mut rng: StdRng) {
        while !self.faults_are_over() {
            sleep(up_to(Duration::from_millis(30), &mut rng)).await;
            match rng.random_ratio(1, 8) {
                true => self.hold(rng.random_range(0..self.plan.leases), &mut rng).await,
                false => drop(self.call(rng.random_range(0..self.plan.keys), &mut rng).await),
            }
        }
    }

    /// One call of `once`; what it was answered, if the caller waited for it.
    pub(crate) async fn call(&self, n: u64, rng: &mut StdRng) -> Option<CallOutcome> {
        let Plan { ttl, hard_ttl, .. } = *self.plan;
        let (name, call) = (execution(n), self.calls.fetch_add(1, Ordering::Relaxed));
        let once = self.sentinel.once::<FunctionError>(&name).ttl(ttl).hard_ttl(hard_ttl).late_effects(ttl);
        let once = once.nothing_happened_if(|error| *error == FunctionError::Nothing);
        let once = once.failed_for_good_if(|error| *error == FunctionError::Final);
        let once = if rng.random_ratio(1, 3) { once.wait(up_to(2 * hard_ttl, rng)) } else { once };
        let (worker, act) = (self.clone(), self.act(rng));
        let function = move |run: Run| worker.function(run, call, act);
        let prepares = rng.random_ratio(1, 3).then(|| up_to(2 * ttl, rng));
        let calling = async move {
            match prepares {
                Some(long) => {
                    let prepare = move |_: Run| async move {
                        sleep(long).await;
                        Ok(())
                    };
                    once.prepare(prepare).run(move |run, ()| function(run)).await
                }
                None => once.run(function).await,
            }
        };
        let gives_up = (!self.faults_are_over() && rng.random_ratio(1, 10)).then(|| up_to(2 * ttl, rng));
        let outcome = match gives_up {
            Some(after) => timeout(after, Box::pin(calling)).await.ok()?,
            None => Box::pin(calling).await,
        };
        let answer = CallOutcome::of(call, key(&name), &outcome);
        self.journal.note(&Note::Returned(answer.clone()));
        Some(answer)
    }

    /// The function of a call. Each of its steps is written down before it is done.
    async fn function(self, run: Run, call: u64, act: Act) -> Result<String, FunctionError> {
        let (key, grant, value) = (run.key().clone(), run.grant(), format!("{} by call {call}", run.key()));
        let late = run.remaining().is_zero();
        self.journal.note(&Note::Started(Start { call, key: key.clone(), grant, late }));
        sleep(act.first).await;
        if act.effect {
            let under = run.idempotency_key();
            self.effects.note(&Effect { key: key.clone(), under, grant, value: value.clone() });
        }
        sleep(act.then).await;
        match act.end {
            End::Success => Ok(value),
            End::Fails(error) => {
                if error == FunctionError::Final {
                    self.journal.note(&Note::Failed(key, error.to_string()));
                }
                Err(error)
            }
            // Without the hook, which would write to the terminal.
            End::Panics => std::panic::resume_unwind(Box::new("a function panicked")),
        }
    }

    /// A function reports truly: one that vouches that nothing happened made no effect, and one that succeeds made one.
    fn act(&self, rng: &mut StdRng) -> Act {
        let end = match rng.random_range(0..100) {
            _ if self.faults_are_over() => End::Success,
            0..70 => End::Success,
            70..78 => End::Fails(FunctionError::Nothing),
            78..84 => End::Fails(FunctionError::Final),
            84..92 => End::Fails(FunctionError::Unknown),
            _ => End::Panics,
        };
        let effect = match end {
            End::Success => true,
            End::Fails(FunctionError::Nothing | FunctionError::Final) => false,
            End::Fails(FunctionError::Unknown) | End::Panics => rng.random_ratio(1, 2),
        };
        let long = if self.faults_are_over() { Duration::ZERO } else { self.plan.hard_ttl / 4 };
        Act { first: up_to(long, rng), effect, then: up_to(long, rng), end }
    }

    /// Takes a lease, holds it for a while, and gives it back or drops it.
    async fn hold(&self, n: u64, rng: &mut StdRng) {
        let Plan { ttl, hard_ttl, .. } = *self.plan;
        let asked = self.sentinel.lease(lease(n)).ttl(ttl).hard_ttl(hard_ttl);
        let Ok(LeaseOutcome::Held(held)) = asked.wait(up_to(hard_ttl, rng)).acquire().await else { return };
        drop(timeout(up_to(hard_ttl, rng), held.cancelled().cancelled()).await);
        match rng.random_ratio(7, 10) {
            true => drop(held.release().await),
            false => drop(held),
        }
    }
}

pub(crate) fn execution(n: u64) -> String {
    format!("invoice-{n}")
}

pub(crate) fn lease(n: u64) -> String {
    format!("leader-{n}")
}

pub(crate) fn key(name: &str) -> sentinel::Key {
    sentinel::Key::new(name).unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

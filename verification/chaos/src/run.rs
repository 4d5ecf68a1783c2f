//! One schedule: workers start, faults are injected, faults stop, every key reaches a result, and everything is
//! checked.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentinel::record::State;
use sentinel::store::CoordinationStore;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::checker::{Evidence, Kept};
use crate::deployment::{Deployment, Flavour, Kind};
use crate::mutation::Mutation;
use crate::open::open;
use crate::plan::{Plan, Schedule};
use crate::worker::{Worker, execution};
use crate::workers::Workers;

/// How often a key may be called once faults have stopped.
const MAX_CALLS: u32 = 200;

/// How often opening the store is tried, ten times a second: for two minutes. PgBouncer refuses connections for 15
/// seconds after its server was not there.
const MAX_CONNECT_ATTEMPTS: u32 = 1_200;

/// Runs schedules one after the other, each in a namespace of its own.
pub(crate) struct Runner {
    kind: Kind,
    program: PathBuf,
    runtime: Runtime,
    /// Those that were started and are good for more.
    deployments: Vec<(Flavour, Box<dyn Deployment>)>,
    pub(crate) mutation: Option<Mutation>,
}

/// What happened in all schedules, in numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    pub(crate) schedules: u64,
    pub(crate) workers: u64,
    pub(crate) killed: u64,
    pub(crate) keys: u64,
    pub(crate) requests: u64,
    pub(crate) runs: u64,
    pub(crate) effects: u64,
    pub(crate) doubts: u64,
    pub(crate) decisions: u64,
    pub(crate) searched: u64,
    /// Schedules in which acknowledged changes may have been lost, and that was reported.
    pub(crate) lost: u64,
    /// The faults that were injected, without their figures.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.workers += other.workers;
        self.killed += other.killed;
        self.keys += other.keys;
        self.requests += other.requests;
        self.runs += other.runs;
        self.effects += other.effects;
        self.doubts += other.doubts;
        self.decisions += other.decisions;
        self.searched += other.searched;
        self.lost += other.lost;
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schedules,
            workers,
            killed,
            keys,
            requests,
            runs,
            effects,
            doubts,
            decisions,
            searched,
            lost,
            ..
        } = self;
        writeln!(
            f,
            "{schedules} schedules, {keys} keys, {workers} workers ({killed} killed), {requests} requests, {runs} \
             runs, {effects} effects, {decisions} decisions; {doubts} doubts when faults were over, each explained; \
             {searched} histories searched besides; {lost} schedules with a loss that was reported"
        )?;
        self.faults.iter().try_for_each(|(fault, times)| writeln!(f, "{times:>7} x {fault}"))
    }
}

impl Runner {
    /// Where `program` is this program.
    pub(crate) fn new(kind: Kind, program: &Path) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Self { kind, program: program.to_owned(), runtime, deployments: Vec::new(), mutation: None })
    }

    /// Runs the schedule of a seed. A broken promise is reported with all that it takes to repeat the schedule.
    pub(crate) fn run(&mut self, seed: u64) -> Result<Summary, String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let flavour = Flavour::draw(self.kind, &mut rng);
        let started = self.deployments.iter().position(|(one, _)| *one == flavour);
        let mut deployment = match started {
            Some(at) => self.deployments.swap_remove(at).1,
            None => flavour.start(&self.runtime),
        };
        deployment.prepare(&mut rng);
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let plan = Plan::draw(seed, deployment.url(), folder.path().to_owned(), &mut rng);
        let plan = Plan { mutation: self.mutation, ..plan };
        let mut injected = Vec::new();
        let summary =
            self.run_schedule(&mut *deployment, &plan, &mut injected, &mut rng).map_err(|broken| {
                let kept = folder.keep();
                let injected = injected.join("\n  ");
                let (kind, name) = (self.kind, deployment.name());
                format!(
                    "{broken}\n\non {name}, with {plan}:\n  {injected}\njournals and effects are kept in {}\n\
                 the same again, as far as real processes repeat themselves: cargo xtask soak --store {kind} \
                 --schedules 1 --seed {seed}",
                    kept.display()
                )
            })?;
        if !deployment.is_spent() {
            self.deployments.push((flavour, deployment));
        }
        Ok(summary)
    }

    fn run_schedule(
        &self,
        deployment: &mut dyn Deployment,
        plan: &Plan,
        injected: &mut Vec<String>,
        rng: &mut StdRng,
    ) -> Result<Summary, String> {
        let schedule = Schedule::draw(rng);
        let mut workers = Workers::new(&self.program, plan.clone());
        (0..schedule.workers).for_each(|_| workers.start_one());
        for _ in 0..schedule.faults {
            workers.wait_for_progress(rng.random_range(5_000..60_000));
            injected.push(match rng.random_ratio(1, 3) {
                true => workers.inject(rng),
                false => deployment.inject(&mut workers, rng),
            });
        }
        workers.wait_for_progress(10_000);
        let killed = u64::from(workers.killed);
        let workers = workers.finish_all()?;
        deployment.recover(plan);
        let mut summary = self.runtime.block_on(end(plan, workers, deployment.kept()))?;
        (summary.killed, summary.lost) = (killed, u64::from(deployment.kept() == Kept::Tokens));
        summary.faults = BTreeMap::new();
        for fault in injected {
            *summary.faults.entry(without_figures(fault)).or_default() += 1;
        }
        Ok(summary)
    }
}

/// After the faults: explains each doubt, brings each key to a result, and checks everything.
async fn end(plan: &Plan, workers: u32, kept: Kept) -> Result<Summary, String> {
    let store = open_store(plan).await?;
    let plan = Arc::new(Plan { number: 0, mutation: None, ..plan.clone() });
    let last = Worker::new(plan.clone(), store, Arc::new(AtomicBool::new(true)))?;
    let doubts = Evidence::read(&plan, workers)?.explain_doubts(&last.sentinel, kept).await?;
    for n in 0..plan.keys {
        reaches_result(&last, n).await?;
    }
    let mut evidence = Evidence::read(&plan, workers)?;
    let searched = evidence.judge(&plan, &last.sentinel, kept).await?;
    let Evidence { history, run_log } = evidence;
    Ok(Summary {
        schedules: 1,
        workers: u64::from(workers),
        keys: plan.keys,
        requests: history.entries.len() as u64,
        runs: run_log.starts.len() as u64,
        effects: run_log.effects.len() as u64,
        decisions: run_log.decided.len() as u64,
        doubts,
        searched,
        ..Summary::default()
    })
}

async fn open_store(plan: &Plan) -> Result<Arc<dyn CoordinationStore>, String> {
    let mut last_error = String::new();
    for _ in 0..MAX_CONNECT_ATTEMPTS {
        match open(&plan.url, &plan.witness_folder()).await {
            Ok(store) => return Ok(store),
            Err(error) => last_error = error.to_string(),
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(format!("faults are over, and the store cannot be opened: {last_error}"))
}

/// Without faults a key comes to a result.
async fn reaches_result(last: &Worker, n: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(n);
    let mut answer = None;
    for _ in 0..MAX_CALLS {
        answer = last.call(n, &mut rng).await;
        match answer.as_ref().map(|answer| &*answer.name) {
            Some("completed" | "replayed" | "failed") => return Ok(()),
            Some("uncertain" | "reconciling") => decide_doubt(last, n).await?,
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Err(format!("{} was asked for {MAX_CALLS} times, and has no result: {answer:?}", execution(n)))
}

async fn decide_doubt(last: &Worker, n: u64) -> Result<(), String> {
    let found = last.sentinel.inspect(sentinel::record::Kind::Execution, execution(n)).await;
    let found = found.map_err(|error| error.to_string())?;
    if let Some(record) = found.record
        && (record.is_uncertain(found.now) || record.state == State::Reconciling)
    {
        last.reconcile_key(&crate::worker::key(&execution(n)), &record).await;
    }
    Ok(())
}

/// What happened, so that it can be counted.
fn without_figures(fault: &str) -> String {
    let words =
        fault.split(' ').map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "N" } else { word });
    words.collect::<Vec<_>>().join(" ").replace(" N ms", " N").replace(" for N", "")
}

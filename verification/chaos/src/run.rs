//! One schedule: workers come, things go wrong, all calms down, every key comes to its end, and everything is judged.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sentinel::{CoordinationStore, State};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::crew::Crew;
use crate::deployment::{Deployment, Flavour, Kind};
use crate::plan::{Plan, Schedule};
use crate::reach::open;
use crate::sabotage::Sabotage;
use crate::verdict::{Evidence, Kept};
use crate::worker::{Worker, execution};

/// How often a key may be asked for once all is calm.
const ASKED: u32 = 200;

/// How often the store is knocked at, ten times a second: for two minutes. PgBouncer lets nobody in for 15 seconds after a
/// server that was not there.
const KNOCKS: u32 = 1_200;

/// A place where schedules run one after the other, each in a namespace of its own.
pub(crate) struct Stage {
    kind: Kind,
    program: PathBuf,
    runtime: Runtime,
    /// Those that were started and are good for more.
    deployments: Vec<(Flavour, Box<dyn Deployment>)>,
    pub(crate) sabotage: Option<Sabotage>,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
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
    /// Schedules in which acknowledged changes may have been lost, and that was told.
    pub(crate) lost: u64,
    /// What went wrong, without its figures.
    pub(crate) strikes: BTreeMap<String, u64>,
}

impl AddAssign for Seen {
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
        for (strike, times) in other.strikes {
            *self.strikes.entry(strike).or_default() += times;
        }
    }
}

impl fmt::Display for Seen {
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
            "{schedules} schedules, {keys} keys, {workers} workers ({killed} killed), {requests} requests, {runs} runs, {effects} effects, \
             {decisions} decisions; {doubts} doubts when all was calm, each explained; {searched} histories searched besides; \
             {lost} schedules with a loss that was told"
        )?;
        self.strikes.iter().try_for_each(|(strike, times)| writeln!(f, "{times:>7} x {strike}"))
    }
}

impl Stage {
    /// Where `program` is this program.
    pub(crate) fn new(kind: Kind, program: &Path) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Self { kind, program: program.to_owned(), runtime, deployments: Vec::new(), sabotage: None })
    }

    /// Runs the schedule of a seed. What was broken is told with all that it takes to look for it again.
    pub(crate) fn run(&mut self, seed: u64) -> Result<Seen, String> {
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
        let plan = Plan { sabotage: self.sabotage, ..plan };
        let mut story = Vec::new();
        let seen = self.live(&mut *deployment, &plan, &mut story, &mut rng).map_err(|broken| {
            let kept = folder.keep();
            let story = story.join("\n  ");
            let (kind, name) = (self.kind, deployment.name());
            format!(
                "{broken}\n\non {name}, with {plan}:\n  {story}\njournals and effects are kept in {}\n\
                 the same again, as far as real processes repeat themselves: cargo xtask soak --store {kind} --schedules 1 --seed {seed}",
                kept.display()
            )
        })?;
        if !deployment.is_spent() {
            self.deployments.push((flavour, deployment));
        }
        Ok(seen)
    }

    fn live(
        &self,
        deployment: &mut dyn Deployment,
        plan: &Plan,
        story: &mut Vec<String>,
        rng: &mut StdRng,
    ) -> Result<Seen, String> {
        let schedule = Schedule::draw(rng);
        let mut crew = Crew::new(&self.program, plan.clone());
        (0..schedule.workers).for_each(|_| crew.hire());
        for _ in 0..schedule.strikes {
            crew.go_on(rng.random_range(5_000..60_000));
            story.push(match rng.random_ratio(1, 3) {
                true => crew.strike(rng),
                false => deployment.strike(&mut crew, rng),
            });
        }
        crew.go_on(10_000);
        let killed = u64::from(crew.killed);
        let workers = crew.dismiss()?;
        deployment.look(plan);
        let mut seen = self.runtime.block_on(end(plan, workers, deployment.kept()))?;
        (seen.killed, seen.lost) = (killed, u64::from(deployment.kept() == Kept::Tokens));
        seen.strikes = BTreeMap::new();
        for strike in story {
            *seen.strikes.entry(without_figures(strike)).or_default() += 1;
        }
        Ok(seen)
    }
}

/// All is calm: doubts are explained, each key is brought to its end, everything is judged.
async fn end(plan: &Plan, workers: u32, kept: Kept) -> Result<Seen, String> {
    let store = reach(plan).await?;
    let plan = Arc::new(Plan { number: 0, sabotage: None, ..plan.clone() });
    let last = Worker::new(plan.clone(), store, Arc::new(AtomicBool::new(true)))?;
    let doubts = Evidence::read(&plan, workers)?.explain_doubts(&last.sentinel, kept).await?;
    for n in 0..plan.keys {
        settles(&last, n).await?;
    }
    let mut evidence = Evidence::read(&plan, workers)?;
    let searched = evidence.judge(&plan, &last.sentinel, kept).await?;
    let Evidence { history, deeds } = evidence;
    Ok(Seen {
        schedules: 1,
        workers: u64::from(workers),
        keys: plan.keys,
        requests: history.entries.len() as u64,
        runs: deeds.starts.len() as u64,
        effects: deeds.effects.len() as u64,
        decisions: deeds.decided.len() as u64,
        doubts,
        searched,
        ..Seen::default()
    })
}

async fn reach(plan: &Plan) -> Result<Arc<dyn CoordinationStore>, String> {
    let mut told = String::new();
    for _ in 0..KNOCKS {
        match open(&plan.url, &plan.notes()).await {
            Ok(store) => return Ok(store),
            Err(error) => told = error.to_string(),
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(format!("all is calm, and the store cannot be reached: {told}"))
}

/// Without faults a key comes to a result.
async fn settles(last: &Worker, n: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(n);
    let mut told = None;
    for _ in 0..ASKED {
        told = last.call(n, &mut rng).await;
        match told.as_ref().map(|answer| &*answer.name) {
            Some("completed" | "replayed" | "failed") => return Ok(()),
            Some("uncertain" | "reconciling") => settle(last, n).await?,
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
    Err(format!("{} was asked for {ASKED} times, and has no result: {told:?}", execution(n)))
}

async fn settle(last: &Worker, n: u64) -> Result<(), String> {
    let seen = last.sentinel.inspect(sentinel::Kind::Execution, execution(n)).await;
    let seen = seen.map_err(|error| error.to_string())?;
    if let Some(record) = seen.record
        && (record.is_uncertain(seen.now) || record.state == State::Reconciling)
    {
        last.settle(&crate::worker::key(&execution(n)), &record).await;
    }
    Ok(())
}

/// What happened, so that it can be counted.
fn without_figures(strike: &str) -> String {
    let words =
        strike.split(' ').map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "N" } else { word });
    words.collect::<Vec<_>>().join(" ").replace(" N ms", " N").replace(" for N", "")
}

//! What a run measures, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::Args;
use crate::target::Target;

/// How long one side is measured in one round by default.
const SPAN: Duration = Duration::from_secs(2);
const QUICK_SPAN: Duration = Duration::from_millis(350);

/// What a run measures, and for how long.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// How long one side is measured in one round.
    pub(crate) span: Duration,
    /// Among how many records `large` claims and lists.
    pub(crate) records: u64,
    /// The `sentinel` program, if it was built.
    pub(crate) program: Option<PathBuf>,
    workloads: Vec<String>,
    targets: Vec<Target>,
}

impl Plan {
    /// `known`: the names of all workloads. Fails for a word that is neither a store nor a workload.
    pub(crate) fn new(args: &Args, known: &[&str]) -> Result<Self, String> {
        let (workloads, stores): (Vec<_>, Vec<_>) =
            args.only.iter().cloned().partition(|word| known.iter().any(|name| name == word));
        let means = |word: &String| Target::ALL.iter().any(|target| target.is_meant_by(word));
        if let Some(word) = stores.iter().find(|word| !means(word)) {
            return Err(format!("{word:?} is neither a store nor a workload: see --help"));
        }
        let meant = |target: &Target| stores.is_empty() || stores.iter().any(|word| target.is_meant_by(word));
        Ok(Self {
            quick: args.quick,
            rounds: args.rounds.unwrap_or(if args.quick { 2 } else { 3 }) as usize,
            span: args
                .seconds
                .map_or(if args.quick { QUICK_SPAN } else { SPAN }, |s| Duration::from_secs(s.into())),
            records: args.records,
            program: args.program.clone(),
            workloads,
            targets: Target::ALL.into_iter().filter(meant).collect(),
        })
    }

    /// Whether a workload is measured: asked for, or one of those that are when none is.
    pub(crate) fn wants_workload(&self, name: &str, by_default: bool) -> bool {
        self.workloads.iter().any(|word| word == name) || self.workloads.is_empty() && by_default
    }

    pub(crate) fn wants(&self, target: Target) -> bool {
        self.targets.contains(&target)
    }

    /// Of these cells those that are measured. A quick run has the ways to the server as they come, and few callers.
    pub(crate) fn cells(&self, cells: &[(Target, &[usize])]) -> Vec<(Target, usize)> {
        let all =
            cells.iter().flat_map(|(target, callers)| callers.iter().map(|callers| (*target, *callers)));
        all.filter(|(target, callers)| self.wants(*target) && (!self.quick || is_quick(*target, *callers)))
            .collect()
    }

    /// The same, but a quick run leaves lone callers out.
    pub(crate) fn cells_of_many(&self, cells: &[(Target, &[usize])]) -> Vec<(Target, usize)> {
        let cells = self.cells(cells).into_iter();
        cells.filter(|(target, callers)| !self.quick || *callers > 1 || *target == Target::Memory).collect()
    }
}

/// One caller, and the number of callers for which most targets are set.
fn is_quick(target: Target, callers: usize) -> bool {
    match target {
        Target::Memory => true,
        Target::Sqlite => callers == 64,
        Target::Postgres => [1, 128].contains(&callers),
        Target::RedisAlways => callers == 128,
        Target::PostgresTcp | Target::PostgresPlus1ms | Target::PostgresPlus10ms | Target::RedisEverysec => {
            false
        }
    }
}

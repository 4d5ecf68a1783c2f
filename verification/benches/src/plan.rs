//! What a run measures, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use crate::args::Args;
use crate::place::Place;
use crate::workloads;

/// How long one side is measured in one round, if nobody says otherwise.
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
    places: Vec<Place>,
}

impl Plan {
    /// Fails for a word that means nothing.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        let (workloads, stores): (Vec<_>, Vec<_>) =
            args.only.iter().cloned().partition(|word| workloads::ALL.iter().any(|one| one.name == word));
        let means = |word: &String| Place::ALL.iter().any(|place| place.is_meant_by(word));
        if let Some(word) = stores.iter().find(|word| !means(word)) {
            return Err(format!("{word:?} is neither a store nor a workload: see --help"));
        }
        let meant = |place: &Place| stores.is_empty() || stores.iter().any(|word| place.is_meant_by(word));
        Ok(Self {
            quick: args.quick,
            rounds: args.rounds.unwrap_or(if args.quick { 2 } else { 3 }) as usize,
            span: args
                .seconds
                .map_or(if args.quick { QUICK_SPAN } else { SPAN }, |s| Duration::from_secs(s.into())),
            records: args.records,
            program: args.program.clone(),
            workloads,
            places: Place::ALL.into_iter().filter(meant).collect(),
        })
    }

    /// Whether a workload is measured: asked for, or one of those that are when none is.
    pub(crate) fn wants_workload(&self, name: &str, by_default: bool) -> bool {
        self.workloads.iter().any(|word| word == name) || self.workloads.is_empty() && by_default
    }

    pub(crate) fn wants(&self, place: Place) -> bool {
        self.places.contains(&place)
    }

    /// Of these cells those that are measured. A quick run has the ways to the server as they come, and few callers.
    pub(crate) fn cells(&self, cells: &[(Place, &[usize])]) -> Vec<(Place, usize)> {
        let all = cells.iter().flat_map(|(place, callers)| callers.iter().map(|callers| (*place, *callers)));
        all.filter(|(place, callers)| self.wants(*place) && (!self.quick || is_quick(*place, *callers)))
            .collect()
    }

    /// The same, but a quick run leaves lone callers out.
    pub(crate) fn cells_of_many(&self, cells: &[(Place, &[usize])]) -> Vec<(Place, usize)> {
        let cells = self.cells(cells).into_iter();
        cells.filter(|(place, callers)| !self.quick || *callers > 1 || *place == Place::Memory).collect()
    }
}

/// One caller, and as many as goals speak of most.
fn is_quick(place: Place, callers: usize) -> bool {
    match place {
        Place::Memory => true,
        Place::Sqlite => callers == 64,
        Place::Postgres => [1, 128].contains(&callers),
        Place::RedisAlways => callers == 128,
        Place::PostgresTcp | Place::PostgresPlus1ms | Place::PostgresPlus10ms | Place::RedisEverysec => false,
    }
}

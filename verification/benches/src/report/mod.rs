//! What was measured: cells of a table, facts beside them, and the machine.

pub(crate) mod json;
mod machine;
pub(crate) mod stats;
pub(crate) mod svg;
pub(crate) mod table;

use serde::{Deserialize, Serialize};

use crate::lab::Lab;
use crate::peers;
use crate::place::Place;
pub(crate) use machine::Machine;
use stats::{median, ratios, spread};

/// All of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// How long one side was measured in one round.
    pub(crate) seconds: f64,
    pub(crate) cells: Vec<Cell>,
    pub(crate) facts: Vec<Fact>,
    /// What the peers that were measured do not do.
    pub(crate) peers: Vec<peers::Note>,
}

/// One workload on one store with one number of callers, and what it was measured together with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) workload: String,
    pub(crate) place: Place,
    pub(crate) callers: usize,
    pub(crate) ours: Side,
    pub(crate) floor: Option<Side>,
    /// What people would write instead, and other ways of ours.
    pub(crate) others: Vec<Side>,
    /// Of our operation, in the closed loop.
    pub(crate) latency: Option<Latency>,
    pub(crate) open: Option<Open>,
    pub(crate) goal: Option<Goal>,
}

/// Operations a second, in each round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) rates: Vec<f64>,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Latency at a fixed rate of arrivals, from the moment at which each was due.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Arrivals a second.
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
}

/// A figure that is not a rate beside a floor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) workload: String,
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) goal: Option<Goal>,
}

/// What is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "aim", content = "limit", rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// Ours to the floor.
    RatioAtLeast(f64),
    /// The time of ours to that of the floor.
    CostAtMost(f64),
    /// Nanoseconds of one operation.
    NanosAtMost(f64),
    /// The value of a fact.
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    /// Whether a cell meets it; None: what it speaks of was not measured.
    pub(crate) fn met_by(self, cell: &Cell) -> Option<bool> {
        match self {
            Self::RatioAtLeast(limit) => Some(cell.ratio()? >= limit),
            Self::CostAtMost(limit) => Some(1.0 / cell.ratio()? <= limit),
            Self::NanosAtMost(limit) => Some(cell.nanos()? <= limit),
            Self::AtLeast(_) | Self::AtMost(_) => None,
        }
    }

    /// Whether a value meets it; None: it does not speak of values.
    pub(crate) fn met_by_value(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(limit) => Some(value >= limit),
            Self::AtMost(limit) => Some(value <= limit),
            Self::RatioAtLeast(_) | Self::CostAtMost(_) | Self::NanosAtMost(_) => None,
        }
    }

    /// Where the goal stands on the scale of ratios.
    pub(crate) fn ratio(self) -> Option<f64> {
        match self {
            Self::RatioAtLeast(limit) => Some(limit),
            Self::CostAtMost(limit) => Some(1.0 / limit),
            Self::NanosAtMost(_) | Self::AtLeast(_) | Self::AtMost(_) => None,
        }
    }
}

impl Side {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rates: Vec::new() }
    }

    /// Operations a second; the median of the rounds.
    pub(crate) fn rate(&self) -> Option<f64> {
        median(&self.rates)
    }
}

impl Cell {
    fn ratios(&self) -> Vec<f64> {
        self.floor.as_ref().map_or_else(Vec::new, |floor| ratios(&self.ours.rates, &floor.rates))
    }

    /// Ours to the floor; the median of the rounds.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(&self.ratios())
    }

    /// The least and the greatest ratio of a round.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        spread(&self.ratios())
    }

    /// Another side to the floor.
    pub(crate) fn ratio_of(&self, other: &Side) -> Option<f64> {
        median(&ratios(&other.rates, &self.floor.as_ref()?.rates))
    }

    /// Nanoseconds that one caller waits for one operation.
    fn nanos(&self) -> Option<f64> {
        Some(1e9 * self.callers as f64 / self.ours.rate()?)
    }
}

impl Report {
    /// The head of a report: what is known before anything is measured.
    pub(crate) fn begin(lab: &Lab) -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::of_this(),
            quick: lab.plan.quick,
            rounds: lab.plan.rounds,
            seconds: lab.plan.span.as_secs_f64(),
            cells: Vec::new(),
            facts: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// What is known only afterwards: which servers were used, and which peers.
    pub(crate) fn end(&mut self, lab: &Lab) {
        self.machine.servers = lab.versions();
        let measured = |note: &peers::Note| {
            self.cells.iter().flat_map(|cell| &cell.others).any(|side| side.name == note.name)
        };
        self.peers = peers::notes().into_iter().filter(measured).collect();
    }

    /// Adds a cell, and tells the person who waits.
    pub(crate) fn cell(&mut self, cell: Cell) {
        eprintln!("{}", table::line(&cell));
        self.cells.push(cell);
    }

    /// Adds a fact, and tells the person who waits.
    pub(crate) fn fact(&mut self, fact: Fact) {
        eprintln!("{}", table::fact_line(&fact));
        self.facts.push(fact);
    }
}

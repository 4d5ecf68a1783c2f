//! The figures of a run.

use serde::{Deserialize, Serialize};

use crate::report::machine::Machine;
use crate::report::stats::{median, ratios, spread};
use crate::target::Target;

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
    /// What the alternatives that were measured do not do.
    #[serde(rename = "peers")]
    pub(crate) alternatives: Vec<Alternative>,
}

/// One workload on one store with one number of callers, and what it was measured together with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) workload: String,
    #[serde(rename = "place")]
    pub(crate) target: Target,
    pub(crate) callers: usize,
    pub(crate) ours: Side,
    pub(crate) baseline: Option<Side>,
    /// Alternatives, and other ways of ours.
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

/// A figure that is not a rate beside a baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) workload: String,
    #[serde(rename = "place")]
    pub(crate) target: Target,
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) goal: Option<Goal>,
}

/// What is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "aim", content = "limit", rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// Ours to the baseline.
    RatioAtLeast(f64),
    /// The time of ours to that of the baseline.
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

    /// The goal as a ratio.
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
        self.baseline.as_ref().map_or_else(Vec::new, |baseline| ratios(&self.ours.rates, &baseline.rates))
    }

    /// Ours to the baseline; the median of the rounds.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(&self.ratios())
    }

    /// The least and the greatest ratio of a round.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        spread(&self.ratios())
    }

    /// Another side to the baseline.
    pub(crate) fn ratio_of(&self, other: &Side) -> Option<f64> {
        median(&ratios(&other.rates, &self.baseline.as_ref()?.rates))
    }

    /// Nanoseconds that one caller waits for one operation.
    fn nanos(&self) -> Option<f64> {
        Some(1e9 * self.callers as f64 / self.ours.rate()?)
    }
}

/// What people would write instead, and in one sentence what it does not do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Alternative {
    pub(crate) name: String,
    pub(crate) lacks: String,
}

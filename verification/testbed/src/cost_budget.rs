//! Cost budgets: what an operation costs, in figures that a busy machine does not change.

use std::fmt::Write as _;

/// How many rounds a trial has at least and at most.
const MIN_ROUNDS: usize = 3;
const MAX_ROUNDS: usize = 24;

/// What is counted, and how far below its budget a figure may lie. Counts are exact; bytes depend a little on where
/// pages end.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// What is counted: "statements".
    pub name: &'static str,
    /// How far below its budget a figure may lie, in hundredths of the budget.
    pub slack: u32,
}

/// What one operation may cost at most.
#[derive(Debug, Clone, Copy)]
pub struct CostBudget<const N: usize> {
    operation: &'static str,
    figures: [u64; N],
}

impl<const N: usize> CostBudget<N> {
    /// The budget of an operation. Where several are measured together, the figures are for all of them.
    pub const fn new(operation: &'static str, figures: [u64; N]) -> Self {
        Self { operation, figures }
    }

    /// What the operation may cost, in the order of the units.
    pub const fn figures(&self) -> &[u64; N] {
        &self.figures
    }

    /// Starts to measure the operation, in rounds.
    pub fn trial<'a>(&'a self, units: &'a [Unit; N]) -> Trial<'a, N> {
        Trial { budget: self, units, cheapest: [f64::INFINITY; N], rounds: 0, verdict: Ok(()) }
    }

    /// Whether the operation costs what its budget allows: not more, and not much less either, because a budget that is
    /// not lowered would let later changes lose what was gained. The error has the line that would be right.
    fn check(&self, units: &[Unit; N], measured: [f64; N]) -> Result<(), String> {
        let mut message = format!("the cost budget of {} is wrong:", self.operation);
        let (mut figures, mut is_met) = (self.figures, true);
        for (n, unit) in units.iter().enumerate() {
            let (budget, found) = (self.figures[n] as f64, measured[n]);
            let change = match found {
                _ if found > budget => "it costs more",
                _ if found < budget * (1.0 - f64::from(unit.slack) / 100.0) => {
                    "it costs less: lower the budget"
                }
                _ => continue,
            };
            is_met = false;
            figures[n] = budget_for(found, unit.slack);
            // Writing to a string does not fail.
            let _ = write!(message, "\n  {}: {found:.2}, budget {budget}: {change}", unit.name);
        }
        let _ = write!(message, "\nthe right line: CostBudget::new({:?}, {figures:?})", self.operation);
        if is_met { Ok(()) } else { Err(message) }
    }
}

/// Rounds of measuring one operation, of which the cheapest counts. A connection that had to be checked, a page that
/// filled up, a small table that had to grow: none of them is a cost of the operation, and each is in some rounds only.
/// Once the budget is met, after a few rounds, the trial ends.
#[derive(Debug)]
pub struct Trial<'a, const N: usize> {
    budget: &'a CostBudget<N>,
    units: &'a [Unit; N],
    cheapest: [f64; N],
    rounds: usize,
    verdict: Result<(), String>,
}

impl<const N: usize> Trial<'_, N> {
    /// Whether another round is needed.
    pub fn goes_on(&self) -> bool {
        self.rounds < MIN_ROUNDS || (self.verdict.is_err() && self.rounds < MAX_ROUNDS)
    }

    /// Adds a round: what one operation cost in it.
    pub fn note(&mut self, measured: [f64; N]) {
        self.rounds += 1;
        self.cheapest = std::array::from_fn(|n| self.cheapest[n].min(measured[n]));
        self.verdict = self.budget.check(self.units, self.cheapest);
    }

    /// Whether the budget is met. The error has the line that would be right.
    pub fn verdict(self) -> Result<(), String> {
        self.verdict
    }
}

/// The budget for a measured cost: in the middle of the slack, so that neither direction is on the edge.
fn budget_for(found: f64, slack: u32) -> u64 {
    (found * (1.0 + f64::from(slack) / 200.0)).round().max(found.ceil()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 2] = [Unit { name: "statements", slack: 0 }, Unit { name: "bytes", slack: 5 }];
    const CLAIM: CostBudget<2> = CostBudget::new("a claim", [2, 1000]);

    #[test]
    fn a_budget_is_met_within_its_slack() {
        for measured in [[2.0, 1000.0], [2.0, 950.0]] {
            assert_eq!(CLAIM.check(&UNITS, measured), Ok(()));
        }
    }

    #[test]
    fn an_exceeded_budget_is_reported_with_the_right_line() {
        let message = CLAIM.check(&UNITS, [2.01, 1000.0]).expect_err("a hundredth of a statement more");
        assert!(message.contains("statements: 2.01, budget 2: it costs more"), "{message}");
        assert!(message.ends_with("CostBudget::new(\"a claim\", [3, 1000])"), "{message}");
    }

    #[test]
    fn a_budget_that_is_too_high_is_reported_with_the_right_line() {
        let message = CLAIM.check(&UNITS, [1.0, 949.0]).expect_err("a statement and some bytes less");
        assert!(message.contains("bytes: 949.00, budget 1000: it costs less"), "{message}");
        assert!(message.ends_with("CostBudget::new(\"a claim\", [1, 973])"), "{message}");
    }

    #[test]
    fn the_reported_budget_is_met() {
        for (found, slack) in [(32.0, 2), (24.0, 5), (949.5, 5), (7.0, 0), (0.0, 5)] {
            let units = [Unit { name: "bytes", slack }];
            let budget = CostBudget::new("a claim", [budget_for(found, slack)]);
            assert_eq!(budget.check(&units, [found]), Ok(()));
        }
    }

    #[test]
    fn the_cheapest_round_counts() {
        let mut trial = CLAIM.trial(&UNITS);
        for measured in [[9.0, 1000.0], [2.0, 9000.0], [2.0, 1000.0]] {
            assert!(trial.goes_on());
            trial.note(measured);
        }
        assert!(!trial.goes_on());
        assert_eq!(trial.verdict(), Ok(()));
    }

    #[test]
    fn a_budget_that_is_never_met_ends_after_the_most_rounds() {
        let (mut trial, mut rounds) = (CLAIM.trial(&UNITS), 0);
        while trial.goes_on() {
            trial.note([3.0, 1000.0]);
            rounds += 1;
        }
        assert_eq!(rounds, MAX_ROUNDS);
        assert!(trial.verdict().is_err());
    }

    #[test]
    fn an_operation_with_a_budget_of_zero_may_cost_nothing() {
        let free: CostBudget<2> = CostBudget::new("a replay", [1, 0]);
        assert_eq!(free.check(&UNITS, [1.0, 0.0]), Ok(()));
        assert!(free.check(&UNITS, [1.0, 0.1]).is_err());
    }
}

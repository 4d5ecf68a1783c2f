//! Price lists: what an operation costs, in figures that a busy machine does not change.

use std::fmt::Write as _;

/// The least and the most rounds of a trial.
const FEW: usize = 3;
const MANY: usize = 24;

/// What is counted, and by how many hundredths a price may be too high before it is not true any more. Counts are exact;
/// bytes depend a little on where pages end.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// What is counted: "statements".
    pub name: &'static str,
    /// How far below its price a figure may lie, in hundredths of the price.
    pub slack: u32,
}

/// A line of a price list: what an operation may cost at the most.
#[derive(Debug, Clone, Copy)]
pub struct Price<const N: usize> {
    operation: &'static str,
    figures: [u64; N],
}

impl<const N: usize> Price<N> {
    /// A line of the list. Where several operations go together, the figures are for all of them.
    pub const fn new(operation: &'static str, figures: [u64; N]) -> Self {
        Self { operation, figures }
    }

    /// What the operation may cost, in the order of the units.
    pub const fn figures(&self) -> &[u64; N] {
        &self.figures
    }

    /// Starts to measure the operation, in rounds.
    pub fn trial<'a>(&'a self, units: &'a [Unit; N]) -> Trial<'a, N> {
        Trial { price: self, units, cheapest: [f64::INFINITY; N], rounds: 0, verdict: Ok(()) }
    }

    /// Whether the operation costs what the list says: not more, and not much less either, for a price that nobody lowers
    /// would let later changes waste what was gained. An error says how the line has to read.
    fn judge(&self, units: &[Unit; N], measured: [f64; N]) -> Result<(), String> {
        let (mut told, mut line) = (format!("the price of {} is not true:", self.operation), self.figures);
        let mut is_true = true;
        for (n, unit) in units.iter().enumerate() {
            let (price, found) = (self.figures[n] as f64, measured[n]);
            let verdict = match found {
                _ if found > price => "it became dearer",
                _ if found < price * (1.0 - f64::from(unit.slack) / 100.0) => {
                    "it became cheaper: lower the price"
                }
                _ => continue,
            };
            is_true = false;
            line[n] = asked(found, unit.slack);
            // Writing to a string does not fail.
            let _ = write!(told, "\n  {}: {found:.2}, where the list says {price}: {verdict}", unit.name);
        }
        let _ = write!(told, "\nthe line that is true: Price::new({:?}, {line:?})", self.operation);
        if is_true { Ok(()) } else { Err(told) }
    }
}

/// Rounds of measuring one operation, of which the cheapest counts. A connection that had to be asked whether it is still
/// there, a page that filled up, a key that a small table had no room for: none of them is what the operation costs, and each
/// befalls some rounds only. A price that is true after a few rounds is not looked at any longer.
#[derive(Debug)]
pub struct Trial<'a, const N: usize> {
    price: &'a Price<N>,
    units: &'a [Unit; N],
    cheapest: [f64; N],
    rounds: usize,
    verdict: Result<(), String>,
}

impl<const N: usize> Trial<'_, N> {
    /// Whether another round is needed.
    pub fn goes_on(&self) -> bool {
        self.rounds < FEW || (self.verdict.is_err() && self.rounds < MANY)
    }

    /// What the operation cost in a round, each figure for one operation.
    pub fn note(&mut self, measured: [f64; N]) {
        self.rounds += 1;
        self.cheapest = std::array::from_fn(|n| self.cheapest[n].min(measured[n]));
        self.verdict = self.price.judge(self.units, self.cheapest);
    }

    /// Whether the price is true. An error says how the line has to read.
    pub fn verdict(self) -> Result<(), String> {
        self.verdict
    }
}

/// The price of what costs so much: in the middle of the slack, so that neither direction is on the edge.
fn asked(found: f64, slack: u32) -> u64 {
    (found * (1.0 + f64::from(slack) / 200.0)).round().max(found.ceil()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 2] = [Unit { name: "statements", slack: 0 }, Unit { name: "bytes", slack: 5 }];
    const CLAIM: Price<2> = Price::new("a claim", [2, 1000]);

    #[test]
    fn a_price_is_true_within_its_slack() {
        for measured in [[2.0, 1000.0], [2.0, 950.0]] {
            assert_eq!(CLAIM.judge(&UNITS, measured), Ok(()));
        }
    }

    #[test]
    fn what_became_dearer_is_told_with_its_line() {
        let told = CLAIM.judge(&UNITS, [2.01, 1000.0]).expect_err("a hundredth of a statement more");
        assert!(told.contains("statements: 2.01, where the list says 2: it became dearer"), "{told}");
        assert!(told.ends_with("Price::new(\"a claim\", [3, 1000])"), "{told}");
    }

    #[test]
    fn what_became_cheaper_is_told_with_its_line() {
        let told = CLAIM.judge(&UNITS, [1.0, 949.0]).expect_err("a statement and some bytes less");
        assert!(told.contains("bytes: 949.00, where the list says 1000: it became cheaper"), "{told}");
        assert!(told.ends_with("Price::new(\"a claim\", [1, 973])"), "{told}");
    }

    #[test]
    fn the_line_that_is_told_is_true() {
        for (found, slack) in [(32.0, 2), (24.0, 5), (949.5, 5), (7.0, 0), (0.0, 5)] {
            let units = [Unit { name: "bytes", slack }];
            let told = Price::new("a claim", [asked(found, slack)]);
            assert_eq!(told.judge(&units, [found]), Ok(()));
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
    fn a_price_that_is_never_met_is_not_tried_for_ever() {
        let (mut trial, mut rounds) = (CLAIM.trial(&UNITS), 0);
        while trial.goes_on() {
            trial.note([3.0, 1000.0]);
            rounds += 1;
        }
        assert_eq!(rounds, MANY);
        assert!(trial.verdict().is_err());
    }

    #[test]
    fn what_costs_nothing_stays_free() {
        let free: Price<2> = Price::new("a replay", [1, 0]);
        assert_eq!(free.judge(&UNITS, [1.0, 0.0]), Ok(()));
        assert!(free.judge(&UNITS, [1.0, 0.1]).is_err());
    }
}

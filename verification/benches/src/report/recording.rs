//! A report while its run goes on: each figure is printed when it is added.

use crate::context::BenchContext;
use crate::report::figures::{Alternative, Cell, Fact, Report};
use crate::report::machine::Machine;
use crate::report::table;

impl Report {
    /// The head of a report: what is known before anything is measured.
    pub(crate) fn begin(context: &BenchContext) -> Self {
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::of_this(),
            quick: context.plan.quick,
            rounds: context.plan.rounds,
            seconds: context.plan.span.as_secs_f64(),
            cells: Vec::new(),
            facts: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    /// What is known only afterwards: which servers were used, and which alternatives were measured.
    pub(crate) fn end(&mut self, context: &BenchContext, alternatives: Vec<Alternative>) {
        self.machine.servers = context.versions();
        let measured = |alternative: &Alternative| {
            self.cells.iter().flat_map(|cell| &cell.others).any(|side| side.name == alternative.name)
        };
        self.alternatives = alternatives.into_iter().filter(measured).collect();
    }

    /// Adds a cell, and prints it.
    pub(crate) fn cell(&mut self, cell: Cell) {
        eprintln!("{}", table::line(&cell));
        self.cells.push(cell);
    }

    /// Adds a fact, and prints it.
    pub(crate) fn fact(&mut self, fact: Fact) {
        eprintln!("{}", table::fact_line(&fact));
        self.facts.push(fact);
    }
}

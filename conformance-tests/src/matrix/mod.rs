//! The matrix: every standing of a record, at every age that its deadlines tell apart, is asked every operation by
//! everyone who could ask it, twice. The kernel says what the reply, the record and the events have to be.
//!
//! The laws check sentences; the matrix checks that nothing was left out between them. A cell is (standing, age,
//! operation, who asks and how). A record that a cell left as it was, which is compared in full, serves the next cell;
//! one that was changed is given up, and a fresh one is driven to the same standing and age.

mod age;
mod asks;
pub(crate) mod cells;
mod decisions;
mod stage;
mod standing;
#[cfg(test)]
mod tests;

use sentinel_core::kernel::Op;

use crate::lab::Lab;
use crate::sequences::{self, Coverage};
use stage::Stage;

/// One way to ask, in words and as data.
struct Ask {
    words: String,
    op: Op,
}

impl Ask {
    fn new(words: impl Into<String>, op: impl Into<Op>) -> Self {
        Self { words: words.into(), op: op.into() }
    }
}

/// All ways to ask one operation of the record on a stage: as many, and in the same order, for each record that was
/// driven to the same standing.
type Asks = fn(&Stage<'_>) -> Vec<Ask>;

/// What the cells of one operation met.
#[derive(Debug, Default)]
struct Tally {
    cells: u64,
    answers: Coverage,
}

impl Tally {
    fn count(&mut self, op: &Op, (standing, rule): (sequences::Standing, &'static str)) {
        self.answers.count(standing, op.name(), rule);
    }
}

/// Checks all cells of one operation.
///
/// # Panics
/// If the store differs from the kernel: says in which cell, and how.
async fn check(lab: &Lab, operation: &str, asks: Asks) -> Tally {
    let mut tally = Tally::default();
    let mut keys = 0..;
    for standing in standing::ALL {
        let mut fresh = async || Stage::set(lab, keys.next().unwrap_or_default(), standing).await;
        for age in age::of(&fresh().await) {
            let mut stage = fresh().await.aged(age).await;
            let mut ways = asks(&stage);
            for way in 0..ways.len() {
                let ask = &ways[way];
                let told = cell(&mut stage, &ask.op, &mut tally).await;
                if let Err(mismatch) = told {
                    let Ask { words, op } = ask;
                    panic!("{}, {age}: {operation} {words}: {mismatch}\n    asked {op:?}", standing.words);
                }
                if stage.is_touched() && way + 1 < ways.len() {
                    stage = fresh().await.aged(age).await;
                    ways = asks(&stage);
                }
            }
        }
    }
    tally
}

/// Asks twice, and compares replies, record and events with the kernel's.
async fn cell(stage: &mut Stage<'_>, op: &Op, tally: &mut Tally) -> Result<(), String> {
    tally.cells += 1;
    tally.count(op, stage.ask(op).await?);
    if stage.is_touched() {
        stage.look().await?;
    }
    let again = stage.ask(op).await.map_err(|mismatch| format!("asked again: {mismatch}"))?;
    tally.count(op, again);
    stage.look().await
}

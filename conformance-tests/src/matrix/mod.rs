//! The matrix: every standing of a record, at every age that its deadlines tell apart, is asked every operation by
//! everyone who could ask it, twice. The kernel says what the reply, the record and the events have to be.
//!
//! The laws check sentences; the matrix checks that nothing was left out between them. A cell is (standing, age,
//! operation, who asks and how). A record that a cell left as it was, which is compared in full, serves the next cell;
//! one that was changed is given up, and a fresh one is driven to the same standing and age.
//!
//! Beside the cells stands what the network does to each operation, from each standing in which it changes something:
//! request or reply are lost and it is sent again (`lost.rs`), a copy arrives when the world has moved on
//! (`late.rs`), the caller goes away (`dropped.rs`), or the connection breaks in the middle of it (`cut.rs`).

mod age;
mod asks;
pub(crate) mod cells;
pub(crate) mod cut;
mod decisions;
pub(crate) mod dropped;
pub(crate) mod late;
pub(crate) mod lost;
pub(crate) mod overlaps;
pub(crate) mod reopened;
mod stage;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sentinel_core::kernel::Op;

use crate::lab::Lab;
use crate::sequences::{self, Coverage, times};
use stage::Stage;
use standing::Standing;

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

/// The standings from which an operation changes something, at most so many for each state and kind of record, and the ways
/// to ask it so, two at most: a claim goes in both forms. Found without asking the store.
fn granted<'a>(
    lab: &'a Lab,
    asks: Asks,
    each: u32,
) -> impl Iterator<Item = (&'static Standing, Stage<'a>, Vec<usize>)> {
    let mut taken = HashMap::new();
    standing::ALL.iter().filter_map(move |standing| {
        let stage = Stage::imagined(lab, standing);
        let asked = asks(&stage);
        let changes = |way: &usize| stage.clone().imagine(&asked[*way].op);
        let ways: Vec<usize> = (0..asked.len()).filter(changes).take(2).collect();
        let taken = taken.entry((standing.kind, stage.record().state)).or_insert(0);
        let wanted = !ways.is_empty() && *taken < each;
        *taken += u32::from(wanted);
        wanted.then_some((standing, stage, ways))
    })
}

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
    // Not the same ones for each operation; and all, where more of everything was asked for.
    let share = (lab.sizes().matrix_share / times(1)).max(1) as usize;
    for standing in standing::ALL.iter().skip(operation.len() % share).step_by(share) {
        let mut fresh = async || Stage::set(lab, keys.next().unwrap_or_default(), standing).await;
        let mut stage = fresh().await;
        for age in age::of(&stage) {
            if stage.is_touched() {
                stage = fresh().await;
            }
            stage.age(age).await;
            let mut ways = asks(&stage);
            for way in 0..ways.len() {
                let ask = &ways[way];
                let told = cell(&mut stage, &ask.op, &mut tally).await;
                if let Err(mismatch) = told {
                    let Ask { words, op } = ask;
                    panic!("{}, {age}: {operation} {words}: {mismatch}\n    asked {op:?}", standing.words);
                }
                if stage.is_touched() && way + 1 < ways.len() {
                    stage = fresh().await;
                    stage.age(age).await;
                    ways = asks(&stage);
                }
            }
            // What no record of this kind can be asked, it cannot be asked later either.
            if ways.iter().all(|ask| ask.op.admit(standing.kind).is_err()) {
                break;
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

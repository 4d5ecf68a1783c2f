//! The matrix: every start state of a record, at every age that its deadlines tell apart, is asked every operation by
//! everyone who could ask it, twice. The kernel says what the reply, the record and the events have to be.
//!
//! The laws check sentences; the matrix checks that nothing was left out between them. A cell is (start state, age,
//! operation, who asks and how). A record that a cell left as it was, which is compared in full, serves the next cell;
//! one that was changed is given up, and a fresh one is driven to the same start state and age.
//!
//! Beside the cells stands what the network does to each operation, from each start state in which it changes
//! something: request or reply are lost and it is sent again (`lost.rs`), a copy arrives when the world has moved on
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
mod record_under_test;
pub(crate) mod reopened;
mod start_state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sentinel_core::kernel::Op;

use crate::coordination::law_context::LawContext;
use crate::coordination::sequences::{self, Coverage, times};
use record_under_test::RecordUnderTest;
use start_state::StartState;

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
/// driven to the same start state.
type Asks = fn(&RecordUnderTest<'_>) -> Vec<Ask>;

/// The start states from which an operation changes something, at most so many for each state and kind of record, and
/// the ways to ask it so, two at most: a claim goes in both forms. Found without asking the store.
fn granted<'a>(
    context: &'a LawContext,
    asks: Asks,
    each: u32,
) -> impl Iterator<Item = (&'static StartState, RecordUnderTest<'a>, Vec<usize>)> {
    let mut taken = HashMap::new();
    start_state::ALL.iter().filter_map(move |start_state| {
        let stage = RecordUnderTest::imagined(context, start_state);
        let asked = asks(&stage);
        let changes = |way: &usize| stage.clone().imagine(&asked[*way].op);
        let ways: Vec<usize> = (0..asked.len()).filter(changes).take(2).collect();
        let taken = taken.entry((start_state.kind, stage.record().state)).or_insert(0);
        let wanted = !ways.is_empty() && *taken < each;
        *taken += u32::from(wanted);
        wanted.then_some((start_state, stage, ways))
    })
}

/// What the cells of one operation met.
#[derive(Debug, Default)]
struct Tally {
    cells: u64,
    answers: Coverage,
}

impl Tally {
    fn count(&mut self, op: &Op, (start_state, rule): (sequences::StartState, &'static str)) {
        self.answers.count(start_state, op.name(), rule);
    }
}

/// Checks all cells of one operation.
///
/// # Panics
/// If the store differs from the kernel: says in which cell, and how.
async fn check(context: &LawContext, operation: &str, asks: Asks) -> Tally {
    let mut tally = Tally::default();
    let mut keys = 0..;
    // Not the same ones for each operation; and all, where more of everything was asked for.
    let share = (context.sizes().matrix_share / times(1)).max(1) as usize;
    for start_state in start_state::ALL.iter().skip(operation.len() % share).step_by(share) {
        let mut fresh =
            async || RecordUnderTest::set(context, keys.next().unwrap_or_default(), start_state).await;
        let mut stage = fresh().await;
        for age in age::of(stage.record(), stage.clock()) {
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
                    panic!("{}, {age}: {operation} {words}: {mismatch}\n    asked {op:?}", start_state.words);
                }
                if stage.is_touched() && way + 1 < ways.len() {
                    stage = fresh().await;
                    stage.age(age).await;
                    ways = asks(&stage);
                }
            }
            // What no record of this kind can be asked, it cannot be asked later either.
            if ways.iter().all(|ask| ask.op.admit(start_state.kind).is_err()) {
                break;
            }
        }
    }
    tally
}

/// Asks twice, and compares replies, record and events with the kernel's.
async fn cell(stage: &mut RecordUnderTest<'_>, op: &Op, tally: &mut Tally) -> Result<(), String> {
    tally.cells += 1;
    tally.count(op, stage.ask(op).await?);
    if stage.is_touched() {
        stage.look().await?;
    }
    let again = stage.ask(op).await.map_err(|mismatch| format!("asked again: {mismatch}"))?;
    tally.count(op, again);
    stage.look().await
}

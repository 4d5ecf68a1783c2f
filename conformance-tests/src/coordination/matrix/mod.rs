//! The matrix: a record in every start state, at every age that its deadlines distinguish, gets every operation from
//! every possible caller, twice. The kernel determines what the reply, the record and the events must be.
//!
//! The laws check sentences; the matrix checks that nothing was left out between them. A cell is (start state, age,
//! operation, caller and form). If a cell did not change the record, which is compared in full, the next cell uses it
//! too; otherwise a fresh record is driven to the same start state and age.
//!
//! Other files cover what the network does to each operation, from each start state in which it changes something:
//! request or reply are lost and it is sent again (`lost.rs`), a copy arrives after later operations (`late.rs`), the
//! caller is dropped (`dropped.rs`), or the connection breaks in the middle of it (`cut.rs`).

mod age;
pub(crate) mod cells;
pub(crate) mod cut;
mod decisions;
pub(crate) mod dropped;
pub(crate) mod late;
pub(crate) mod lost;
pub(crate) mod overlaps;
mod record_under_test;
pub(crate) mod reopened;
mod requests;
mod start_state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use sentinel_core::kernel::Op;

use crate::coordination::law_context::LawContext;
use crate::coordination::sequences::{self, Coverage, times};
use record_under_test::RecordUnderTest;
use start_state::StartState;

/// One request, in words and as data.
struct Request {
    words: String,
    op: Op,
}

impl Request {
    fn new(words: impl Into<String>, op: impl Into<Op>) -> Self {
        Self { words: words.into(), op: op.into() }
    }
}

/// All requests of one operation for a record under test: the same number, in the same order, for each record that was
/// driven to the same start state.
type RequestsOf = fn(&RecordUnderTest<'_>) -> Vec<Request>;

/// The start states from which an operation changes something, at most `each` for each state and kind of record, and
/// the indices of the requests that do, two at most: a claim has two forms. Found without the store.
fn granted<'a>(
    context: &'a LawContext,
    requests_of: RequestsOf,
    each: u32,
) -> impl Iterator<Item = (&'static StartState, RecordUnderTest<'a>, Vec<usize>)> {
    let mut taken = HashMap::new();
    start_state::ALL.iter().filter_map(move |start_state| {
        let under_test = RecordUnderTest::imagined(context, start_state);
        let requests = requests_of(&under_test);
        let changes = |index: &usize| under_test.clone().imagine(&requests[*index].op);
        let indices: Vec<usize> = (0..requests.len()).filter(changes).take(2).collect();
        let taken = taken.entry((start_state.kind, under_test.record().state)).or_insert(0);
        let wanted = !indices.is_empty() && *taken < each;
        *taken += u32::from(wanted);
        wanted.then_some((start_state, under_test, indices))
    })
}

/// The number of cells of one operation, and their replies.
#[derive(Debug, Default)]
struct Tally {
    cells: u64,
    replies: Coverage,
}

impl Tally {
    fn count(&mut self, op: &Op, (start_state, rule): (sequences::StartState, &'static str)) {
        self.replies.count(start_state, op.name(), rule);
    }
}

/// Checks all cells of one operation.
///
/// # Panics
/// If the store differs from the kernel, with the cell and the difference.
async fn check(context: &LawContext, operation: &str, requests_of: RequestsOf) -> Tally {
    let mut tally = Tally::default();
    let mut keys = 0..;
    // A different share for each operation; all of them if the environment asks for more cases.
    let share = (context.sizes().matrix_share / times(1)).max(1) as usize;
    for start_state in start_state::ALL.iter().skip(operation.len() % share).step_by(share) {
        let mut fresh =
            async || RecordUnderTest::set(context, keys.next().unwrap_or_default(), start_state).await;
        let mut under_test = fresh().await;
        for age in age::of(under_test.record(), under_test.clock()) {
            if under_test.is_touched() {
                under_test = fresh().await;
            }
            under_test.age(age).await;
            let mut indices = requests_of(&under_test);
            for index in 0..indices.len() {
                let request = &indices[index];
                let events_before = cell(&mut under_test, &request.op, &mut tally).await;
                if let Err(mismatch) = events_before {
                    let Request { words, op } = request;
                    panic!("{}, {age}: {operation} {words}: {mismatch}\n    sent {op:?}", start_state.words);
                }
                if under_test.is_touched() && index + 1 < indices.len() {
                    under_test = fresh().await;
                    under_test.age(age).await;
                    indices = requests_of(&under_test);
                }
            }
            // A request that is invalid for a record of this kind is invalid at every age.
            if indices.iter().all(|request| request.op.admit(start_state.kind).is_err()) {
                break;
            }
        }
    }
    tally
}

/// Sends the request twice, and compares replies, record and events with the kernel's.
async fn cell(under_test: &mut RecordUnderTest<'_>, op: &Op, tally: &mut Tally) -> Result<(), String> {
    tally.cells += 1;
    tally.count(op, under_test.request(op).await?);
    if under_test.is_touched() {
        under_test.check_stored().await?;
    }
    let again = under_test.request(op).await.map_err(|mismatch| format!("sent again: {mismatch}"))?;
    tally.count(op, again);
    under_test.check_stored().await
}

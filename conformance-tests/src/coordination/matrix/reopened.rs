//! A store that is closed and opened again: a record in each start state is unchanged, and replies as the kernel does.

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::start_state;
use crate::coordination::law_context::LawContext;

/// Each record is driven to a start state before the store is closed. Afterwards record and history are the same, and
/// each operation that changes something gets the kernel's reply.
pub(crate) async fn every_start_state_is_the_same_after_reopening(context: &LawContext) {
    let mut records = Vec::new();
    for (number, start_state) in (0..).zip(start_state::ALL) {
        records.push((start_state.words, RecordUnderTest::at_work(context, number, start_state).await));
    }
    if !context.reopen().await {
        return;
    }
    let last = records.last().map(|(_, under_test)| under_test.clock()).unwrap_or_default();
    for (words, under_test) in &mut records {
        under_test.follow(last);
        let mut checked = under_test.check_stored().await;
        for (operation, requests_of) in OPERATIONS {
            let requests =
                requests_of(under_test).into_iter().find(|request| under_test.clone().imagine(&request.op));
            if let (Ok(()), Some(request)) = (&checked, requests) {
                checked = under_test
                    .take_effect(&request.op)
                    .await
                    .map_err(|broken| format!("{operation}: {broken}"));
            }
        }
        let checked = match checked {
            Ok(()) => under_test.check_stored().await,
            broken => broken,
        };
        checked.unwrap_or_else(|broken| panic!("{words}, after the store was opened again: {broken}"));
    }
}

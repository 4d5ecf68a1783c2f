//! A store that is closed and opened again: every start state of a record is what it was, and answers as the kernel
//! does.

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::start_state;
use crate::coordination::law_context::LawContext;

/// Each record is driven to a start state before the store is closed. Afterwards record and history are the same, and
/// each operation that changes something is answered as the kernel answers it.
pub(crate) async fn every_start_state_is_the_same_after_reopening(context: &LawContext) {
    let mut stages = Vec::new();
    for (number, start_state) in (0..).zip(start_state::ALL) {
        stages.push((start_state.words, RecordUnderTest::at_work(context, number, start_state).await));
    }
    if !context.reopen().await {
        return;
    }
    let last = stages.last().map(|(_, stage)| stage.clock()).unwrap_or_default();
    for (words, stage) in &mut stages {
        stage.follow(last);
        let mut looked = stage.look().await;
        for (operation, asks) in OPERATIONS {
            let asked = asks(stage).into_iter().find(|ask| stage.clone().imagine(&ask.op));
            if let (Ok(()), Some(ask)) = (&looked, asked) {
                looked = stage.take_effect(&ask.op).await.map_err(|broken| format!("{operation}: {broken}"));
            }
        }
        let looked = match looked {
            Ok(()) => stage.look().await,
            broken => broken,
        };
        looked.unwrap_or_else(|broken| panic!("{words}, after the store was opened again: {broken}"));
    }
}

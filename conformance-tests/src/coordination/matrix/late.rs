//! Late copies: each operation took effect, further operations follow step by step, and a copy of the request arrives.

use sentinel_core::kernel::Op;

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::start_state::{Step, Step::*};
use super::{RequestsOf, granted};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;

/// The later steps: each course is followed as far as its steps can be taken.
const COURSES: [&[Step]; 16] = [
    &[Complete],
    &[Begin, Complete],
    &[Release, Claim, Begin, Complete],
    &[Begin, Vouch, Fused, Vouch],
    &[Vouch, Claim, Release],
    &[Cancel, Fused, Abandon],
    &[Evict, Claim, Evict],
    &[Lapse, Claim, Begin, Lapse, Reconcile],
    &[Lapse, Reconcile, Force],
    &[Abandon, Reconcile, Reset, Fused, Complete],
    &[Seize, Steal, ResetEarly, Claim],
    &[Reconcile, Steal, Force],
    &[Force],
    &[ResetEarly, Claim, Begin],
    &[Claim, Begin, Abandon, Reconcile, Reset],
    &[CancelUnsent, Fused, Seize, Force],
];

/// The number of start states for each state.
const START_STATES: u32 = 2;

/// From start states where the operation is granted, along each course: after each later step, a copy of the request
/// changes nothing, and gets the kernel's reply.
///
/// # Panics
/// If it does, with the start state and the steps. Also if no copy was sent.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn late(context: &LawContext, operation: &str) {
    let (_, requests_of) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let (mut keys, mut copies) = (0.., 0);
    for (start_state, imagined, indices) in granted(context, *requests_of, START_STATES) {
        for index in indices {
            for course in COURSES {
                let course = &course[..feasible(imagined.clone(), *requests_of, index, course)];
                if course.is_empty() {
                    continue;
                }
                let under_test =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                match along(under_test, *requests_of, index, course).await {
                    Ok(sent) => copies += sent,
                    Err((steps, broken)) => {
                        let (words, steps) = (start_state.words, &course[..steps]);
                        panic!("{words}, a late copy of a {operation} after {steps:?}: {broken}");
                    }
                }
            }
        }
    }
    println!("matrix: {copies} late copies of {operation}");
    assert!(copies > 0, "no copy of a {operation} was sent");
}

/// How many steps of a course can be taken after the request.
fn feasible(
    mut imagined: RecordUnderTest<'_>,
    requests_of: RequestsOf,
    index: usize,
    course: &[Step],
) -> usize {
    let op = requests_of(&imagined).swap_remove(index).op;
    imagined.imagine(&op);
    course.iter().take_while(|step| imagined.imagine_step(**step)).count()
}

/// How many copies were sent. Errors contain the number of steps.
async fn along(
    mut under_test: RecordUnderTest<'_>,
    requests_of: RequestsOf,
    index: usize,
    course: &[Step],
) -> Result<u32, (usize, String)> {
    let mut copies = 0;
    let op = requests_of(&under_test).swap_remove(index).op;
    under_test.take_effect(&op).await.map_err(|broken| (0, broken))?;
    for (taken, step) in course.iter().enumerate() {
        let at = |broken| (taken + 1, broken);
        under_test.step(*step).await.map_err(at)?;
        // The heartbeat of a grant that is still current is as good as a new one.
        if matches!(&op, Op::Heartbeat(beat) if under_test.record().matches(&beat.grant)) {
            continue;
        }
        under_test.request(&op).await.map_err(at)?;
        if under_test.is_touched() {
            return Err(at(format!("it changed the record: sent {op:?}")));
        }
        under_test.check_stored().await.map_err(at)?;
        copies += 1;
    }
    Ok(copies)
}

/// A record that was created after the purge is not purged by the copy.
pub(crate) async fn a_late_copy_of_a_purge_changes_nothing(context: &LawContext) {
    let k = context.execution("served");
    k.cancel(call("ann").claim_id).await;
    context.advance(REST).await;
    let purge = async || context.purge().await.records;
    assert_eq!(purge().await, 1);
    let grant = k.granted(&call("bob")).await;
    let claimed = k.record().await;
    assert_eq!(purge().await, 0);
    k.assert_untouched_since(&claimed).await;
    k.release(grant).await;
    let released = k.record().await;
    assert_eq!(purge().await, 0);
    k.assert_untouched_since(&released).await;
}

/// Its claim id is remembered, so the copy is refused.
pub(crate) async fn a_late_copy_of_a_claim_changes_nothing(context: &LawContext) {
    late(context, "claim").await;
}

/// It does not begin a claim that has ended.
pub(crate) async fn a_late_copy_of_a_begin_changes_nothing(context: &LawContext) {
    late(context, "begin").await;
}

/// It extends only its own grant.
pub(crate) async fn a_late_copy_of_a_heartbeat_changes_nothing(context: &LawContext) {
    late(context, "heartbeat").await;
}

/// The first result is kept.
pub(crate) async fn a_late_copy_of_a_completion_changes_nothing(context: &LawContext) {
    late(context, "complete").await;
}

/// It does not free the key of a later call.
pub(crate) async fn a_late_copy_of_a_cancel_changes_nothing(context: &LawContext) {
    late(context, "cancel").await;
}

/// It does not free the key of a later call.
pub(crate) async fn a_late_copy_of_a_release_changes_nothing(context: &LawContext) {
    late(context, "release").await;
}

/// It does not abandon a later run.
pub(crate) async fn a_late_copy_of_an_abandonment_changes_nothing(context: &LawContext) {
    late(context, "abandon").await;
}

/// It does not take a newer run.
pub(crate) async fn a_late_copy_of_a_reconciliation_changes_nothing(context: &LawContext) {
    late(context, "reconcile").await;
}

/// It is no result of a newer run.
pub(crate) async fn a_late_copy_of_a_forced_result_changes_nothing(context: &LawContext) {
    late(context, "force_complete").await;
}

/// It authorises no second run.
pub(crate) async fn a_late_copy_of_a_reset_changes_nothing(context: &LawContext) {
    late(context, "reset_to_claimed").await;
}

/// It does not evict a later claim.
pub(crate) async fn a_late_copy_of_an_eviction_changes_nothing(context: &LawContext) {
    late(context, "evict").await;
}

//! Late copies: each operation took effect, the world moves on step by step, and a copy of the request arrives.

use sentinel_core::kernel::Op;

use super::cells::OPERATIONS;
use super::record_under_test::RecordUnderTest;
use super::start_state::{Step, Step::*};
use super::{Asks, granted};
use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;

/// How the world moves on: as far down each course as its steps can be taken.
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

/// From so many start states of each state.
const START_STATES: u32 = 2;

/// From start states where the operation is granted, along each course: whenever the world has moved on, a copy of the
/// request changes nothing, and is answered as the kernel says.
///
/// # Panics
/// If it is not so: says from where, and after which steps. Also if no copy was sent.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn late(context: &LawContext, operation: &str) {
    let (_, asks) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let (mut keys, mut copies) = (0.., 0);
    for (start_state, imagined, ways) in granted(context, *asks, START_STATES) {
        for way in ways {
            for course in COURSES {
                let course = &course[..feasible(imagined.clone(), *asks, way, course)];
                if course.is_empty() {
                    continue;
                }
                let stage =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                match along(stage, *asks, way, course).await {
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
fn feasible(mut imagined: RecordUnderTest<'_>, asks: Asks, way: usize, course: &[Step]) -> usize {
    let op = asks(&imagined).swap_remove(way).op;
    imagined.imagine(&op);
    course.iter().take_while(|step| imagined.imagine_step(**step)).count()
}

/// How many copies were sent. Errors tell after how many steps.
async fn along(
    mut stage: RecordUnderTest<'_>,
    asks: Asks,
    way: usize,
    course: &[Step],
) -> Result<u32, (usize, String)> {
    let mut copies = 0;
    let op = asks(&stage).swap_remove(way).op;
    stage.take_effect(&op).await.map_err(|broken| (0, broken))?;
    for (taken, step) in course.iter().enumerate() {
        let at = |broken| (taken + 1, broken);
        stage.step(*step).await.map_err(at)?;
        // The heartbeat of a grant that still stands is as good as a new one.
        if matches!(&op, Op::Heartbeat(beat) if stage.record().matches(&beat.grant)) {
            continue;
        }
        stage.ask(&op).await.map_err(at)?;
        if stage.is_touched() {
            return Err(at(format!("it changed the record: asked {op:?}")));
        }
        stage.look().await.map_err(at)?;
        copies += 1;
    }
    Ok(copies)
}

/// Who came later is not purged with what was there before.
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

/// Its claim id is remembered: no ghost is granted.
pub(crate) async fn a_late_copy_of_a_claim_changes_nothing(context: &LawContext) {
    late(context, "claim").await;
}

/// It starts nothing that is over.
pub(crate) async fn a_late_copy_of_a_begin_changes_nothing(context: &LawContext) {
    late(context, "begin").await;
}

/// It keeps nobody alive but its own grant.
pub(crate) async fn a_late_copy_of_a_heartbeat_changes_nothing(context: &LawContext) {
    late(context, "heartbeat").await;
}

/// The first result stands.
pub(crate) async fn a_late_copy_of_a_completion_changes_nothing(context: &LawContext) {
    late(context, "complete").await;
}

/// It frees nobody who came later.
pub(crate) async fn a_late_copy_of_a_cancel_changes_nothing(context: &LawContext) {
    late(context, "cancel").await;
}

/// It frees nobody who came later.
pub(crate) async fn a_late_copy_of_a_release_changes_nothing(context: &LawContext) {
    late(context, "release").await;
}

/// It brings nobody else into doubt.
pub(crate) async fn a_late_copy_of_an_abandonment_changes_nothing(context: &LawContext) {
    late(context, "abandon").await;
}

/// It seizes no newer run.
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

/// It evicts nobody who came later.
pub(crate) async fn a_late_copy_of_an_eviction_changes_nothing(context: &LawContext) {
    late(context, "evict").await;
}

//! One law for each operation: all of its cells.

use super::{RequestsOf, check, decisions, requests};
use crate::coordination::law_context::LawContext;

/// Each operation and its requests.
pub(super) const OPERATIONS: [(&str, RequestsOf); 11] = [
    ("claim", requests::claims),
    ("begin", requests::begins),
    ("heartbeat", requests::heartbeats),
    ("complete", requests::completions),
    ("cancel", requests::cancels),
    ("release", requests::releases),
    ("abandon", requests::abandonments),
    ("reconcile", decisions::reconciliations),
    ("force_complete", decisions::force_completions),
    ("reset_to_claimed", decisions::resets),
    ("evict", decisions::evictions),
];

/// Prints the number of cells with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
async fn cells(context: &LawContext, operation: &str) {
    let (_, requests_of) = OPERATIONS.iter().find(|(name, _)| *name == operation).expect("an operation");
    let tally = check(context, operation, *requests_of).await;
    println!("matrix: {} cells for {operation}", tally.cells);
}

/// From any call: new or known, about the same or another request, in both forms.
pub(crate) async fn every_start_state_replies_to_claim_as_the_kernel_does(context: &LawContext) {
    cells(context, "claim").await;
}

/// From workers, with the grant, with one half of it, with an earlier grant.
pub(crate) async fn every_start_state_replies_to_begin_as_the_kernel_does(context: &LawContext) {
    cells(context, "begin").await;
}

/// The same workers.
pub(crate) async fn every_start_state_replies_to_heartbeat_as_the_kernel_does(context: &LawContext) {
    cells(context, "heartbeat").await;
}

/// The same workers, with the same result and with others.
pub(crate) async fn every_start_state_replies_to_complete_as_the_kernel_does(context: &LawContext) {
    cells(context, "complete").await;
}

/// Any call, new or known.
pub(crate) async fn every_start_state_replies_to_cancel_as_the_kernel_does(context: &LawContext) {
    cells(context, "cancel").await;
}

/// The same workers, vouching or not.
pub(crate) async fn every_start_state_replies_to_release_as_the_kernel_does(context: &LawContext) {
    cells(context, "release").await;
}

/// The same workers, for the same cause and another.
pub(crate) async fn every_start_state_replies_to_abandon_as_the_kernel_does(context: &LawContext) {
    cells(context, "abandon").await;
}

/// Operators, of any token, with any flags, newly or as they decided before.
pub(crate) async fn every_start_state_replies_to_reconcile_as_the_kernel_does(context: &LawContext) {
    cells(context, "reconcile").await;
}

/// Operators, under any token, with any result, newly or as they decided before.
pub(crate) async fn every_start_state_replies_to_force_complete_as_the_kernel_does(context: &LawContext) {
    cells(context, "force_complete").await;
}

/// Operators, under any token, waiting or not, newly or as they decided before.
pub(crate) async fn every_start_state_replies_to_reset_to_claimed_as_the_kernel_does(context: &LawContext) {
    cells(context, "reset_to_claimed").await;
}

/// Operators, of any token, newly or as they decided before.
pub(crate) async fn every_start_state_replies_to_evict_as_the_kernel_does(context: &LawContext) {
    cells(context, "evict").await;
}

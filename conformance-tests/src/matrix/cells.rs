//! One law for each operation: all of its cells.

#[cfg(test)]
use super::Asks;
use super::{asks, check, decisions};
use crate::lab::Lab;

macro_rules! operations {
    ($($name:ident, $operation:literal, $asks:path;)*) => {
        /// Each operation and the ways to ask it.
        #[cfg(test)]
        pub(super) const OPERATIONS: &[(&str, Asks)] = &[$(($operation, $asks),)*];

        $(
            /// Says with `--nocapture` how many cells there were.
            #[expect(clippy::print_stdout, reason = "test output, shown on demand")]
            pub(crate) async fn $name(lab: &Lab) {
                let tally = check(lab, $operation, $asks).await;
                println!("matrix: {} cells for {}", tally.cells, $operation);
            }
        )*
    };
}

operations! {
    every_standing_answers_claim_as_the_kernel_does, "claim", asks::claims;
    every_standing_answers_begin_as_the_kernel_does, "begin", asks::begins;
    every_standing_answers_heartbeat_as_the_kernel_does, "heartbeat", asks::heartbeats;
    every_standing_answers_complete_as_the_kernel_does, "complete", asks::completions;
    every_standing_answers_cancel_as_the_kernel_does, "cancel", asks::cancels;
    every_standing_answers_release_as_the_kernel_does, "release", asks::releases;
    every_standing_answers_abandon_as_the_kernel_does, "abandon", asks::abandonments;
    every_standing_answers_reconcile_as_the_kernel_does, "reconcile", decisions::reconciliations;
    every_standing_answers_force_complete_as_the_kernel_does, "force_complete", decisions::force_completions;
    every_standing_answers_reset_to_claimed_as_the_kernel_does, "reset_to_claimed", decisions::resets;
    every_standing_answers_evict_as_the_kernel_does, "evict", decisions::evictions;
}

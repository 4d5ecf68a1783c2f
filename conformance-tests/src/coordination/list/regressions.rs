//! The regressions: one for each failure that was found earlier.

/// The layer `regressions`.
#[macro_export]
#[doc(hidden)]
macro_rules! __list_regressions {
    ($then:path, $with:tt, $($before:tt)*) => {
        $then! { $with $($before)*
            regressions {
                counterexamples {
                    calls_that_share_a_claim_id_share_one_grant,
                    a_release_for_a_dropped_caller_does_not_free_a_running_key,
                    a_late_reconcile_does_not_take_a_newer_run,
                    a_fingerprint_does_not_block_a_lapsed_claim,
                    an_ambiguous_begin_is_repeated_or_cancelled,
                    a_read_does_not_replace_the_cancel_of_a_lost_claim,
                    a_late_duplicate_of_a_claim_is_refused,
                    a_late_cancel_does_not_free_the_next_run,
                    a_drop_guard_does_not_release_an_execution,
                    an_execution_is_not_taken_over_because_time_passed,
                    a_heartbeat_by_key_alone_extends_no_lease,
                    a_decision_without_its_token_is_refused,
                    a_token_is_not_drawn_before_the_lock,
                    a_purge_does_not_reset_the_token_counter,
                    a_token_without_its_claim_id_is_not_a_grant,
                    a_late_begin_is_refused,
                    an_ambiguous_complete_is_sent_again_and_not_run_again,
                }
                earlier_defects {
                    a_lease_does_not_outlive_its_hard_deadline,
                    a_run_does_not_complete_twice,
                    a_claim_does_not_complete,
                    a_release_does_not_erase_a_result,
                    a_namespace_and_its_key_are_not_joined,
                    a_heartbeat_does_not_revive_the_lease_of_a_dead_successor,
                    in_progress_is_not_reported_as_completed,
                    a_limited_history_does_not_return_the_oldest_events,
                }
            }
        }
    };
}

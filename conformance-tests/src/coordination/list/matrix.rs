//! The matrix: every operation on a record in every state, also lost, late, dropped and interrupted.

/// The layer `matrix`.
#[macro_export]
#[doc(hidden)]
macro_rules! __list_matrix {
    ($then:path, $with:tt, $($before:tt)*) => {
        $crate::__list_regressions! { $then, $with, $($before)*
            matrix {
                cells {
                    every_start_state_replies_to_claim_as_the_kernel_does,
                    every_start_state_replies_to_begin_as_the_kernel_does,
                    every_start_state_replies_to_heartbeat_as_the_kernel_does,
                    every_start_state_replies_to_complete_as_the_kernel_does,
                    every_start_state_replies_to_cancel_as_the_kernel_does,
                    every_start_state_replies_to_release_as_the_kernel_does,
                    every_start_state_replies_to_abandon_as_the_kernel_does,
                    every_start_state_replies_to_reconcile_as_the_kernel_does,
                    every_start_state_replies_to_force_complete_as_the_kernel_does,
                    every_start_state_replies_to_reset_to_claimed_as_the_kernel_does,
                    every_start_state_replies_to_evict_as_the_kernel_does,
                }
                lost {
                    a_claim_takes_effect_once_although_its_reply_was_lost,
                    a_begin_takes_effect_once_although_its_reply_was_lost,
                    a_heartbeat_takes_effect_once_although_its_reply_was_lost,
                    a_completion_takes_effect_once_although_its_reply_was_lost,
                    a_cancel_takes_effect_once_although_its_reply_was_lost,
                    a_release_takes_effect_once_although_its_reply_was_lost,
                    an_abandonment_takes_effect_once_although_its_reply_was_lost,
                    a_reconciliation_takes_effect_once_although_its_reply_was_lost,
                    a_forced_result_takes_effect_once_although_its_reply_was_lost,
                    a_reset_takes_effect_once_although_its_reply_was_lost,
                    an_eviction_takes_effect_once_although_its_reply_was_lost,
                    a_purge_takes_effect_once_although_its_reply_was_lost,
                }
                late {
                    a_late_copy_of_a_claim_changes_nothing,
                    a_late_copy_of_a_begin_changes_nothing,
                    a_late_copy_of_a_heartbeat_changes_nothing,
                    a_late_copy_of_a_completion_changes_nothing,
                    a_late_copy_of_a_cancel_changes_nothing,
                    a_late_copy_of_a_release_changes_nothing,
                    a_late_copy_of_an_abandonment_changes_nothing,
                    a_late_copy_of_a_reconciliation_changes_nothing,
                    a_late_copy_of_a_forced_result_changes_nothing,
                    a_late_copy_of_a_reset_changes_nothing,
                    a_late_copy_of_an_eviction_changes_nothing,
                    a_late_copy_of_a_purge_changes_nothing,
                }
                dropped {
                    a_dropped_operation_takes_effect_once_or_not_at_all,
                    a_dropped_request_that_is_refused_changes_nothing,
                    a_dropped_purge_deletes_each_record_once_or_not_at_all,
                    a_dropped_batch_delays_no_heartbeat,
                    a_dropped_call_of_once_runs_to_its_end_or_not_at_all,
                    a_dropped_preparation_gives_its_claim_back,
                    a_dropped_request_for_a_lease_leaves_the_lease_free,
                }
                overlaps {
                    an_interrupted_claim_loses_no_other_request,
                    an_interrupted_begin_loses_no_other_request,
                    an_interrupted_heartbeat_loses_no_other_request,
                    an_interrupted_completion_loses_no_other_request,
                    an_interrupted_cancel_loses_no_other_request,
                    an_interrupted_release_loses_no_other_request,
                    an_interrupted_abandonment_loses_no_other_request,
                    an_interrupted_reconciliation_loses_no_other_request,
                    an_interrupted_forced_result_loses_no_other_request,
                    an_interrupted_reset_loses_no_other_request,
                    an_interrupted_eviction_loses_no_other_request,
                    an_interrupted_purge_loses_no_other_request,
                }
                reopened {
                    every_start_state_is_the_same_after_reopening,
                }
            }
        }
    };
}

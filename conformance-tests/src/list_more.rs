//! The list of laws, continued: groups that ask much of names, sizes, purges and late effects.

/// The list with these groups. Called by `__laws!` with its groups of laws and its other layers.
#[macro_export]
#[doc(hidden)]
macro_rules! __more_laws {
    ($then:path, $with:tt, { $($laws:tt)* } { $($layers:tt)* }) => {
        $then! { $with
            laws {
                $($laws)*
                batches {
                    a_batch_may_contain_every_namespace_and_kind,
                    a_batch_reports_each_lost_beat_at_its_position,
                    a_batch_replies_to_each_repeated_beat,
                    a_large_batch_is_applied_completely,
                }
                names {
                    the_case_of_letters_is_never_ignored,
                    other_spellings_are_other_keys,
                    long_keys_are_never_truncated,
                    long_namespaces_are_never_truncated,
                    keys_with_the_same_hash_are_different_records,
                    namespaces_with_the_same_hash_are_different,
                    keys_that_start_or_end_with_each_other_are_different_records,
                    a_name_is_never_used_as_a_pattern,
                    namespaces_that_start_or_end_with_each_other_are_different,
                    the_parts_of_an_address_are_never_joined,
                    no_key_addresses_a_record_of_the_other_kind,
                    ids_are_compared_to_the_last_of_128_bits,
                }
                pages {
                    a_long_list_is_read_page_by_page,
                    a_filter_skips_any_number_of_records,
                    a_page_can_start_after_any_key,
                    a_page_can_start_after_a_key_that_it_does_not_list,
                    a_limit_counts_only_the_namespace_and_kind_of_its_page,
                    a_page_applies_filter_start_and_limit_together,
                    a_page_shows_each_record_in_full,
                    a_record_is_on_the_page_of_its_state_only,
                    a_history_has_only_events_of_its_address,
                    a_page_is_never_read_before_the_last_reading_of_a_record,
                }
                results {
                    a_result_of_any_size_is_replayed,
                    the_largest_result_is_replayed_for_success_failure_and_force,
                    bytes_are_never_interpreted_as_text,
                    a_content_type_is_replayed_unchanged,
                    the_smallest_and_the_largest_code_are_replayed,
                    an_omitted_result_keeps_its_verdict_and_code,
                    every_part_of_a_result_is_compared,
                    a_fingerprint_is_compared_to_its_last_byte,
                    a_huge_result_is_recorded_whole_or_not_at_all,
                    a_request_for_executions_does_not_change_a_lease,
                }
                purges {
                    a_purge_decides_about_execution_and_lease_of_a_key_separately,
                    a_purge_does_not_delete_a_record_that_changed_meanwhile,
                    a_key_claimed_again_after_a_purge_keeps_its_new_history,
                    a_floor_does_not_depend_on_the_order_of_purges,
                    a_dropped_purge_leaves_no_deleted_token_above_the_floor,
                    a_purge_in_steps_deletes_each_key_once,
                    a_large_backlog_is_purged_completely,
                    records_that_stay_do_not_count_towards_the_limit,
                    a_result_is_purged_exactly_from_the_end_of_its_retention,
                    a_result_with_no_retention_is_purged_after_an_hour,
                    the_event_of_a_purge_is_not_deleted_by_another_namespace,
                    each_namespace_has_its_own_floor,
                    a_decision_is_stale_after_a_purge,
                }
                late_effects {
                    a_claim_sets_the_end_of_late_effects,
                    an_abandon_sets_the_end_of_late_effects,
                    a_repeated_abandon_changes_no_deadline,
                    a_heartbeat_of_an_abandoned_run_is_lost,
                    an_abandoned_run_is_not_released_or_cancelled,
                    an_abandoned_run_may_still_complete,
                    a_reset_is_possible_exactly_from_the_end_of_late_effects,
                    an_operator_can_decide_without_waiting_for_late_effects,
                    late_effects_beyond_the_limit_are_an_error,
                }
                decodable {
                    a_claim_records_the_content_types_its_callers_decode,
                    a_forced_result_must_be_decodable,
                    an_operator_can_force_an_undecodable_result,
                    a_completion_is_not_checked_against_the_content_types,
                }
                bounded_events {
                    the_newest_events_are_kept_with_their_base,
                    a_purged_key_has_only_the_events_of_its_new_life,
                }
            }
            $($layers)*
        }
    };
}

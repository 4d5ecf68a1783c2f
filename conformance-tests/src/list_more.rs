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
                    a_batch_reaches_every_namespace_and_kind,
                    a_batch_reports_each_loss_in_its_place,
                    a_batch_answers_each_repeat,
                    a_large_batch_is_carried_out_to_its_end,
                }
                names {
                    letters_are_never_folded,
                    spellings_are_never_unified,
                    long_keys_are_never_cut,
                    long_namespaces_are_never_cut,
                    keys_that_share_a_hash_are_apart,
                    namespaces_that_share_a_hash_are_apart,
                    names_that_continue_each_other_are_apart,
                    a_name_is_never_a_pattern,
                    namespaces_that_continue_each_other_are_apart,
                    the_parts_of_an_address_are_never_joined,
                    no_key_stands_for_another_kind,
                    ids_have_128_bits,
                }
                pages {
                    a_long_list_is_read_page_by_page,
                    a_filter_skips_as_far_as_it_must,
                    a_page_begins_after_any_place,
                    a_page_begins_after_what_it_does_not_show,
                    a_limit_counts_what_is_shown,
                    a_filter_and_a_place_go_together,
                    a_page_shows_each_record_in_full,
                    a_record_is_on_the_page_of_its_state,
                    a_history_keeps_to_its_address,
                    a_page_is_lifted_to_the_last_reading,
                }
                results {
                    a_result_of_any_size_is_replayed,
                    the_largest_result_is_replayed_in_every_way,
                    bytes_are_replayed_whatever_they_look_like,
                    a_content_type_is_replayed_as_it_is,
                    a_code_is_replayed_at_its_borders,
                    an_omitted_result_is_replayed_in_every_way,
                    every_part_of_a_result_counts,
                    a_fingerprint_is_compared_to_its_last_byte,
                    a_huge_result_is_recorded_whole_or_not_at_all,
                    what_a_lease_does_not_know_changes_nothing,
                }
                purges {
                    a_purge_judges_each_kind_of_a_key_for_itself,
                    a_purge_leaves_what_returned_meanwhile,
                    a_purged_key_that_returns_keeps_its_history,
                    a_floor_is_the_highest_token_in_any_order,
                    a_purge_that_is_dropped_leaves_no_token_behind,
                    a_purge_in_steps_takes_each_key_once,
                    a_large_backlog_is_purged_to_its_end,
                    what_stays_does_not_use_up_the_limit,
                    a_purge_waits_for_the_end_of_a_retention,
                    a_result_that_is_kept_for_no_time_rests_and_goes,
                    the_event_of_a_purge_is_taken_by_no_other,
                    each_namespace_has_a_floor_of_its_own,
                    a_decision_does_not_outlive_a_purge,
                }
                late_effects {
                    a_claim_sets_until_when_effects_may_land,
                    an_abandon_sets_until_when_effects_may_land,
                    a_repeated_abandon_moves_nothing,
                    an_abandoned_run_takes_no_heartbeat,
                    an_abandoned_run_is_not_given_back,
                    an_abandoned_run_may_still_complete,
                    a_reset_is_possible_from_the_instant_on,
                    an_operator_may_choose_not_to_wait,
                    effects_beyond_the_limit_are_refused,
                }
                decodable {
                    a_claim_records_what_its_callers_decode,
                    a_forced_result_must_be_decodable,
                    an_operator_may_insist_on_other_bytes,
                    a_worker_records_what_it_has,
                }
                bounded_events {
                    the_newest_events_are_kept_with_what_came_before,
                    events_belong_to_one_life,
                }
            }
            $($layers)*
        }
    };
}

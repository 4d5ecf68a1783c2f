//! The scripts with one guard less: for each that can be removed, checks that notice. How lists are written is in
//! [`sentinel_store_tests::mutants`]; the lists, one for each script and one for each part that scripts share, are
//! beside this file.
//!
//! A check that ends with `with a fixed clock` runs over a clock that only the check moves. A piece must be in each
//! script that it is meant for, exactly once. Helpers are meant for the scripts that use them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sentinel_conformance::Law;
use sentinel_core::EventLimit;
use sentinel_redis::{Durability, RedisStoreBuilder};
use sentinel_store_tests::mutants::{self, Mutant, Run, SIZES, law};

use crate::harness::{StoreHarness, runtime, server_time};
use crate::{causes, clock, dropped_records, events, late_effects, pages, quick, upkeep};

/// What can notice a mutant.
struct Check {
    what: What,
    fixed_clock: bool,
}

enum What {
    Law(&'static Law),
    Own(Run<StoreHarness>, String),
}

sentinel_store_tests::own_checks! { StoreHarness;
    clock {
        the_clock_is_read_once,
        tokens_increase_past_a_result_that_expired,
        a_completion_never_lowers_the_floor,
        a_purge_never_lowers_the_floor,
        a_clock_beyond_the_last_token_grants_nothing,
        a_heartbeat_after_a_clock_step_back_uses_the_last_time,
        a_record_is_due_at_its_instant,
        decisions_after_a_clock_step_back_draw_higher_tokens,
    }
    causes {
        a_name_leaves_the_index_of_causes,
    }
    dropped_records {
        a_dropped_record_is_detected,
        a_dropped_index_is_detected,
        an_expired_key_is_claimed_anew,
        a_failed_write_is_not_listed,
        a_denied_write_is_not_listed,
    }
    quick {
        a_quick_claim_writes_what_the_full_path_writes,
        quick_claims_of_one_call_write_what_the_full_path_writes,
        quick_completions_of_one_call_write_what_the_full_path_writes,
        claims_and_completions_go_together,
        a_quick_completion_writes_what_the_full_path_writes,
        a_completion_at_each_instant_writes_what_the_full_path_writes,
        a_completion_of_each_length_writes_what_the_full_path_writes,
        a_claim_anew_is_recorded_in_full,
    }
    events {
        few_events_need_no_list,
        the_newest_events_are_kept,
        long_texts_are_kept_in_the_list,
        ten_thousand_events_are_kept_within_the_limit,
        a_purged_list_is_gone,
    }
    late_effects {
        an_abandoned_run_ends_only_by_its_result,
        a_reset_waits_for_late_effects,
        a_decision_is_decodable,
    }
    pages {
        many_keys_are_purged_in_pages,
    }
    upkeep {
        only_a_kept_result_expires,
        a_result_expires_an_hour_after_its_retention,
        a_claim_past_retention_stays,
        each_state_is_in_its_index,
        the_undecided_index_is_a_tree,
        an_expired_key_leaves_its_indexes,
        the_event_left_by_a_purge_expires,
        a_stale_index_entry_is_checked_again,
        a_bucket_without_its_marker_refuses_every_operation,
        a_barrier_has_a_write_to_wait_for,
        a_corrupt_record_affects_no_other,
        changes_are_published_on_the_channel_of_the_key,
        a_page_holds_the_longest_texts,
        an_id_of_zeros_is_valid,
        a_completed_reset_is_purged,
        a_freed_reset_is_not_purged,
        a_new_run_has_no_doubt,
        a_decision_of_another_kind_is_another,
        a_repeated_reconcile_changes_nothing,
        a_needless_vouch_is_not_recorded,
        reads_return_the_time,
    }
}

impl mutants::Check for Check {
    type Harness = StoreHarness;

    fn named(text: &str) -> Self {
        let text = text.trim();
        let stripped = text.strip_suffix(" with a fixed clock");
        let fixed_clock = stripped.is_some();
        let text = stripped.unwrap_or(text);
        let (name, argument) = text.trim().split_once(' ').unwrap_or((text, ""));
        if let Some((_, run)) = OWN_CHECKS.iter().find(|(own, _)| *own == name) {
            return Self { what: What::Own(*run, argument.to_owned()), fixed_clock };
        }
        assert_eq!(argument, "", "a law has no argument: {text}");
        Self { what: What::Law(law(name)), fixed_clock }
    }

    fn open(&self, list: &'static str, mutant: Option<&Mutant>) -> StoreHarness {
        let fixed_at = self.fixed_clock.then(server_time);
        let seen = Arc::new(AtomicBool::new(false));
        let (cloned, edited_in_script) = (mutant.cloned(), seen.clone());
        let edit = Arc::new(move |script: &str, text: String| {
            let text = match &cloned {
                Some(mutant) if concerns(list, script, || mutant.is_in(&text, with_values)) => {
                    edited_in_script.store(true, Ordering::SeqCst);
                    mutant.apply(script, &text, with_values)
                }
                _ => text,
            };
            match fixed_at {
                Some(at) => with_fixed_clock(&text, at),
                None => text,
            }
        });
        // With a barrier, scripts answer everything: there are no reads beside them.
        let events = EventLimit::new(100).unwrap();
        let set = move |builder: RedisStoreBuilder| {
            builder.max_events(events).durability(Durability::Replicas(0)).edit_scripts(edit.clone())
        };
        let harness = runtime().block_on(StoreHarness::open(set));
        if let Some(mutant) = mutant {
            assert!(seen.load(Ordering::SeqCst), "no script of {list} has {mutant}");
        }
        harness
    }

    fn run(&self, harness: StoreHarness) {
        match &self.what {
            What::Law(law) => law.check(Arc::new(harness), SIZES),
            What::Own(run, argument) => runtime().block_on(run(&harness, argument)),
        }
    }

    fn is_nonsense(message: &str) -> bool {
        let errors = ["Error compiling script", "nonexistent global", ": attempt to "];
        errors.iter().any(|error| message.contains(error))
    }
}

/// A piece as a script has it: with the values of constants in place of their names.
fn with_values(piece: &str) -> String {
    let value = |word: &str| {
        let constants = include_str!("../../../lua/parts/constants.lua").lines();
        let mut named = constants.filter_map(|line| line.strip_prefix("local ")?.split_once(" = "));
        named.find(|(name, _)| *name == word).map(|(_, value)| value)
    };
    let words = piece.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(|word| {
        let name = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        value(name).map_or(word.to_owned(), |value| format!("{value}{}", &word[name.len()..]))
    });
    words.collect()
}

/// Checks the unbroken store.
pub(crate) fn check_unbroken(name: &str) {
    mutants::check_unbroken::<Check>(name);
}

/// A test of each check, with each of its arguments.
macro_rules! own_tests {
    ($($check:ident $(for $($how:literal)+)?;)*) => {$(
        #[test]
        fn $check() {
            $crate::mutants::own_tests!(@each $check $($($how)+)?);
        }
    )*};
    (@each $check:ident) => { $crate::mutants::check_unbroken(stringify!($check)) };
    (@each $check:ident $($how:literal)+) => {
        $($crate::mutants::check_unbroken(concat!(stringify!($check), " ", $how));)+
    };
}
pub(crate) use own_tests;

/// Whether a script has what a list changes: it is what is changed, or that is a part of it.
fn concerns(list: &str, script: &str, has: impl FnOnce() -> bool) -> bool {
    let turns = matches!(script, "heartbeat" | "heads");
    match list {
        "before" => true,
        "helpers" => has(),
        "loop" => turns,
        "after" => {
            !turns && !matches!(script, "read" | "page" | "by_cause" | "due" | "purge" | "history" | "trim")
        }
        // Parts of one.
        "claim" | "complete" => script == "run",
        name => name == script,
    }
}

/// A script with a fixed clock, but for the offset.
pub(crate) fn with_fixed_clock(text: &str, at: i64) -> String {
    let reading = "time[1] * 1000000 + time[2]";
    assert!(text.contains(reading), "{text}");
    text.replacen(reading, &at.to_string(), 1)
}

sentinel_store_tests::mutant_lists! { Check:
    abandon,
    after,
    before,
    begin,
    by_cause,
    cancel,
    claim,
    complete,
    due,
    evict,
    force_complete,
    heads,
    heartbeat,
    helpers,
    history,
    page,
    purge,
    read,
    reconcile,
    release,
    reset_to_claimed,
    run,
    trim,
}

/// `loop` is a word of the language.
#[test]
fn the_loop() {
    mutants::each_is_noticed::<Check>("loop", include_str!("loop.txt"));
}

/// Each script that is made for a store has a list, and so has each part of it.
#[test]
fn every_script_has_a_list() {
    let names = |folder: &str, end: &str| -> BTreeSet<String> {
        let files = std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| Some(name.strip_suffix(end)?.to_owned())).collect()
    };
    let mut scripts = names("lua/coordination", ".lua");
    scripts.extend(names("lua/parts", ".lua"));
    // These are values. The scripts in `lua/data_loss` are covered by `data_loss`, `truncated_aof` and `crash`.
    assert!(scripts.remove("constants"), "there are no constants");
    assert_eq!(scripts, names("tests/it/mutants", ".txt"));
}

/// The lists are useful only if each of these errors is reported.
mod list_errors {
    use sentinel_store_tests::mutants;

    use super::Check;

    fn each_is_noticed(list: &'static str, text: &str) {
        mutants::each_is_noticed::<Check>(list, text);
    }

    #[test]
    #[should_panic(
        expected = "1 survived:\n\"or r.state ~= CLAIMED then\" -> \"or r.state ~= CLAIMED then\", which"
    )]
    fn a_mutant_that_survives() {
        let list = "- or r.state ~= CLAIMED then\n+ or r.state ~= CLAIMED then\n= a_repeated_begin_gets_the_same_reply";
        each_is_noticed("begin", list);
    }

    #[test]
    #[should_panic(expected = "\"if not hungry(r) then\" is 0 times in begin")]
    fn a_piece_that_is_not_there() {
        each_is_noticed("begin", "- if not hungry(r) then\n= a_repeated_begin_gets_the_same_reply");
    }

    #[test]
    #[should_panic(expected = "is 2 times in begin")]
    fn a_piece_that_is_there_more_than_once() {
        each_is_noticed("begin", "- matches(r, grant)\n= a_repeated_begin_gets_the_same_reply");
    }

    #[test]
    #[should_panic(expected = "no script of helpers has \"return hungry(r)\"")]
    fn a_helper_that_is_nowhere() {
        each_is_noticed("helpers", "- return hungry(r)\n= a_repeated_begin_gets_the_same_reply");
    }

    #[test]
    #[should_panic(expected = "-> \"if hungry(r) or\" is nonsense")]
    fn a_mutant_that_is_no_script() {
        let list = "- if not matches(r, grant) or\n+ if hungry(r) or\n= a_repeated_begin_gets_the_same_reply";
        each_is_noticed("begin", list);
    }

    #[test]
    #[should_panic(expected = "there is no law hunger_is_over")]
    fn a_law_that_is_not_there() {
        each_is_noticed("begin", "- if not matches(r, grant) or\n+ if\n= hunger_is_over");
    }

    #[test]
    #[should_panic(expected = "nothing notices \"if not matches(r, grant) or\"")]
    fn a_mutant_without_a_law() {
        each_is_noticed("begin", "- if not matches(r, grant) or\n+ if\n");
    }

    #[test]
    #[should_panic(expected = "begin is empty")]
    fn a_list_of_nothing() {
        each_is_noticed("begin", "# nothing\n");
    }
}

//! The statements with one guard less: for each that can be removed, checks that notice. How lists are written is in
//! [`sentinel_store_tests::mutants`]; the lists, one for each statement, are beside this file.
//!
//! A piece is searched in its statement after the fragments are filled in. A law that ends with `in a batch` is checked
//! over `BatchedCalls`.

mod in_batch;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_conformance::{DynHarness, Law, Layered};
use sentinel_core::EventLimit;
use sentinel_store_tests::mutants::{self, Mutant, Run, SIZES, law};

use crate::harness::{Fixture, runtime};
use crate::{backlog, batch_isolation, effects, implied_events, locks, trimming, upkeep};
use in_batch::{Batched, BatchedCalls};

/// What can notice a mutant.
enum Check {
    Law(&'static Law),
    InBatch(&'static Law),
    Own(Run<Fixture>, String),
}

sentinel_store_tests::own_checks! { Fixture;
    backlog {
        old_events_are_deleted_in_every_block,
    }
    effects {
        a_reset_waits_for_late_effects,
        an_abandon_records_how_long_effects_may_land,
        an_abandoned_run_is_not_released_in_a_batch,
        a_decision_is_of_a_type_that_callers_decode,
    }
    locks {
        the_reading_follows_the_wait,
        the_record_is_checked_as_it_was_left,
        a_row_that_began_a_new_life_meanwhile_is_found,
        a_token_is_drawn_under_the_lock,
        a_token_is_drawn_above_the_rows,
        what_changed_meanwhile_is_not_taken_over,
        a_reading_is_never_before_the_last_one,
        an_insert_is_read_when_it_begins,
        a_grant_counts_at_its_address,
        a_decision_is_taken_once,
        an_insert_that_was_lost_reads_again,
        a_cancel_that_lost_its_insert_reads_again,
    }
    batch_isolation {
        a_locked_row_delays_no_other_heartbeat,
        a_locked_row_delays_no_other_completion,
        a_locked_row_is_not_completed_in_a_batch,
        a_lost_insert_delays_no_other_claim,
        completions_in_a_batch_share_one_statement,
        a_locked_row_delays_no_other_begin,
        a_locked_row_is_not_updated_in_a_batch,
        an_update_in_a_batch_is_read_when_it_begins,
        updates_in_a_batch_share_one_statement,
    }
    implied_events {
        a_first_claim_comes_before_later_events,
        a_later_run_has_stored_events,
        a_heartbeat_adds_no_event,
        a_first_run_completes_alone,
        a_first_result_has_its_date,
        a_result_is_read_at_its_address,
        a_replaced_result_is_not_replayed,
        a_completion_alone_changes_one_record,
        a_completion_alone_is_read_when_it_begins,
    }
    trimming {
        a_record_keeps_its_newest_events,
        a_purged_record_begins_to_count_anew,
    }
    upkeep {
        a_cancelled_call_is_kept_for_a_while,
        the_longest_retention_is_kept,
        a_completed_reset_is_purged,
        a_freed_reset_stays,
        a_freed_record_is_purged,
        a_forced_result_is_purged,
        a_purged_row_is_forgotten,
        a_locked_row_is_not_purged,
        a_purge_spares_what_it_leaves,
        a_lease_that_is_held_again_stays,
        a_reset_ends_with_a_vouched_release,
        what_was_purged_draws_above_the_floor,
        a_new_run_has_no_doubt,
        a_heartbeat_past_the_hard_deadline_is_refused,
        a_heartbeat_after_the_clock_was_set_back_keeps_its_lease,
        events_of_earlier_grants_are_deleted,
        a_purge_keeps_the_highest_token,
        a_purged_key_has_no_decision,
        the_next_life_begins_from_nothing,
        eight_calls_are_remembered,
        a_purged_key_is_not_listed_as_free,
        a_dry_run_counts_what_is_due,
    }
}

impl mutants::Check for Check {
    type Harness = Fixture;

    fn named(text: &str) -> Self {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        if let Some((_, run)) = OWN_CHECKS.iter().find(|(own, _)| *own == name) {
            return Self::Own(*run, argument.to_owned());
        }
        match argument {
            "" => Self::Law(law(name)),
            "in a batch" => Self::InBatch(law(name)),
            other => panic!("a law has no argument {other}"),
        }
    }

    /// In a schema of the statement.
    fn open(&self, statement: &'static str, mutant: Option<&Mutant>) -> Fixture {
        let mutant = mutant.cloned();
        let seen = Arc::new(Mutex::new(false));
        let schema = format!("mutants_{statement}");
        let few = ["trim", "trim_due", "dropped"].contains(&statement);
        let limit = if few { EventLimit::new(trimming::FEW).unwrap() } else { EventLimit::default() };
        let fixture = runtime().block_on(Fixture::open(&schema.clone(), |builder| {
            let seen = seen.clone();
            let builder = builder.lock_timeout(Duration::from_secs(1)).max_events(limit);
            builder.event_retention(upkeep::EVENTS_KEPT).edit_statements(Arc::new(move |name, text| {
                match &mutant {
                    // Claims read before they lock: what a lock is there for shows only where the read was of no use.
                    _ if name == "read" && matches!(statement, "claim" | "update") => blind(&text),
                    // What a first run's completion gets from `complete_first_run` it gets from `complete` where that
                    // changes nothing.
                    _ if name == "complete_first_run" && statement == "complete" => {
                        text.replace("AND implied = 1", "AND false")
                    }
                    _ if name != statement => text,
                    mutant => {
                        *seen.lock().unwrap() = true;
                        let change =
                            |mutant: &Mutant| mutant.apply(name, &text, |piece| filled(piece, &schema));
                        mutant.as_ref().map_or_else(|| text.clone(), change)
                    }
                }
            }))
        }));
        // These are put together each time that they are sent: the edit sees them then.
        let is_made_when_sent = matches!(statement, "list" | "by_cause");
        assert!(is_made_when_sent || *seen.lock().unwrap(), "no statement is called {statement}");
        fixture
    }

    fn run(&self, fixture: Fixture) {
        match self {
            Self::Law(law) => law.check(Arc::new(fixture), SIZES),
            Self::InBatch(law) => {
                let store = Arc::new(Layered(BatchedCalls::of(fixture.store())));
                law.check(Arc::new(Batched { fixture, store }), SIZES);
            }
            Self::Own(run, argument) => runtime().block_on(run(&fixture, argument)),
        }
    }

    fn is_nonsense(message: &str) -> bool {
        ["syntax error at", "does not exist"].iter().any(|error| message.contains(error))
    }
}

/// A piece as a statement has it: with the names of tables and types in its schema.
fn filled(piece: &str, schema: &str) -> String {
    let names = ["kind", "state", "verdict", "change", "records", "events", "floors"];
    let fill = |text: String, name| text.replace(&format!("{{{name}}}"), &format!("\"{schema}\".\"{name}\""));
    names.into_iter().fold(piece.to_owned(), fill)
}

/// A read that reports every row as empty to a claim; other reads see what is there.
pub(crate) fn blind(read: &str) -> String {
    let (seen, unseen) = (" rev, token,", " CASE WHEN $5::bool THEN 0 ELSE rev END AS rev, token,");
    assert!(read.contains(seen), "{read}");
    read.replacen(seen, unseen, 1)
}

sentinel_store_tests::mutant_lists! { Check:
    abandon,
    begin,
    by_cause,
    cancel,
    cancel_absent,
    claim,
    claim_absent,
    complete,
    dropped,
    evict,
    insert_complete,
    force_complete,
    complete_first_run,
    forget_events,
    heartbeat,
    history,
    list,
    read,
    purge,
    purge_count,
    reconcile,
    release,
    replay,
    reset_to_claimed,
    trim,
    trim_due,
    update,
}

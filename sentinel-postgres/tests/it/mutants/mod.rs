//! The statements with one guard less: for each that can be taken away, laws that notice.
//!
//! The lists stand beside this file, one for each statement. In them
//!
//! ```text
//! # words about the mutants that follow
//! - a piece of the statement, once its fragments are filled in; spaces and line ends are alike
//! + what is put there instead; nothing without this line
//! = laws, of which one has to fail: of the suite, over `BatchedCalls` with `.. in a batch`, or PostgreSQL's own
//! ```
//!
//! A piece that does not stand in its statement exactly once is an error, and so is a law that the unbroken store
//! breaks.

mod in_batch;
mod list;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sentinel_conformance::{Bench, LAWS, Law, Layered, Sizes};
use sentinel_core::EventLimit;

use crate::harness::{Fixture, runtime};
use crate::{backlog, batch_isolation, effects, implied_events, locks, trimming, upkeep};
use in_batch::{Batched, BatchedCalls};
use list::Mutant;

/// What can notice a mutant.
enum Check {
    Law(&'static Law),
    InBatch(&'static Law),
    Own(Run, String),
}

type Run = for<'a> fn(&'a Fixture, &'a str) -> BoxFuture<'a, ()>;

macro_rules! own {
    ($($module:ident { $($name:ident,)* })*) => {
        /// The checks that are PostgreSQL's own.
        const OWN: &[(&str, Run)] =
            &[$($((stringify!($name), |fixture, argument| Box::pin($module::$name(fixture, argument))),)*)*];
    };
}

own! {
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

impl Check {
    fn named(text: &str) -> Self {
        let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
        if let Some((_, run)) = OWN.iter().find(|(own, _)| *own == name) {
            return Self::Own(*run, argument.to_owned());
        }
        let law =
            LAWS.iter().find(|law| law.name == name).unwrap_or_else(|| panic!("there is no law {name}"));
        match argument {
            "" => Self::Law(law),
            "in a batch" => Self::InBatch(law),
            other => panic!("a law holds {other}?"),
        }
    }

    fn run(&self, fixture: Fixture) {
        let sizes = Sizes { sequences: 1, histories: 1, law_passes: 1, ..Sizes::DEFAULT };
        match self {
            Self::Law(law) => law.check(Arc::new(fixture), sizes),
            Self::InBatch(law) => {
                let store = Arc::new(Layered(BatchedCalls::of(fixture.store())));
                law.check(Arc::new(Batched { fixture, store }), sizes);
            }
            Self::Own(run, argument) => runtime().block_on(run(&fixture, argument)),
        }
    }
}

/// Opens a store in the statement's schema, with a mutant or without.
fn open(statement: &str, mutant: Option<&Mutant>) -> Fixture {
    let mutant = mutant.cloned();
    let seen = Arc::new(Mutex::new(false));
    let fixture = runtime().block_on(Fixture::open(&format!("mutants_{statement}"), |builder| {
        let (seen, statement) = (seen.clone(), statement.to_owned());
        let few = ["trim", "trim_due", "dropped"].contains(&&*statement);
        let limit = if few { EventLimit::new(trimming::FEW).unwrap() } else { EventLimit::default() };
        let builder = builder.lock_timeout(Duration::from_secs(1)).max_events(limit);
        builder.event_retention(upkeep::EVENTS_KEPT).edit_statements(Arc::new(
            move |name, text| match &mutant {
                // Claims read before they lock: what a lock is there for shows only where the read was of no use.
                _ if name == "read" && matches!(statement.as_str(), "claim" | "update") => blind(&text),
                // What a first run's completion gets from `complete_first_run` it gets from `complete` where that
                // changes nothing.
                _ if name == "complete_first_run" && statement == "complete" => {
                    text.replace("AND implied = 1", "AND false")
                }
                _ if name != statement => text,
                Some(mutant) => {
                    *seen.lock().unwrap() = true;
                    mutant.apply(&text, &format!("mutants_{statement}"))
                }
                None => {
                    *seen.lock().unwrap() = true;
                    text
                }
            },
        ))
    }));
    assert!(mutant_was_seen(statement, &seen), "no statement is called {statement}");
    fixture
}

/// A read that reports every row as empty to a claim; other reads see what is there.
pub(crate) fn blind(read: &str) -> String {
    let (seen, unseen) = (" rev, token,", " CASE WHEN $5::bool THEN 0 ELSE rev END AS rev, token,");
    assert!(read.contains(seen), "{read}");
    read.replacen(seen, unseen, 1)
}

/// A list is put together each time that it is asked for: the edit sees it then.
fn mutant_was_seen(statement: &str, seen: &Mutex<bool>) -> bool {
    statement == "list" || *seen.lock().unwrap()
}

thread_local! {
    static QUIET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs a check; a panic of this thread is its answer, and is not printed.
fn quietly(check: impl FnOnce()) -> std::thread::Result<()> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(check));
    QUIET.set(false);
    result
}

/// Checks a list: the unbroken store passes all that is named in it, and no mutant passes all that is named for it.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
fn each_is_noticed(statement: &str, text: &str) {
    let mutants = list::read(text);
    assert!(!mutants.is_empty());
    let named: BTreeSet<&str> = mutants.iter().flat_map(|mutant| &mutant.by).map(String::as_str).collect();
    for name in named {
        Check::named(name).run(open(statement, None));
    }
    let mut survivors = Vec::new();
    for mutant in &mutants {
        let began = tokio::time::Instant::now();
        let fails = |name: &&String| {
            let fixture = open(statement, Some(mutant));
            quietly(|| Check::named(name).run(fixture)).is_err()
        };
        let killer = mutant.by.iter().find(fails);
        println!("{statement}: {:?} {mutant}: noticed by {killer:?}", began.elapsed());
        if killer.is_none() {
            survivors.push(format!("{mutant}, which {:?} should notice", mutant.by));
        }
    }
    assert!(survivors.is_empty(), "{} survived:\n{}", survivors.len(), survivors.join("\n"));
}

macro_rules! lists {
    ($($statement:ident,)*) => {$(
        #[test]
        fn $statement() {
            each_is_noticed(stringify!($statement), include_str!(concat!(stringify!($statement), ".txt")));
        }
    )*};
}

lists! {
    abandon,
    begin,
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

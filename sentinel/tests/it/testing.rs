//! `sentinel::testing`: correct functions pass, and each kind of mistake is reported.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use sentinel::Error;
use sentinel::prelude::*;
use sentinel::reconcile::{ProbeResult, ReconcileOutcome};
use sentinel::record::{Kind, State};
use sentinel::testing::{self, Attempt, Checked, NoAnswer, Report, Reported, Worlds};

use crate::SECOND;

const KEY: &str = "invoice-42";

type PayResult = Result<Outcome<(), NoAnswer>, Error>;

/// A correct function.
async fn pay(attempt: Attempt) -> PayResult {
    let effects = attempt.effects();
    let once = attempt.sentinel().once(KEY).ttl(SECOND * 3).hard_ttl(SECOND * 30);
    once.run(|_| async move { effects.happen(KEY).await }).await
}

/// The report of the check about a function with a mistake.
#[track_caller]
fn found<A: Report>(worlds: Worlds, function: impl AsyncFn(Attempt) -> A + Sync) -> String {
    let checked = catch_unwind(AssertUnwindSafe(|| worlds.check(function)));
    let report = checked.expect_err("the check passed a function with a mistake");
    *report.downcast::<String>().expect("the report is a text")
}

#[track_caller]
fn is_found<A: Report>(function: impl AsyncFn(Attempt) -> A + Sync, broken: &str) -> String {
    let report = found(Worlds::default(), function);
    assert!(report.starts_with(broken), "{report}");
    report
}

#[test]
fn a_function_that_uses_once_passes() {
    let Checked { worlds, points } = testing::check(pay);
    // One claim, one effect, one complete; then two calls that are answered at once.
    assert_eq!(points, 5);
    assert!(worlds > 100, "{worlds} worlds");
    println!("{worlds} worlds");
}

#[tokio::test]
async fn the_check_may_be_called_anywhere() {
    testing::check(pay);
}

#[test]
fn a_function_with_a_preparation_survives() {
    testing::check(async |attempt: Attempt| {
        let (effects, place) = (attempt.effects(), attempt.clone());
        let once = attempt.sentinel().once::<NoAnswer>(KEY);
        let prepared = once.prepare(async move |_| {
            place.place("prepared").await;
            Ok(7)
        });
        prepared.run(|_, seven: i32| async move { effects.happen(KEY).await.map(|()| seven) }).await
    });
}

#[test]
fn a_function_that_takes_longer_than_its_ttl_survives() {
    testing::check(async |attempt: Attempt| {
        let effects = attempt.effects();
        let once = attempt.sentinel().once(KEY).ttl(SECOND).hard_ttl(SECOND * 30);
        let slow = async move |_| {
            tokio::time::sleep(SECOND * 2).await;
            effects.happen(KEY).await
        };
        once.run(slow).await
    });
}

#[test]
fn an_effect_with_an_idempotency_key_may_be_requested_again() {
    testing::check(async |attempt: Attempt| {
        let effects = attempt.effects();
        let once = attempt.sentinel().once(KEY);
        let charge = async move |run: Run| {
            // If it is requested twice under one incarnation, it charges once.
            let happened = effects.happen_under(KEY, run.idempotency_key()).await;
            match happened {
                Ok(()) => Ok(()),
                Err(NoAnswer) => effects.happen_under(KEY, run.idempotency_key()).await,
            }
        };
        once.run(charge).await
    });
}

#[test]
fn an_effect_outside_of_once_is_found() {
    let report = is_found(
        async |attempt: Attempt| {
            attempt.effects().happen(KEY).await.map_err(|error| error.to_string())?;
            let once = attempt.sentinel().once::<NoAnswer>(KEY);
            once.run(|_| async { Ok(()) }).await.map_err(|error| error.to_string())
        },
        "the effect on \"invoice-42\" happened",
    );
    assert!(report.contains("This world had no faults."), "{report}");
}

#[test]
fn a_vouch_without_proof_is_found() {
    let wrong = async |attempt: Attempt| {
        let effects = attempt.effects();
        let once = attempt.sentinel().once(KEY).nothing_happened_if(|NoAnswer| true);
        once.run(|_| async move { effects.happen(KEY).await }).await
    };
    let report = is_found(wrong, "the effect on \"invoice-42\" happened 2 times");
    let name = "1:effect(invoice-42)#1=lose-reply";
    for line in ["process 1: its reply is lost", "released: free", "claimed: executing, by process 2", name] {
        assert!(report.contains(line), "{line} is not in {report}");
    }
    println!("{report}");
    // Only this world.
    let alone = found(Worlds::default().only(name), wrong);
    assert!(alone.contains("This was world 2."), "{alone}");
    Worlds::default().only("1:effect(invoice-42)#1=lose-request").check(wrong);
    let unknown = found(Worlds::default().only("1:effect(another)#1=lose-reply"), wrong);
    assert!(unknown.starts_with("no world has the name"), "{unknown}");
}

#[test]
fn a_retry_under_another_key_is_found() {
    let wrong = async |attempt: Attempt| {
        for n in 0.. {
            let effects = attempt.effects();
            let once = attempt.sentinel().once(format!("{KEY}-{n}"));
            let outcome = once.run(|_| async move { effects.happen(KEY).await }).await?;
            if !matches!(outcome, Outcome::RanUncertain(_) | Outcome::Uncertain(_)) {
                return Ok::<_, Error>(outcome);
            }
        }
        unreachable!("there is a next key")
    };
    is_found(wrong, "process 3 reported that it is done, while execution \"invoice-42-0\"");
    let report = found(Worlds::default().only("1:effect(invoice-42)#1=lose-reply"), wrong);
    assert!(report.starts_with("the effect on \"invoice-42\" happened 2 times"), "{report}");
}

#[test]
fn in_progress_reported_as_done_is_found() {
    is_found(
        async |attempt: Attempt| match pay(attempt).await {
            Ok(Outcome::InProgress(_)) => Reported::Done,
            outcome => outcome.reported(),
        },
        "process 2 reported that it is done, but the effect on \"invoice-42\" had not happened",
    );
}

#[test]
fn an_unknown_outcome_reported_as_done_is_found() {
    is_found(
        async |attempt: Attempt| match pay(attempt).await {
            Ok(Outcome::RanUncertain(_)) => Reported::Done,
            outcome => outcome.reported(),
        },
        "process 1 reported that it is done, while execution \"invoice-42\" in namespace \"default\" is \
            uncertain: doubt was hidden",
    );
}

#[test]
fn an_effect_recorded_as_a_final_failure_is_found() {
    is_found(
        async |attempt: Attempt| {
            let effects = attempt.effects();
            let once = attempt.sentinel().once(KEY).failed_for_good_if(|NoAnswer| true);
            once.run(|_| async move { effects.happen(KEY).await }).await
        },
        "an effect happened, no key is uncertain, and process 4 did not report that it is done: doubt \
            was lost",
    );
}

#[test]
fn work_that_is_never_done_again_is_found() {
    /// The state that each process of a world leaves for the next.
    #[derive(Default)]
    struct Tried(Mutex<HashMap<String, u32>>);

    is_found(
        async |attempt: Attempt| {
            // The function remembers outside of the store that it has tried.
            let tried = attempt.world(Tried::default);
            let times = {
                let mut tried = tried.0.lock().unwrap_or_else(PoisonError::into_inner);
                let times = tried.entry(KEY.to_owned()).or_default();
                *times += 1;
                *times
            };
            match times {
                1 => pay(attempt).await.reported(),
                _ if attempt.effects().count(KEY) > 0 => pay(attempt).await.reported(),
                _ => Reported::NotDone("tried before".to_owned()),
            }
        },
        "process 4 had no faults, and did not report that it is done: the work was lost",
    );
}

#[test]
fn a_function_that_hangs_is_found() {
    is_found(
        async |attempt: Attempt| match pay(attempt).await {
            Ok(Outcome::RanUncertain(_)) => std::future::pending().await,
            outcome => outcome.reported(),
        },
        "process 1 never ended",
    );
}

#[test]
fn a_process_that_panics_breaks_no_promise() {
    testing::check(async |attempt: Attempt| match pay(attempt).await.unwrap() {
        done @ (Outcome::Completed(()) | Outcome::Replayed(())) => done.reported(),
        outcome => panic!("{}", outcome.name()),
    });
}

#[test]
fn a_check_that_would_find_nothing_is_refused() {
    is_found(
        async |attempt: Attempt| attempt.sentinel().once::<NoAnswer>(KEY).run(|_| async { Ok(()) }).await,
        "in the world without faults, no effect happened",
    );
    is_found(
        async |_: Attempt| Reported::NotDone("busy".to_owned()),
        "in the world without faults, the first process did not report that it is done",
    );
}

/// A probe that queries the provider.
async fn reconcile(attempt: Attempt) -> Result<u64, Error> {
    let sentinel = attempt.sentinel();
    let effects = attempt.effects();
    let probe = move |_| {
        let happened = effects.count(KEY) > 0;
        async move {
            match happened {
                true => ProbeResult::happened(&(), "there is a charge").unwrap(),
                false => ProbeResult::did_not_happen("there is no charge"),
            }
        }
    };
    sentinel.reconcile_with("probe", probe).pass().await
}

#[test]
fn a_function_with_a_reconciler_is_done_in_the_end_after_any_crash() {
    let Checked { worlds, .. } = Worlds::default().reconciled_by(reconcile).check(pay);
    println!("{worlds} worlds");
}

/// As a reconciler that does not wait until late effects have landed: it decides by what it finds now.
async fn hasty(attempt: Attempt) {
    let sentinel = attempt.sentinel();
    let taken = sentinel.reconciler(KEY).reconcile().await;
    let held = match taken {
        Ok(ReconcileOutcome::Taken(held)) => *held,
        _ => {
            let record = sentinel.inspect(Kind::Execution, KEY).await.unwrap().record;
            let Some(record) = record.filter(|record| record.state == State::Reconciling) else { return };
            sentinel.reconciler(KEY).resume(record.token)
        }
    };
    let _ = match attempt.effects().count(KEY) {
        0 => held.accept_overlap().reset_to_claimed().await,
        _ => held.force_complete(&()).await,
    };
}

#[test]
fn a_reconciler_that_does_not_wait_for_late_effects_is_found() {
    let report = found(Worlds::default().reconciled_by(hasty), pay);
    assert!(report.starts_with("the effect on \"invoice-42\" happened 2 times"), "{report}");
    assert!(report.contains("lands late"), "{report}");
}

#[test]
fn a_function_whose_effects_land_after_its_late_effects_is_found() {
    let report = found(Worlds::default().reconciled_by(reconcile), async |attempt: Attempt| {
        let effects = attempt.effects();
        let once = attempt.sentinel().once(KEY).ttl(SECOND * 3).hard_ttl(SECOND * 30).late_effects(SECOND);
        once.run(|_| async move { effects.happen(KEY).await }).await
    });
    assert!(report.contains("lands late"), "{report}");
}

#[test]
fn a_function_that_acts_after_its_hard_deadline_is_found() {
    let slow = async |attempt: Attempt| {
        let effects = attempt.effects();
        let once = attempt.sentinel().once(KEY).ttl(SECOND * 3).hard_ttl(SECOND * 30);
        let ignores = async move |_| {
            tokio::time::sleep(SECOND * 31).await;
            effects.happen(KEY).await
        };
        once.run(ignores).await
    };
    is_found(slow, "process 1 requested the effect on \"invoice-42\" after the hard deadline of its run");
}

#[test]
fn equivalent_heartbeats_add_no_worlds() {
    let works = |seconds| {
        async move |attempt: Attempt| {
            let effects = attempt.effects();
            let once = attempt.sentinel().once(KEY).ttl(SECOND * 3).hard_ttl(SECOND * 3600);
            once.run(async move |_| {
                tokio::time::sleep(SECOND * seconds).await;
                effects.happen(KEY).await
            })
            .await
        }
    };
    let Checked { worlds: short, .. } = Worlds::default().check(works(12));
    let Checked { worlds: long, .. } = Worlds::default().check(works(120));
    assert!(long <= short * 2, "{short} worlds for 12 s of work, {long} for 120 s");
}

#[test]
fn a_check_of_too_many_worlds_is_reported() {
    let report = found(Worlds::default().limit(20), pay);
    assert!(report.starts_with("20 worlds are checked"), "{report}");
}

#[test]
fn a_reconciler_that_does_not_probe_is_found() {
    let guess = async |attempt: Attempt| {
        let probe = |_| async { ProbeResult::did_not_happen("it never does") };
        attempt.sentinel().reconcile_with("probe", probe).pass().await
    };
    let report = found(Worlds::default().reconciled_by(guess), pay);
    assert!(report.starts_with("the effect on \"invoice-42\" happened 2 times"), "{report}");
    // A user can accept that explicitly.
    Worlds::default().at_most(2).faults(1).reconciled_by(guess).check(pay);
}

#[test]
fn a_reconciler_that_leaves_a_doubt_is_found() {
    let report = found(Worlds::default().reconciled_by(async |_| {}), pay);
    assert!(report.contains("is still uncertain after it was reconciled"), "{report}");
}

#[test]
fn after_a_crash_nothing_of_the_process_continues() {
    let seen = Mutex::new(Vec::new());
    let name = "1:place(the effect is on its way)#1=crash-before";
    Worlds::default().only(name).check(async |attempt: Attempt| {
        let (effects, there) = (attempt.effects(), attempt.clone());
        let once = attempt.sentinel().once(KEY).ttl(SECOND).hard_ttl(SECOND * 3600);
        let slow = async move |_| {
            let on_its_way = tokio::spawn(async move {
                tokio::time::sleep(SECOND * 10).await;
                effects.happen(KEY).await
            });
            there.place("the effect is on its way").await;
            on_its_way.await.unwrap_or(Err(NoAnswer))
        };
        let before = attempt.effects().count(KEY);
        let outcome = once.run(slow).await.unwrap();
        seen.lock().unwrap().push((attempt.number(), before, outcome.name()));
        outcome
    });
    let seen = seen.into_inner().unwrap();
    // It crashed. Neither the second nor the third process saw its effect, an abandon or a heartbeat.
    let after = &seen[seen.len() - 3..];
    assert_eq!(after, [(2, 0, "in_progress"), (3, 0, "uncertain"), (4, 0, "completed")], "{seen:?}");
}

#[test]
fn nothing_of_an_ended_process_reaches_the_store() {
    struct First(Sentinel);

    testing::check(async |attempt: Attempt| {
        let first = attempt.world(|| First(attempt.sentinel()));
        if attempt.number() > 1 {
            let read = tokio::time::timeout(SECOND, first.0.inspect(Kind::Execution, KEY)).await;
            assert!(read.is_err(), "it was answered");
        }
        pay(attempt).await
    });
}

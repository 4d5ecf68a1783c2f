//! Every flawed store is rejected by a named law; the store without a flaw passes all of them.

mod each_law;

use sentinel_conformance::negative::{Mutation, failed_laws, mutations};
use sentinel_conformance::{Law, Sizes};

#[test]
fn the_whole_store_passes() {
    for layer in ["laws", "matrix", "regressions"] {
        let failed = failed_laws(None, |law| law.layer == layer, 10);
        // Once more, so that the law prints what is wrong.
        failed.iter().for_each(|law| law.check(sentinel_conformance::negative::flawed(None), Sizes::DEFAULT));
        assert!(failed.is_empty(), "the store without a flaw fails {failed:?}");
    }
}

/// The laws, and what the matrix does beside its cells to a store that is interrupted.
fn named(law: &Law) -> bool {
    law.layer == "laws" || (law.layer, law.group) == ("matrix", "overlaps") || law.group == "dropped"
}

#[test]
fn every_flawed_store_fails_a_named_law() {
    let all = mutations();
    assert!(all.len() >= 25);
    // Several at a time. Controls of one kind are next to each other, and the laws of one group reject most of them:
    // the laws that rejected the one before run first.
    let half = all.len().div_ceil(2);
    let passed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.chunks(half).map(|chunk| scope.spawn(|| passing(chunk))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a failed_laws does not panic")).collect()
    });
    println!("{} of {} flawed stores were rejected", all.len() - passed.len(), all.len());
    assert!(passed.is_empty(), "these flawed stores pass every law: {passed:#?}");
}

/// Which of some flawed stores pass every law.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
fn passing(mutations: &[Mutation]) -> Vec<&'static str> {
    let (mut last, mut passed) = ("", Vec::new());
    for mutation in mutations {
        let mut laws = failed_laws(Some(mutation), |law| named(law) && law.group == last, 1);
        if laws.is_empty() {
            laws = failed_laws(Some(mutation), |law| named(law) && law.group != last, 1);
        }
        println!("{:<55} {laws:?}", mutation.name);
        match laws.first() {
            Some(law) => last = law.group,
            None => passed.push(mutation.name),
        }
    }
    passed
}

#[test]
fn stores_that_let_requests_overlap_are_rejected_each_time() {
    const TIMES: u32 = 5;
    let certain = |law: &Law| ["overlaps", "dropped", "threads"].contains(&law.group);
    // The law waits long for a store that stays busy.
    const OTHER: &str = "stays busy when a caller is dropped";
    let overlapping =
        |mutation: &Mutation| mutation.rule == "store contract, atomicity" && mutation.name != OTHER;
    let all: Vec<_> = mutations().into_iter().filter(overlapping).collect();
    assert!(all.len() >= 15, "{}", all.len());
    for mutation in all {
        for time in 0..TIMES {
            let laws = failed_laws(Some(&mutation), certain, 1);
            assert!(!laws.is_empty(), "a store that {} passed at time {time}", mutation.name);
        }
    }
}

#[test]
fn stores_that_mishandle_lost_or_late_messages_fail_the_laws_about_them() {
    const LOST: [&str; 9] = [
        "begins twice",
        "reports a repeated completion as a conflict",
        "does not know a repeated release",
        "cancels again and again",
        "abandons again and again",
        "does not know a repeated reconcile",
        "does not know a repeated force-complete",
        "does not know a repeated reset",
        "does not know a repeated eviction",
    ];
    const LATE: [&str; 8] = [
        "keeps alive by key only",
        "cancels the claim of any caller",
        "releases under any token",
        "reconciles without the token seen",
        "evicts without the token seen",
        "forgets the claim ids at a reset",
        "resets a result",
        "purges records within an hour of their last change",
    ];
    let all = mutations();
    for (group, names) in [("lost", LOST.as_slice()), ("late", &LATE)] {
        for name in names {
            let mutation = all.iter().find(|mutation| mutation.name == *name).expect("a flawed store");
            let laws = failed_laws(Some(mutation), |law| (law.layer, law.group) == ("matrix", group), 1);
            assert!(!laws.is_empty(), "a store that {name} passes every law of matrix::{group}");
        }
    }
}

#[test]
fn each_control_has_a_name_of_its_own() {
    let mut names: Vec<_> = mutations().iter().map(|mutation| mutation.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

//! Every broken store is rejected, by a named law; the whole one passes all of them.

mod each_law;

use sentinel_conformance::negative::{Mutation, mutations, verdict};
use sentinel_conformance::{Law, Sizes};

#[test]
fn the_whole_store_passes() {
    for layer in ["laws", "matrix", "regressions"] {
        let broken = verdict(None, |law| law.layer == layer, 10);
        // Once more, so that the law says what is wrong.
        broken.iter().for_each(|law| law.check(sentinel_conformance::negative::broken(None), Sizes::DEFAULT));
        assert!(broken.is_empty(), "the store that nothing was taken from fails {broken:?}");
    }
}

/// The laws, and what the matrix does beside its cells to a store that is interrupted.
fn named(law: &Law) -> bool {
    law.layer == "laws" || (law.layer, law.group) == ("matrix", "overlaps") || law.group == "dropped"
}

#[test]
fn every_broken_store_fails_a_named_law() {
    let all = mutations();
    assert!(all.len() >= 25);
    // Several at a time. Controls of one kind stand together, and the laws of one group reject most of them: those that
    // rejected the one before are asked first.
    let half = all.len().div_ceil(2);
    let passed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.chunks(half).map(|chunk| scope.spawn(|| passing(chunk))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a verdict does not panic")).collect()
    });
    println!("{} of {} broken stores were rejected", all.len() - passed.len(), all.len());
    assert!(passed.is_empty(), "these broken stores pass every law: {passed:#?}");
}

/// Which of some broken stores pass every law.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
fn passing(mutations: &[Mutation]) -> Vec<&'static str> {
    let (mut last, mut passed) = ("", Vec::new());
    for mutation in mutations {
        let mut laws = verdict(Some(mutation), |law| named(law) && law.group == last, 1);
        if laws.is_empty() {
            laws = verdict(Some(mutation), |law| named(law) && law.group != last, 1);
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
    const OTHER: &str = "stays busy when a caller goes away";
    let overlapping =
        |mutation: &Mutation| mutation.rule == "store contract, atomicity" && mutation.name != OTHER;
    let all: Vec<_> = mutations().into_iter().filter(overlapping).collect();
    assert!(all.len() >= 15, "{}", all.len());
    for mutation in all {
        for time in 0..TIMES {
            let laws = verdict(Some(&mutation), certain, 1);
            assert!(!laws.is_empty(), "a store that {} passed at time {time}", mutation.name);
        }
    }
}

#[test]
fn stores_that_cannot_bear_lost_or_late_messages_are_told_by_the_laws_about_them() {
    const LOST: [&str; 9] = [
        "begins twice",
        "takes a repeated completion for a conflict",
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
        "cancels anybody's claim",
        "releases under any token",
        "reconciles without the token seen",
        "evicts without the token seen",
        "forgets the claim ids at a reset",
        "resets a result",
        "purges what has not rested",
    ];
    let all = mutations();
    for (group, names) in [("lost", LOST.as_slice()), ("late", &LATE)] {
        for name in names {
            let mutation = all.iter().find(|mutation| mutation.name == *name).expect("a broken store");
            let laws = verdict(Some(mutation), |law| (law.layer, law.group) == ("matrix", group), 1);
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

use sentinel_conformance::negative::mutations;

use super::*;

/// What a run of all tests simulates; `SENTINEL_CASES_FACTOR` multiplies it.
const SEEDS: u64 = 20_000;

fn factor() -> u64 {
    std::env::var("SENTINEL_CASES_FACTOR").map_or(1, |text| text.parse().unwrap())
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds = SEEDS * factor();
    let total = sweep(1, seeds).unwrap_or_else(|broken| panic!("{broken}"));
    // A world in which nothing happens keeps every promise.
    assert!(total.operations > 50 * seeds && total.runs > seeds && total.effects > seeds, "{total:?}");
    assert!(total.decisions > seeds / 10, "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..=100 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

/// How many seeds a broken store may pass.
const MAX_UNDETECTED: u64 = 400;

/// Rules without which a function runs twice, a doubt is hidden or a stale worker is let through.
const DETECTED: &[&str] = &[
    "takes over a live claim",
    "takes over a lapsed execution",
    "takes over a live execution",
    "runs a completed key again",
    "claims what an operator holds",
    "keeps no result",
    "grants a repeated claim a new token",
    "begins late",
    "begins twice",
    "revives a lapsed lease",
    "keeps alive past the hard deadline",
    "completes twice",
    "cancels the claim of any caller",
    "cancels a completed result",
    "releases under any token",
    "frees what was abandoned",
    "reconciles without the token seen",
    "takes a live execution",
    "does not fence the worker out",
    "resets before effects have landed",
    "uses a token again",
    "draws tokens from the clock alone",
    "checks and writes in two steps",
    "forgets events",
    "lets its clock run backwards",
];

#[test]
fn a_store_without_a_rule_is_detected() {
    let all = mutations();
    for name in DETECTED {
        let mutation = all.iter().find(|mutation| mutation.name == *name);
        let mutation = mutation.unwrap_or_else(|| panic!("no mutation is called {name:?}"));
        let detected = (1..=MAX_UNDETECTED).any(|seed| run(seed, Some(mutation)).is_err());
        assert!(detected, "a store that {name} kept every promise in {MAX_UNDETECTED} worlds");
    }
}

#[test]
fn a_broken_promise_is_reported_with_its_seed() {
    let mutation = mutations().into_iter().find(|mutation| mutation.name == "takes over a live execution");
    let report = (1..=MAX_UNDETECTED).find_map(|seed| run(seed, mutation.as_ref()).err()).unwrap();
    assert!(report.contains("--seed") && report.contains("its world: Options"), "{report}");
}

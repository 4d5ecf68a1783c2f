use sentinel_conformance::{Coverage, StartState, sequences_covering};

use crate::memory::Memory;

use StartState::*;

/// Every change of spec §3, by the start state of the record.
const CHANGES: &[(&str, &[StartState])] = &[
    ("claim", &[Absent, Free, ClaimedLapsed, ClaimedPastHard, CompletedPastRetention]),
    ("begin", &[ClaimedLive]),
    ("heartbeat", &[ClaimedLive, ClaimedLapsed, ExecutingLive, ExecutingLapsed]),
    ("complete", &[ExecutingLive, ExecutingLapsed, ExecutingPastHard]),
    (
        "cancel",
        &[
            Absent,
            Free,
            ClaimedLive,
            ClaimedLapsed,
            ClaimedPastHard,
            ExecutingLive,
            ExecutingLapsed,
            ExecutingPastHard,
        ],
    ),
    (
        "release",
        &[ClaimedLive, ClaimedLapsed, ClaimedPastHard, ExecutingLive, ExecutingLapsed, ExecutingPastHard],
    ),
    ("abandon", &[ExecutingLive, ExecutingLapsed, ExecutingPastHard]),
    (
        "reconcile",
        &[ExecutingLive, ExecutingLapsed, ExecutingPastHard, ReconcilingWithinHard, ReconcilingPastHard],
    ),
    ("force_complete", &[ReconcilingWithinHard, ReconcilingPastHard]),
    ("reset_to_claimed", &[ReconcilingWithinHard, ReconcilingPastHard]),
    ("evict", &[ClaimedLive, ClaimedLapsed, ClaimedPastHard]),
    ("purge", &[Free, CompletedPastRetention]),
];

/// Every repetition that must be answered as the first time.
const REPEATS: &[(&str, StartState)] = &[
    ("claim", ClaimedLive),
    ("claim", ClaimedLapsed),
    ("claim", ExecutingLive),
    ("claim", ExecutingPastHard),
    ("begin", ExecutingLive),
    ("heartbeat", ClaimedLive),
    ("heartbeat", ExecutingLive),
    ("complete", CompletedKept),
    ("complete", CompletedPastRetention),
    ("cancel", Free),
    ("release", Free),
    ("abandon", ExecutingPastHard),
    ("reconcile", ReconcilingWithinHard),
    ("reconcile", ReconcilingPastHard),
    ("force_complete", CompletedKept),
    ("reset_to_claimed", Free),
    ("reset_to_claimed", ClaimedLive),
    ("evict", Free),
    ("evict", ClaimedLive),
];

/// Every refusal that replies can name.
const REFUSALS: &[(&str, &[&str])] = &[
    (
        "claim",
        &["AlreadyReleased", "InProgress", "Uncertain", "Completed", "Reconciling", "FingerprintMismatch"],
    ),
    ("begin", &["Superseded", "Expired", "Completed"]),
    ("heartbeat", &["Superseded", "Completed", "HardDeadline", "Lapsed", "Abandoned"]),
    ("complete", &["Conflict", "NotBegun", "Superseded"]),
    ("cancel", &["Untouched"]),
    ("release", &["MayHaveRun", "Superseded"]),
    ("abandon", &["Superseded"]),
    ("reconcile", &["StaleDecision", "HeldBy", "StillAlive", "AlreadyCompleted", "NotExecuting"]),
    ("force_complete", &["StaleDecision", "NotDecodable"]),
    ("reset_to_claimed", &["StaleDecision", "EffectsMayLand"]),
    ("evict", &["StaleDecision", "Executing", "NotClaimed"]),
];

fn missing(coverage: &Coverage) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |start_state: StartState, op: &str, rule: &str| {
        if coverage.of(start_state, op, rule) == 0 {
            missing.push(format!("{op} of {start_state:?}: {rule}"));
        }
    };
    for (op, start_states) in CHANGES {
        start_states.iter().for_each(|start_state| need(*start_state, op, "change"));
    }
    REPEATS.iter().for_each(|(op, start_state)| need(*start_state, op, "repeat"));
    // A token that only the floor of purged records keeps above the last one.
    need(Absent, "token", "floor");
    for (op, refusals) in REFUSALS {
        let came_up = |refusal: &str| coverage.cells().any(|(_, o, rule, _)| (o, rule) == (*op, refusal));
        missing.extend(refusals.iter().filter(|r| !came_up(r)).map(|r| format!("{op}: {r}")));
    }
    missing
}

#[test]
fn sequences_agree_with_the_kernel_and_reach_every_rule() {
    let coverage = sequences_covering::<Memory>(20_000);
    let missing = missing(&coverage);
    println!("{coverage}");
    assert!(missing.is_empty(), "not reached: {missing:#?}");
}

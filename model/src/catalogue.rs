//! The configurations, and which rule is missed where.

use sentinel_core::Kind;

use crate::setup::invariant::*;
use crate::setup::{Broken, Sabotage, Setup, ticks};

/// Fused and two-step calls that meet, with lost, late and repeated messages, and one operator.
fn executions() -> Setup {
    let about = "fused and two-step claims; lost, late and repeated messages; one operator";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        doubts: true,
        vouches: true,
        withdraws: true,
        ..Setup::new("executions", about, Kind::Execution)
    }
}

/// Three calls of the longer form.
fn crowd() -> Setup {
    let about = "three two-step calls, lapsing and taken over";
    Setup {
        workers: vec![(false, None), (false, None), (false, None)],
        extra: 0,
        ..Setup::new("crowd", about, Kind::Execution)
    }
}

/// Workers that stand still anywhere: `once` rests on no clock.
fn pauses() -> Setup {
    let about = "workers and functions that stand still for any time; nothing asserted of overlaps";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        pauses: true,
        resource: true,
        asserted: EACH & !L2,
        ..Setup::new("pauses", about, Kind::Execution)
    }
}

/// Two operators who meet, steal, and repeat themselves late.
fn operators() -> Setup {
    let about = "two operators who meet, steal, and repeat themselves late; a second run after a reset";
    Setup {
        workers: vec![(true, None), (true, None)],
        operators: 2,
        steal: true,
        ..Setup::new("operators", about, Kind::Execution)
    }
}

/// An operator who does not wait for a live worker.
fn haste() -> Setup {
    let about = "an operator who does not wait: live executions taken, overlaps accepted, a second look";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        rounds: 2,
        even_if_alive: true,
        overlap: true,
        resource: true,
        ..Setup::new("haste", about, Kind::Execution)
    }
}

/// Calls that give up, withdraw and resend.
fn cancels() -> Setup {
    let about = "calls that give up, withdraw and resend; claim ids that are remembered";
    Setup {
        workers: vec![(true, None), (false, None)],
        withdraws: true,
        vouches: true,
        extra: 2,
        beats: 1,
        ..Setup::new("cancels", about, Kind::Execution)
    }
}

/// Leases under heartbeats, and an operator who evicts.
fn leases() -> Setup {
    let about = "leases with heartbeats, the hard deadline, evictions, and a resource behind a fence";
    Setup {
        workers: vec![(false, None), (false, None)],
        operators: 1,
        clock: ticks(4),
        ttl: 20,
        hard: 25,
        beats: 1,
        evict: true,
        resource: true,
        // An operator who evicts a live lease accepts the overlap.
        asserted: EACH & !(I1 | L2),
        ..Setup::new("leases", about, Kind::Lease)
    }
}

/// Leases, nobody evicts: two holders never overlap.
fn exclusion() -> Setup {
    let about = "leases whose holders heed their deadlines: no two hold at once";
    Setup {
        workers: vec![(false, None), (false, None)],
        clock: ticks(5),
        ttl: 20,
        hard: 30,
        beats: 2,
        withdraws: true,
        resource: true,
        asserted: EACH & !I1,
        ..Setup::new("exclusion", about, Kind::Lease)
    }
}

/// Holders that are paused past their deadlines.
fn fences() -> Setup {
    let about = "lease holders that are paused past their deadlines: only the fence holds";
    Setup { pauses: true, beats: 1, asserted: EACH & !(I1 | L2), name: "fences", about, ..exclusion() }
}

/// Requests that differ under one key.
fn fingerprints() -> Setup {
    let about = "two requests under one key, and one that does not say";
    Setup {
        workers: vec![(true, Some(1)), (false, Some(2)), (false, None)],
        retention: Some(10),
        extra: 0,
        ..Setup::new("fingerprints", about, Kind::Execution)
    }
}

/// Results that are over, records that are purged, and a clock that then steps back.
fn retention() -> Setup {
    let about = "retention that ends, purges, and a clock that steps back after a purge";
    let hour = 60 * 60 * 1000;
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        retention: Some(10),
        purge: true,
        clock: vec![
            (1000, 1000),
            (1010, 1010),
            (1020, 1020),
            (1021 + hour, 1021 + hour),
            (1015, 1031 + hour),
        ],
        ..Setup::new("retention", about, Kind::Execution)
    }
}

/// Statements that waited for a lock since their reading of clock and floor.
fn waits() -> Setup {
    let about = "statements that read clock and floor one instant before they write, and purges";
    let hour = 60 * 60 * 1000;
    let clock = [1000, 1010, 1020, 1021 + hour, 1026 + hour].map(|ms| (ms, ms)).to_vec();
    Setup { stale: true, extra: 0, clock, name: "waits", about, ..retention() }
}

/// A synchronous standby takes over: only what no barrier covered may be lost.
fn failover() -> Setup {
    let about = "a synchronous standby takes over, without what no barrier covered";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        failovers: 1,
        ..Setup::new("failover", about, Kind::Execution)
    }
}

/// An asynchronous standby takes over: any suffix may be lost, answered or not.
fn amnesia() -> Setup {
    let about = "an asynchronous standby takes over: what was answered may be lost, tokens still grow";
    Setup {
        asynchronous: true,
        operators: 0,
        asserted: EACH & !(I1 | I4 | I6 | I10 | L1 | L2 | C1 | K1),
        name: "amnesia",
        about,
        ..failover()
    }
}

/// As before, onto a clock that is behind: tokens repeat, and the claim id must tell the generations apart.
fn skew() -> Setup {
    let about = "the same onto a clock that is behind: tokens repeat, claim ids tell the holders apart";
    Setup {
        clock: vec![(1000, 1000), (1000, 1010), (1010, 1020), (1020, 1030)],
        asserted: I5 | I7 | I8 | I11 | I12 | L3 | B1,
        name: "skew",
        about,
        ..amnesia()
    }
}

/// Leases before a synchronous standby.
fn lease_failover() -> Setup {
    let about = "leases while a synchronous standby takes over: no two hold at once";
    Setup { failovers: 1, beats: 1, withdraws: false, name: "lease-failover", about, ..exclusion() }
}

/// All that must hold.
pub(crate) fn clean() -> Vec<Setup> {
    vec![
        executions(),
        crowd(),
        pauses(),
        operators(),
        haste(),
        cancels(),
        leases(),
        exclusion(),
        fences(),
        fingerprints(),
        resets(),
        retention(),
        waits(),
        failover(),
        lease_failover(),
        amnesia(),
        skew(),
    ]
}

/// A configuration from which one rule is taken away.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) setup: Setup,
    /// The rule.
    pub(crate) rule: &'static str,
}

/// Without a rule of the kernel, `broken` is found broken.
fn lies(setup: Setup, sabotage: Sabotage, broken: u32, rule: &'static str) -> Missing {
    Missing { setup: Setup { asserted: broken, ..setup.without(sabotage) }, rule }
}

/// Without a rule of the client, `found` is found broken.
fn breaks(setup: Setup, broken: Broken, found: u32, rule: &'static str) -> Missing {
    Missing { setup: Setup { asserted: found, ..setup.breaking(broken) }, rule }
}

/// All that must fail: the kernel's rules.
pub(crate) fn sabotages() -> Vec<Missing> {
    use Sabotage::*;
    vec![
        lies(executions(), ClaimTakesLapsedExecution, I1, "an execution is never taken over"),
        lies(exclusion(), ClaimTakesLiveClaim, L2, "a live claim is never taken over"),
        lies(retention(), ClaimForgetsRetention, I1, "a result is kept for its retention"),
        lies(executions(), MatchNothing, I5, "a worker presents its grant"),
        lies(skew(), MatchByTokenOnly, I8, "a match is of the claim id too"),
        lies(alone(amnesia()), MatchByClaimIdOnly, I8, "a match is of the token too"),
        lies(operators(), ReconcileWithoutExpectation, I8, "an operator presents the token that was seen"),
        lies(executions(), ReconcileTheLiving, I11, "a live execution is reconciled only by explicit wish"),
        lies(leases(), EvictWithoutExpectation, I8, "an eviction presents the token that was seen"),
        lies(operators(), DecideWithoutToken, I5, "a decision presents the reconcile token"),
        lies(cancels(), ForgetClaimIds, C1, "past claim ids are remembered"),
        lies(
            alone(retention()),
            CompletedForgetsItsClaim,
            I3,
            "a result past retention knows who completed it",
        ),
        lies(retention(), CounterForTokens, I2, "tokens are drawn above clock and floor"),
        lies(fenced_purges(), CounterForTokens, I9, "a fence needs tokens that outlive a purge"),
        lies(retention(), FloorIgnored, I2, "a purge leaves a floor"),
        lies(waits(), PurgeTooSoon, I2, "a purge waits for statements that read before it"),
        lies(waits(), RemainsByFirstReading, L2, "what remains is told by a second reading"),
        lies(resets(), PurgeAfterReset, K1, "a purge spares an incarnation that a reset offered again"),
        lies(leases(), HeartbeatPastHard, I7, "no heartbeat passes the hard deadline"),
        lies(leases(), HeartbeatShortens, I7, "no heartbeat shortens a lease"),
        lies(leases(), LapsedLeaseRevives, I7, "a lapsed lease never revives"),
        lies(executions(), ResetBeforeHard, L2, "a reset waits for the hard deadline"),
        lies(executions(), LateBegin, B1, "nothing begins after its lease"),
        lies(operators(), ForgetDecisions, L1, "a repeated decision is recognised by its op id"),
        lies(fingerprints(), FingerprintFirst, L3, "a fingerprint never blocks a claimable key"),
        lies(fingerprints(), FingerprintIgnored, I4, "a differing request is told nothing of the result"),
        lies(cancels(), CancelWithoutTombstone, C1, "a cancel of an absent claim is remembered"),
        lies(executions(), CompleteOnlyWhileLive, L1, "the rightful worker's truth beats doubt"),
        lies(failover(), AnswerBeforeDurable, I1, "a barrier comes before the answer"),
        lies(failover(), RepeatWithoutBarrier, I1, "a repeated request passes the barrier too"),
        lies(lease_failover(), AnswerBeforeDurable, L2, "grants and heartbeats of leases pass the barrier"),
        lies(executions(), SilentChange, I12, "each change has its event"),
        Missing {
            setup: Setup { asserted: I1, ..executions().without(ReleaseWithoutVouch) }
                .breaking(Broken::DropReleases),
            rule: "an execution is released only with a vouch",
        },
    ]
}

/// All that must fail: the client's rules.
pub(crate) fn broken() -> Vec<Missing> {
    use Broken::*;
    vec![
        breaks(executions(), RunsOnAmbiguousClaim, I1, "an ambiguous fused claim never runs"),
        breaks(executions(), RunsOnAmbiguousBegin, I1, "an ambiguous begin never runs"),
        breaks(executions(), RunsAgainAfterAmbiguousComplete, I1, "an ambiguous complete never runs again"),
        breaks(executions(), SharesClaimIds, I1, "each call has its own claim id"),
        breaks(executions(), DropVouches, I1, "dropping a call that started never releases it"),
        breaks(cancels(), LaneCancels, I1, "only the task that owns the call withdraws it"),
        breaks(executions(), SkipsLocalDeadline, L2, "the local deadline is checked before the function"),
        breaks(exclusion(), SkipsLocalDeadline, L2, "the local deadline is checked before a lease is used"),
        breaks(exclusion(), MeasuresFromTheReply, L2, "the local deadline counts from the sending"),
        breaks(exclusion(), WorksPastDeadline, L2, "a holder stops at its deadline"),
        breaks(
            failover(),
            SettlesByReading,
            I1,
            "a lost reply is settled by the same request, not by reading",
        ),
        breaks(cancels(), SendsAfterCancel, I1, "after a cancel nothing is sent"),
        breaks(executions(), SendsAfterCancel, I6, "a call that was told not to have run does not run"),
        breaks(abandons(), AbandonsWhileRunning, L2, "a run is abandoned only after its function has ended"),
        breaks(resets(), WithdrawVouches, K1, "a call that never started vouches for nothing"),
    ]
}

/// What a deployment does not promise is really lost there (SPEC section 7).
pub(crate) fn unpromised() -> Vec<Missing> {
    let lost = |setup: Setup, found, rule| Missing { setup: Setup { asserted: found, ..setup }, rule };
    vec![
        lost(amnesia(), I1, "an asynchronous failover may run a function twice"),
        lost(amnesia(), I10, "an asynchronous failover may lose what was answered"),
        lost(skew(), I2, "a clock that is behind after a failover repeats tokens"),
        lost(fences(), L2, "a paused holder overlaps with the next one"),
    ]
}

/// Faults of a client that the kernel turns away.
pub(crate) fn defended() -> Vec<Setup> {
    vec![executions().breaking(Broken::DropReleases)]
}

/// One call and its own echoes.
fn alone(setup: Setup) -> Setup {
    Setup { workers: vec![(true, None)], operators: 0, ..setup }
}

/// Functions that may end in doubt, or be abandoned too early.
fn abandons() -> Setup {
    Setup { workers: vec![(true, None), (true, None)], beats: 1, ..executions() }
}

/// A reset, after which calls come and go and the tombstone may be purged.
fn resets() -> Setup {
    let about = "a reset, and calls that come and go after it";
    Setup {
        workers: vec![(true, None), (true, None), (true, None)],
        operators: 1,
        withdraws: true,
        purge: true,
        extra: 0,
        clock: vec![(1000, 1000), (1010, 1010), (1020, 1020), (4_000_000, 4_000_000)],
        ..Setup::new("resets", about, Kind::Execution)
    }
}

/// Leases that are purged while an old holder is paused.
fn fenced_purges() -> Setup {
    let clock = vec![(1000, 1000), (4_000_000, 4_000_000), (4_000_010, 4_000_010)];
    Setup { clock, purge: true, evict: true, operators: 1, beats: 0, ..fences() }
}

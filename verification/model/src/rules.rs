//! What must fail: each rule, taken away where that is detected.

use crate::configurations::*;
use crate::setup::invariant::*;
use crate::setup::{Broken, Mutation, Rests, Setup};

/// A configuration from which one rule is taken away.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) setup: Setup,
    /// The rule.
    pub(crate) rule: &'static str,
}

/// Without a rule of the kernel, `broken` is found broken.
fn without(setup: Setup, mutation: Mutation, broken: u32, rule: &'static str) -> Missing {
    Missing { setup: Setup { asserted: broken, ..setup.without(mutation) }, rule }
}

/// Without a rule of the client, `found` is found broken.
fn breaks(setup: Setup, broken: Broken, found: u32, rule: &'static str) -> Missing {
    Missing { setup: Setup { asserted: found, ..setup.breaking(broken) }, rule }
}

/// As before, where only a client that breaks a rule sends such a request.
fn without_and_broken(
    setup: Setup,
    mutation: Mutation,
    client: Broken,
    broken: u32,
    rule: &'static str,
) -> Missing {
    without(setup.breaking(client), mutation, broken, rule)
}

/// All that must fail: the kernel's rules.
pub(crate) fn mutations() -> Vec<Missing> {
    use Mutation::*;
    vec![
        without(executions(), ClaimTakesLapsedExecution, I1, "an execution is never taken over"),
        without(exclusion(), ClaimTakesLiveClaim, L2, "a live claim is never taken over"),
        without(retention(), ClaimForgetsRetention, I1, "a result is kept for its retention"),
        without(executions(), MatchNothing, I5, "a worker presents its grant"),
        without(skew(), MatchByTokenOnly, I8, "a grant matches by claim id too"),
        without(alone(data_loss()), MatchByClaimIdOnly, I8, "a grant matches by token too"),
        without(
            operators(),
            ClaimTakesReconciling,
            I8,
            "a claim does not take over a key that an operator reconciles",
        ),
        without(executions(), ClaimNotRepeated, L1, "a claim that is sent again is granted again"),
        without(executions(), BeginNotRepeated, L1, "a begin that is sent again is confirmed again"),
        without(executions(), CompleteNotRepeated, L1, "a result that is sent again is confirmed again"),
        without(abandons(), LapsedExecutionIsLost, L1, "a lapsed execution of the same grant revives"),
        without(operators(), ReconcileCompleted, I4, "a completed key is not reconciled"),
        without(
            operators(),
            StealWithoutAsking,
            I8,
            "a record is taken from its operator only by explicit args",
        ),
        without(operators(), ReconcileWithoutExpectation, I8, "an operator presents the token that was seen"),
        without(
            executions(),
            ReconcileTheLiving,
            I11,
            "a live execution is reconciled only by explicit args",
        ),
        without(leases(), EvictWithoutExpectation, I8, "an eviction presents the token that was seen"),
        without(operators(), DecideWithoutToken, I5, "a decision presents the reconcile token"),
        without(cancels(), ForgetClaimIds, C1, "past claim ids are remembered"),
        without(
            alone(retention()),
            CompletedForgetsItsClaim,
            I3,
            "a result past its retention keeps the claim id that completed it",
        ),
        without(retention(), CounterForTokens, I2, "tokens are drawn above clock and floor"),
        without(cancels(), RowIgnored, I2, "tokens are drawn above the record's own"),
        without(
            data_loss(),
            ClockIgnored,
            I2,
            "tokens are drawn above the clock, which a failover does not lose",
        ),
        without(last_tokens(), BoundIgnored, I2, "no token is drawn beyond 2^53-1"),
        without(fenced_purges(), CounterForTokens, I9, "a fence needs tokens that outlive a purge"),
        without(retention(), FloorIgnored, I2, "a purge leaves a floor"),
        without(waits(), PurgeTooSoon, I2, "a purge waits for statements that read before it"),
        without(
            waits(),
            RemainsByFirstReading,
            L2,
            "the remaining time is computed from a second clock reading",
        ),
        without(retention(), PurgeUndecided, I1, "an undecided key is never purged"),
        without(executions(), ReleaseKeepsIncarnation, K1, "a vouched release ends the attempt"),
        without(executions(), ResetDrawsIncarnation, K1, "a reset keeps the attempt's idempotency key"),
        without(retention(), RetentionKeepsIncarnation, K1, "a claim past retention is a new attempt"),
        without(resets(), PurgeAfterReset, K1, "a purge spares an incarnation that a reset offered again"),
        without(leases(), HeartbeatPastHard, I7, "no heartbeat passes the hard deadline"),
        without(leases(), HeartbeatShortens, I7, "no heartbeat shortens a lease"),
        without(leases(), LapsedLeaseRevives, I7, "a lapsed lease never revives"),
        without(executions(), ResetBeforeHard, L2, "a reset waits until the old run is over"),
        without(late_effects(), ResetBeforeEffects, I14, "a reset waits until late effects have landed"),
        without(late_effects(), AbandonEndsEffects, I14, "an abandon leaves time for late effects"),
        without(late_effects(), HardDeadlineEndsEffects, I14, "so does a run whose abandon never arrives"),
        without(executions(), LateBegin, B1, "nothing begins after its lease"),
        without(operators(), ForgetDecisions, L1, "a repeated decision is recognised by its op id"),
        without(fingerprints(), FingerprintFirst, L3, "a fingerprint never blocks a claimable key"),
        without(fingerprints(), FingerprintIgnored, I4, "a differing request gets nothing of the result"),
        without(refingered(), FingerprintKept, L1, "a successful claim replaces the fingerprint"),
        without(cancels(), CancelWithoutTombstone, C1, "a cancel of an absent claim is remembered"),
        without(
            executions(),
            CompleteOnlyWhileLive,
            L1,
            "the rightful worker completes an uncertain execution",
        ),
        without(failover(), AnswerBeforeDurable, I1, "a barrier comes before the answer"),
        without(failover(), RepeatWithoutBarrier, I1, "a repeated request passes the barrier too"),
        without(
            failover(),
            Undurable(Rests::FusedClaim),
            I1,
            "a claim that begins at once passes the barrier",
        ),
        without(
            failover(),
            UndurableRepeat(Rests::FusedClaim),
            I1,
            "so does such a claim that is sent again",
        ),
        without(failover(), Undurable(Rests::Begin), I1, "a begin passes the barrier"),
        without(failover(), UndurableRepeat(Rests::Begin), I1, "so does a begin that is sent again"),
        without(failover(), Undurable(Rests::Result), I10, "a result passes the barrier"),
        without(failover(), UndurableRepeat(Rests::Result), I10, "so does a result that is sent again"),
        without(failover(), Undurable(Rests::Replay), I10, "a result is replayed only once it is durable"),
        without(failover(), Undurable(Rests::Decision), I10, "a decision passes the barrier"),
        without(failover(), UndurableRepeat(Rests::Decision), I10, "so does a decision that is sent again"),
        without(lease_failover(), Undurable(Rests::Lease), L2, "grants of leases pass the barrier"),
        without(
            lease_failover(),
            Undurable(Rests::LeaseHeartbeat),
            L2,
            "heartbeats of leases pass the barrier",
        ),
        without(executions(), SilentChange, I12, "each change has its event"),
        without_and_broken(
            executions(),
            ReleaseWithoutVouch,
            Broken::DropReleases,
            I1,
            "an execution is released only with a vouch",
        ),
        without_and_broken(
            executions(),
            CompleteWithoutBegin,
            Broken::RunsWithoutBegin,
            I5,
            "an execution that never began has no result",
        ),
        without_and_broken(
            executions(),
            CompleteOverwrites,
            Broken::RunsAgainAfterAmbiguousComplete,
            I4,
            "a result is not replaced by another",
        ),
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
        breaks(crowd(), RunsWithoutBegin, I1, "nothing runs on a claim that has not begun"),
        breaks(departures(), DropVouches, I1, "a caller that goes away never releases what started"),
        breaks(departures(), DropCancels, I1, "a caller that goes away never withdraws what started"),
        breaks(departures(), PanicVouches, I1, "a panic vouches for nothing"),
        breaks(cancels(), PoolCancels, I1, "only the task that owns the call withdraws it"),
        breaks(executions(), SkipsLocalDeadline, L2, "the local deadline is checked before the function"),
        breaks(exclusion(), SkipsLocalDeadline, L2, "the local deadline is checked before a lease is used"),
        breaks(exclusion(), MeasuresFromTheReply, L2, "the local deadline counts from the sending"),
        breaks(exclusion(), WorksPastDeadline, L2, "a holder stops at its deadline"),
        breaks(
            failover(),
            SettlesByReading,
            I1,
            "a lost reply is resolved by sending the same request again, not by reading",
        ),
        breaks(cancels(), SendsAfterCancel, I1, "after a cancel nothing is sent"),
        breaks(executions(), SendsAfterCancel, I6, "a call that was answered as not run does not run"),
        breaks(abandons(), AbandonsWhileRunning, L2, "a run is abandoned only after its function has ended"),
        breaks(resets(), WithdrawVouches, K1, "a call that never started vouches for nothing"),
    ]
}

/// What a deployment does not promise is really lost there (spec §7).
pub(crate) fn unpromised() -> Vec<Missing> {
    let lost = |setup: Setup, found, rule| Missing { setup: Setup { asserted: found, ..setup }, rule };
    vec![
        lost(data_loss(), I1, "an asynchronous failover may run a function twice"),
        lost(data_loss(), I10, "an asynchronous failover may lose what was answered"),
        lost(skew(), I2, "a clock that is behind after a failover repeats tokens"),
        lost(fences(), L2, "a paused holder overlaps with the next one"),
    ]
}

/// One call and its own echoes.
fn alone(setup: Setup) -> Setup {
    Setup { workers: vec![(true, None)], operators: 0, ..setup }
}

/// Functions that may end in doubt, or be abandoned too early.
fn abandons() -> Setup {
    Setup { workers: vec![(true, None), (true, None)], beats: 1, ..executions() }
}

/// Leases that are purged while an old holder is paused.
fn fenced_purges() -> Setup {
    let clock = vec![(1000, 1000), (4_000_000, 4_000_000), (4_000_010, 4_000_010)];
    Setup { clock, purge: true, evict: true, operators: 1, beats: 0, ..fences() }
}

/// Calls that differ, and are sent again.
fn refingered() -> Setup {
    Setup { workers: vec![(true, Some(1)), (true, Some(2))], extra: 1, ..fingerprints() }
}

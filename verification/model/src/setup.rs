//! What a configuration holds: how many take part, what may go wrong, which rule is taken away, what is asserted.

use sentinel_core::Kind;

/// One bit for each invariant of spec §5 that the model can break.
pub(crate) mod invariant {
    macro_rules! invariants {
        ($($name:ident = $bit:literal, $words:literal;)*) => {
            $(pub(crate) const $name: u32 = 1 << $bit;)*
            /// Every invariant with its words.
            pub(crate) const ALL: &[(u32, &str)] = &[$((1 << $bit, $words),)*];
        };
    }
    invariants! {
        I1 = 0, "I1 one run, and one for each decision that allows another";
        I2 = 1, "I2 tokens strictly increase";
        I3 = 2, "I3 one token, one claim id or op id";
        I4 = 3, "I4 a completed result never changes";
        I5 = 4, "I5 a result comes from the generation that holds the record";
        I6 = 5, "I6 answers are true";
        I7 = 6, "I7 a heartbeat keeps its generation and its hard deadline";
        I8 = 7, "I8 what does not match changes nothing";
        I9 = 8, "I9 a resource never takes an older token after a newer one";
        I10 = 9, "I10 what was confirmed does not disappear";
        I11 = 10, "I11 executing never ends by time";
        I12 = 11, "I12 the event log rebuilds the record";
        L1 = 12, "L1 no lost reply turns into a refusal";
        L2 = 13, "L2 two runs overlap only where an operator accepted it";
        L3 = 14, "L3 every state leads to claimable or completed";
        B1 = 15, "B1 nothing begins after its lease";
        K1 = 17, "K1 one attempt keeps one idempotency key, the next has another";
        C1 = 16, "C1 a cancelled call is never granted";
        I14 = 18, "I14 no run begins while an effect of an earlier one may land";
    }
    /// All of them.
    pub(crate) const EACH: u32 = (1 << 19) - 1;
}

/// A rule of the kernel that is taken away, by changing what it gets or returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    ClaimTakesLapsedExecution,
    ClaimTakesLiveClaim,
    ClaimTakesReconciling,
    ClaimForgetsRetention,
    ClaimNotRepeated,
    BeginNotRepeated,
    CompleteNotRepeated,
    CompleteOverwrites,
    CompleteWithoutBegin,
    MatchByTokenOnly,
    MatchByClaimIdOnly,
    MatchNothing,
    ReconcileWithoutExpectation,
    ReconcileTheLiving,
    ReconcileCompleted,
    StealWithoutAsking,
    EvictWithoutExpectation,
    DecideWithoutToken,
    ForgetClaimIds,
    CompletedForgetsItsClaim,
    CounterForTokens,
    RowIgnored,
    ClockIgnored,
    FloorIgnored,
    BoundIgnored,
    HeartbeatPastHard,
    HeartbeatShortens,
    LapsedLeaseRevives,
    LapsedExecutionIsLost,
    ReleaseWithoutVouch,
    ResetBeforeHard,
    ResetBeforeEffects,
    AbandonEndsEffects,
    HardDeadlineEndsEffects,
    LateBegin,
    ForgetDecisions,
    FingerprintFirst,
    FingerprintIgnored,
    FingerprintKept,
    CancelWithoutTombstone,
    CompleteOnlyWhileLive,
    AnswerBeforeDurable,
    RepeatWithoutBarrier,
    /// Of one sort of answer only.
    Undurable(Rests),
    UndurableRepeat(Rests),
    ReleaseKeepsIncarnation,
    ResetDrawsIncarnation,
    RetentionKeepsIncarnation,
    PurgeUndecided,
    PurgeAfterReset,
    PurgeTooSoon,
    RemainsByFirstReading,
    SilentChange,
}

/// What an answer rests on that must be durable before it is given (spec §3, barrier).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rests {
    /// A claim that begins at once.
    FusedClaim,
    Begin,
    Result,
    /// A result that is replayed to another call.
    Replay,
    Decision,
    Lease,
    LeaseHeartbeat,
    /// A cancel, or a vouched release.
    GivenBack,
}

/// A rule of the client (spec §4) that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    RunsOnAmbiguousClaim,
    RunsWithoutBegin,
    RunsOnAmbiguousBegin,
    RunsAgainAfterAmbiguousComplete,
    SharesClaimIds,
    DropReleases,
    DropVouches,
    DropCancels,
    PanicVouches,
    PoolCancels,
    SkipsLocalDeadline,
    MeasuresFromTheReply,
    SettlesByReading,
    SendsAfterCancel,
    AbandonsWhileRunning,
    WorksPastDeadline,
    WithdrawVouches,
}

/// A bounded configuration.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    /// One entry for each worker: whether it claims and begins in one request, and its fingerprint.
    pub(crate) workers: Vec<(bool, Option<u8>)>,
    pub(crate) operators: u8,
    /// How often an operator may read again.
    pub(crate) rounds: u8,
    /// The instants that time passes through, in milliseconds: the store's clock and the workers' monotonic one.
    pub(crate) clock: Vec<(u64, u64)>,
    pub(crate) ttl: u64,
    pub(crate) hard: u64,
    /// How long after the end of a function that did not succeed its effect may still land.
    pub(crate) late: u64,
    pub(crate) retention: Option<u64>,
    /// Resends and duplicated deliveries, in all.
    pub(crate) extra: u8,
    /// Heartbeats of each worker.
    pub(crate) beats: u8,
    pub(crate) failovers: u8,
    /// Replies do not wait for the standby.
    pub(crate) asynchronous: bool,
    pub(crate) purge: bool,
    /// A statement may have read clock and floor one instant ago, if less than an hour passed.
    pub(crate) stale: bool,
    /// A worker may stand still between any two steps, its function too: nothing is asserted of overlaps then.
    pub(crate) pauses: bool,
    pub(crate) evict: bool,
    pub(crate) even_if_alive: bool,
    pub(crate) steal: bool,
    pub(crate) overlap: bool,
    /// A function may end with "nothing happened", and with "unknown".
    pub(crate) vouches: bool,
    pub(crate) doubts: bool,
    /// A function may panic, or be dropped with its runtime.
    pub(crate) panics: bool,
    /// A caller may go away at any time.
    pub(crate) leaves: bool,
    /// A claim in hand may be given back unused.
    pub(crate) withdraws: bool,
    /// Functions write to a resource that keeps the highest token.
    pub(crate) resource: bool,
    pub(crate) asserted: u32,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) broken: Option<Broken>,
}

impl Setup {
    /// One address, nothing optional: what each configuration starts from.
    pub(crate) fn new(name: &'static str, about: &'static str, kind: Kind) -> Self {
        Self {
            name,
            about,
            kind,
            workers: Vec::new(),
            operators: 0,
            rounds: 1,
            clock: ticks(3),
            ttl: 10,
            hard: 20,
            late: 0,
            retention: None,
            extra: 1,
            beats: 0,
            failovers: 0,
            asynchronous: false,
            purge: false,
            stale: false,
            pauses: false,
            evict: false,
            even_if_alive: false,
            steal: false,
            overlap: false,
            vouches: false,
            doubts: false,
            panics: false,
            leaves: false,
            withdraws: false,
            resource: false,
            asserted: invariant::EACH,
            mutation: None,
            broken: None,
        }
    }

    /// This configuration without one rule of the kernel.
    pub(crate) fn without(&self, mutation: Mutation) -> Self {
        Self { mutation: Some(mutation), ..self.clone() }
    }

    /// This configuration with a client that breaks one rule.
    pub(crate) fn breaking(&self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self.clone() }
    }

    pub(crate) fn mutates(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn breaks(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }
}

/// `n` instants, 10 ms apart, read alike by the store and the workers.
pub(crate) fn ticks(n: u64) -> Vec<(u64, u64)> {
    (0..n).map(|tick| (1000 + 10 * tick, 1000 + 10 * tick)).collect()
}

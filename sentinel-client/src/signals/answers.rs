//! The names of operations, of their replies and of outcomes, in logs and as labels of metrics.

use sentinel_core::operation::*;

/// The reply to an operation, for logs and metrics.
pub(crate) trait Named {
    /// The operation's index in [`OPERATIONS`].
    const OPERATION: usize;
    /// The names of all its replies.
    const REPLIES: &'static [&'static str];

    /// The index of this reply in [`REPLIES`](Self::REPLIES).
    fn index(&self) -> usize;

    /// The operation's name.
    fn operation() -> &'static str {
        OPERATIONS[Self::OPERATION]
    }

    /// The name of this reply.
    fn word(&self) -> &'static str {
        Self::REPLIES[self.index()]
    }
}

macro_rules! named {
    ($($reply:ident, $operation:ident { $($pattern:pat => $word:ident,)* })*) => {
        /// The operations that the client sends.
        pub(crate) const OPERATIONS: [&str; Operation::COUNT] = [$(stringify!($operation),)*];

        /// The names of the replies to each operation, in the order of [`OPERATIONS`].
        pub(crate) const REPLIES: [&[&str]; Operation::COUNT] = [$($reply::REPLIES,)*];

        #[expect(non_camel_case_types, reason = "each variant is the name of an operation")]
        enum Operation { $($operation,)* End }

        impl Operation {
            const COUNT: usize = Self::End as usize;
        }

        $(impl Named for $reply {
            const OPERATION: usize = Operation::$operation as usize;
            const REPLIES: &'static [&'static str] = &[$(stringify!($word),)*];

            fn index(&self) -> usize {
                #[expect(non_camel_case_types, reason = "each variant is the name of a reply")]
                enum Word { $($word,)* }
                use $reply::*;
                match self { $($pattern => Word::$word as usize,)* }
            }
        })*
    };
}

named! {
    ClaimReply, claim {
        Granted(_) => granted, AlreadyReleased => already_released, InProgress { .. } => in_progress,
        Uncertain { .. } => uncertain, Completed { .. } => completed, Reconciling { .. } => reconciling,
        FingerprintMismatch => fingerprint_mismatch,
    }
    BeginReply, begin {
        Begun(_) => begun, Superseded(_) => superseded, Expired => expired, Completed => completed,
    }
    CompleteReply, complete {
        Recorded { late: false } => recorded, Recorded { late: true } => recorded_late,
        Conflict => conflict, NotBegun => not_begun, Superseded(_) => superseded,
    }
    CancelReply, cancel { Cancelled => cancelled, Untouched(_) => untouched, }
    ReleaseReply, release { Released => released, MayHaveRun => may_have_run, Superseded(_) => superseded, }
    AbandonReply, abandon { Abandoned => abandoned, Superseded(_) => superseded, }
    ReconcileReply, reconcile {
        Taken { .. } => taken, StaleDecision(_) => stale_decision, HeldBy { .. } => held_by,
        StillAlive { .. } => still_alive, AlreadyCompleted => already_completed,
        NotExecuting(_) => not_executing,
    }
    ForceCompleteReply, force_complete {
        Completed => completed, StaleDecision(_) => stale_decision, NotDecodable { .. } => not_decodable,
    }
    ResetReply, reset_to_claimed {
        Reset { .. } => reset, StaleDecision(_) => stale_decision,
        EffectsMayLand { .. } => effects_may_land,
    }
    EvictReply, evict {
        Evicted { .. } => evicted, StaleDecision(_) => stale_decision, Executing => executing,
        NotClaimed(_) => not_claimed,
    }
}

/// The names of a call's outcomes; `error`: the call has none.
pub(crate) const OUTCOMES: &[&str] = &[
    "completed",
    "replayed",
    "failed",
    "in_progress",
    "reconciling",
    "uncertain",
    "not_run",
    "ran_uncertain",
    "unconfirmed",
    "superseded",
    "completed_not_stored",
    "error",
];

//! The start states of records: the operations that lead to each of them, in order.

use sentinel_core::Kind;

/// One operation on the way to a start state. Workers act with the newest grant, operators on the current token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A fresh call claims; its result has no retention.
    Claim,
    /// A fresh call claims; its result is kept for a day.
    ClaimKept,
    /// A fresh call claims, without a fingerprint.
    ClaimBare,
    /// A fresh call claims and begins at once.
    Fused,
    /// A fresh call claims and begins at once; its result is kept for a day.
    FusedKept,
    Begin,
    Beat,
    Complete,
    /// Completes with a failure for good.
    Fail,
    /// Completes without the bytes of the result.
    Omit,
    Release,
    Vouch,
    Cancel,
    /// A call that never claimed is cancelled.
    CancelUnsent,
    Abandon,
    Reconcile,
    /// Reconciles although the worker is alive.
    Seize,
    /// Takes the key from the operator who holds it.
    Steal,
    Force,
    Reset,
    /// Resets before the hard deadline.
    ResetEarly,
    Evict,
    /// Half a ttl passes.
    Half,
    /// A whole ttl passes.
    Lapse,
}

/// A start state, and the operations that lead to it.
#[derive(Debug)]
pub(super) struct StartState {
    pub(super) words: &'static str,
    pub(super) kind: Kind,
    pub(super) steps: &'static [Step],
}

macro_rules! start_states {
    ($($kind:ident $words:literal [$($step:ident)*];)*) => {
        /// All of them.
        pub(super) const ALL: &[StartState] = &[
            $(StartState { words: $words, kind: Kind::$kind, steps: &[$(Step::$step),*] },)*
        ];
    };
}

start_states! {
    Execution "an absent execution" [];
    Execution "free after a release" [Claim Release];
    Execution "free after a vouched release" [Claim Begin Vouch];
    Execution "free after the cancel of a claim" [Claim Cancel];
    Execution "free after the cancel of an execution" [Fused Cancel];
    Execution "free after the cancel of a call that never claimed" [CancelUnsent];
    Execution "free after a reset" [Fused Abandon Reconcile Reset];
    Execution "free after a reset that accepted an overlap" [Fused Seize ResetEarly];
    Execution "free after an eviction" [Claim Evict];
    Execution "claimed" [Claim];
    Execution "claimed, its result to be kept for a day" [ClaimKept];
    Execution "claimed without a fingerprint" [ClaimBare];
    Execution "claimed, and extended" [Claim Half Beat];
    Execution "claimed, and taken over twice" [Claim Lapse Claim Lapse Claim];
    Execution "claimed after nine others" [
        Claim Release CancelUnsent CancelUnsent CancelUnsent CancelUnsent
        CancelUnsent CancelUnsent CancelUnsent CancelUnsent Claim
    ];
    Execution "claimed after a reset" [Fused Abandon Reconcile Reset Claim];
    Execution "claimed after an eviction" [Claim Evict Claim];
    Execution "executing at once" [Fused];
    Execution "executing in two steps" [Claim Begin];
    Execution "executing, begun late and extended" [Claim Half Begin Half Beat];
    Execution "executing, taken over before it began" [Claim Lapse Claim Begin];
    Execution "executing after a reset" [Fused Abandon Reconcile Reset Fused];
    Execution "abandoned" [Fused Abandon];
    Execution "abandoned after it lapsed" [Fused Lapse Abandon];
    Execution "completed without a retention" [Claim Begin Complete];
    Execution "completed late" [Fused Lapse Complete];
    Execution "completed for a day" [FusedKept Complete];
    Execution "completed without the bytes" [Fused Omit];
    Execution "failed for good" [Fused Fail];
    Execution "force-completed" [Fused Abandon Reconcile Force];
    Execution "force-completed for a day" [FusedKept Seize Force];
    Execution "reconciling after an abandonment" [Fused Abandon Reconcile];
    Execution "reconciling after a lapse" [Claim Begin Lapse Reconcile];
    Execution "reconciling, taken from a live worker" [Fused Seize];
    Execution "reconciling, taken from another operator" [Fused Lapse Reconcile Steal];
    Lease "an absent lease" [];
    Lease "a lease, free after a release" [Claim Release];
    Lease "a lease, free after a cancel" [Claim Cancel];
    Lease "a lease, free after an eviction" [Claim Evict];
    Lease "a lease, claimed" [Claim];
    Lease "a lease, extended" [Claim Half Beat];
    Lease "a lease, taken over" [Claim Lapse Claim];
    Lease "a lease, claimed after an eviction" [Claim Evict Claim];
}
